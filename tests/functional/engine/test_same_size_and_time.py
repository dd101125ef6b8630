"""Local files that were replaced by others of the same size and time of change."""

import os

import numpy as np
import pytest
from PIL import Image

from ray_audit.engine.run.audit import run_audit
from ray_audit.engine.run.dry_run import dry_run
from ray_audit.sources import etags
from tests.support.small_sets import class_folders, feature_sequences, masked_images
from tests.support.tables import assert_identical


def run(small, date, **changes):
    return run_audit(small.config(**changes), local=True, logical_date=date)


def kept_times(path, write):
    """Replace a file, and give it back its time of change."""
    before = path.stat()
    write(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert path.stat().st_mtime_ns == before.st_mtime_ns


def other_features(path):
    arrays = dict(np.load(path))
    arrays["s0"] = arrays["s0"][::-1].copy()
    np.savez(path, **arrays)


def bitmaps(folder):
    """Masks without compression, whose size does not depend on what they show."""
    small = masked_images(folder)
    rng = np.random.default_rng(0)
    for path in sorted((folder / "data/masks").glob("*.png")):
        Image.fromarray(rng.integers(0, 3, (16, 16), np.uint8)).save(path.with_suffix(".bmp"))
        path.unlink()
    small.values["dataset"]["labels"] = {"masks": str(folder / "data/masks/{stem}.bmp")}
    return small


def other_classes(path):
    Image.fromarray((np.asarray(Image.open(path)) + 1) % 3).save(path)


@pytest.mark.parametrize(
    ("make", "name", "write"),
    [
        pytest.param(feature_sequences, "data/sequences.npz", other_features, id="data"),
        pytest.param(bitmaps, "data/masks/i1.bmp", other_classes, id="masks"),
    ],
)
@pytest.mark.parametrize("date", ["2026-01-01", "2026-01-02"])
def test_a_replaced_file_is_audited_anew_on_the_same_date_and_on_the_next(
    tmp_path, make, name, write, date
):
    small = make(tmp_path)
    before = run(small, "2026-01-01")
    kept_times(tmp_path / name, write)
    after = run(small, date)
    assert not after.reused
    assert after.run_id[-8:] != before.run_id[-8:]
    assert_identical(after, run(small, date, output=str(tmp_path / "fresh")))


def test_files_that_were_only_touched_or_copied_are_not_audited_again(tmp_path):
    small = class_folders(tmp_path)
    run(small, "2026-01-01")
    for path in (tmp_path / "data").rglob("*.png"):
        os.utime(path, (0, 0))
    assert run(small, "2026-01-02").manifest.plan["num_new"] == 0


def test_the_plan_says_what_is_told_apart_by_size_and_time_alone(tmp_path, monkeypatch):
    small = class_folders(tmp_path)
    monkeypatch.setattr(etags, "SMALL_BYTES", 0)
    plan = dry_run(small.config(), None, True, None, "2026-01-01", False)
    assert plan.inputs.listing.num_by_time == 12
    monkeypatch.undo()
    plan = dry_run(small.config(), None, True, None, "2026-01-01", False)
    assert plan.inputs.listing.num_by_time == 0


def test_files_are_read_up_to_a_limit_for_all_of_them(tmp_path, monkeypatch):
    small = class_folders(tmp_path)
    sizes = sorted((str(p), p.stat().st_size) for p in (tmp_path / "data").rglob("*.png"))
    monkeypatch.setattr(etags, "_MAX_READ_BYTES", sum(size for _, size in sizes[:5]))
    plan = dry_run(small.config(), None, True, None, "2026-01-01", False)
    by_time = [
        shard.uri for shard in plan.inputs.listing.shards if etags.is_by_time(shard.uri, shard.etag)
    ]
    assert not set(by_time) & {uri for uri, _ in sizes[:5]}
    assert len(by_time) >= 5
