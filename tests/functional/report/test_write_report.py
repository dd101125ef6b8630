import html
import json
import re
from pathlib import Path

import numpy as np
import pytest

from ray_audit.engine.backends.local import LocalBackend
from ray_audit.errors import SpecificationError
from ray_audit.report.bundles import strip_frames
from ray_audit.report.html_page import as_script_data
from ray_audit.report.write_report import write_report


def document_of(path):
    page = path.read_text(encoding="utf-8")
    start = page.index('id="document">') + len('id="document">')
    return page, json.loads(page[start : page.index("</script>", start)])


def written(tables, tmp_path, **options):
    path = tmp_path / "out" / "report.html"
    path.parent.mkdir(exist_ok=True)
    return write_report(tables, LocalBackend(), str(path), **options), path


def test_one_file_needs_no_other(images, tmp_path):
    _, path = written(images[1], tmp_path)
    page, document = document_of(path)
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page)
    bundles = document["bundles"]
    assert set(bundles) == set(document["findings"]["bundle"])
    assert all(bundle["pictures"]["image"].startswith("data:") for bundle in bundles.values())


def test_a_report_never_replaces_an_image_of_the_run(images, tmp_path):
    picture = tmp_path / "data/a/0.png"
    before = picture.read_bytes()
    with pytest.raises(SpecificationError, match=r"--to: .*a/0\.png is among .* dataset\.uri"):
        write_report(images[1], LocalBackend(), str(picture))
    assert picture.read_bytes() == before


def test_findings_stand_in_order_with_their_losses(images, tmp_path):
    _, path = written(images[1], tmp_path)
    findings = document_of(path)[1]["findings"]
    assert findings["rank"] == sorted(findings["rank"])
    _, tables = images
    rows = tables.whole("trajectories").to_pylist()
    losses = {row["sample_id"]: row["loss"] for row in rows}
    for sample, shown in zip(findings["sample"], findings["losses"], strict=True):
        assert shown == pytest.approx(losses[sample], abs=1e-3)


def test_histograms_count_every_sample(images, tmp_path):
    _, path = written(images[1], tmp_path)
    document = document_of(path)[1]
    num_scored = document["run"]["counts"]["scored"]
    assert sum(document["histograms"]["csl"]["counts"]) == num_scored


def test_a_folders_page_may_load_what_lies_beside_it_and_nothing_else(images, tmp_path):
    done = write_report(images[1], LocalBackend(), str(tmp_path / "folder"), folder=True)
    page = Path(done.uri).read_text()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', page)
    said = html.unescape(policy)
    assert "default-src 'none'" in said
    (scripts,) = (part for part in said.split(";") if "script-src" in part)
    assert scripts.split()[2:] == ["'self'", "file:"]


def test_a_folder_holds_pictures_beside_the_page(images, tmp_path):
    done = write_report(images[1], LocalBackend(), str(tmp_path / "folder"), folder=True)
    files = sorted((tmp_path / "folder/bundles").glob("*.js"))
    assert len(files) == done.num_bundles > 0
    assert files[0].read_text().startswith(f'bundleArrived("{files[0].stem}", {{')


def test_fewer_findings_and_pictures_on_demand(images, tmp_path):
    done, path = written(images[1], tmp_path, num_findings=3, num_bundles=1)
    assert (done.num_findings, done.num_bundles) == (3, 1)
    assert len(document_of(path)[1]["findings"]["id"]) == 3


def test_a_shard_that_has_gone_is_said_so(images, tmp_path):
    small, tables = images
    shard = tables.findings()["shard"][0].as_py()
    (path,) = small.folder.glob(f"**/{shard}")
    path.unlink()
    _, page = written(tables, tmp_path)
    bundles = document_of(page)[1]["bundles"].values()
    assert sum("gone" in bundle.get("reason", "") for bundle in bundles) == 1


def test_a_dataset_that_has_gone_leaves_a_note(images, tmp_path):
    small, tables = images
    for path in small.folder.glob("data/**/*.png"):
        path.unlink()
    done, page = written(tables, tmp_path)
    assert any("cannot be listed" in note for note in done.notes)
    assert any("cannot be listed" in note for note in document_of(page)[1]["run"]["notes"])


def test_timelines_of_videos_hold_every_frame(videos, tmp_path):
    _, tables = videos
    _, path = written(tables, tmp_path)
    document = document_of(path)[1]
    bundle = next(iter(document["bundles"].values()))
    rows = tables.whole("scores").to_pandas()
    shard = document["strings"][document["findings"]["shard"][0]]
    given = rows[rows["shard"] == shard]["label"].to_numpy()
    if "video" in bundle:
        assert np.array_equal(bundle["video"]["given"], given)


@pytest.mark.parametrize("name", ["</script><script>alert(1)</script>", "\u2028", "<!--"])
def test_names_never_end_the_script(name):
    text = as_script_data({"name": name})
    assert "<" not in text
    assert "\u2028" not in text
    assert json.loads(text) == {"name": name}


def test_a_strip_never_leaves_the_video_at_its_start():
    frames = strip_frames({"start_frame": 0, "end_frame": 1})
    assert frames[0] == (0, True)
    assert all(frame >= 0 for frame, _ in frames)
