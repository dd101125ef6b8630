import csv
import inspect
import json
import zipfile
from xml.etree import ElementTree

import numpy as np
import pyarrow.parquet as pq
import pytest

from ray_audit import store_writes
from ray_audit.cli import findings as findings_commands
from ray_audit.errors import SpecificationError, StorageError
from ray_audit.exports.export import FORMATS, export
from ray_audit.exports.selection import Selection
from ray_audit.tables.run_tables import RunTables
from tests.support import knowing
from tests.support.audits import audit
from tests.support.small_sets import SmallSet
from tests.support.volumes import VALUES, save_volume, sees_grey, slices_first
from tests.unit.formats.test_dicom import write_slice


def opened(small):
    audit(small)
    return RunTables.open(str(small.out))


@pytest.fixture(scope="module")
def masks(tmp_path_factory):
    return opened(knowing.masks(tmp_path_factory.mktemp("masks")))


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    return opened(knowing.videos(tmp_path_factory.mktemp("videos"), num=8))


@pytest.fixture(scope="module")
def sequences(tmp_path_factory):
    return opened(knowing.videos(tmp_path_factory.mktemp("npz"), form="npz", num=8))


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    return opened(knowing.images(tmp_path_factory.mktemp("tar"), form="tar")[0])


def labelled_frames(num, column="video"):
    return [
        {column: str(index), "frame": t, "label": knowing.CLASSES[k]}
        for index in range(num)
        for t, k in enumerate(knowing.given_frames(index, (1,)).tolist())
    ]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Videos that are folders of frames."""
    folder = tmp_path_factory.mktemp("folders")
    for index in range(8):
        for t, k in enumerate(knowing.TRUE_FRAMES.tolist()):
            knowing.save(knowing.coloured(k, 8), folder / f"data/{index}/{t:03}.png")
    uri = str(knowing.table(folder / "frames.csv", labelled_frames(8)))
    dataset = {"kind": "video", "uri": f"{folder}/data/*/", "fps": 25, "labels": {"frames": uri}}
    dataset["clip"] = {"frames": None}
    return opened(knowing.knows(SmallSet(folder, dataset, "FrameModel"), *(knowing.SURE,) * 3))


@pytest.fixture(scope="module")
def episodes(tmp_path_factory):
    """Videos that lie one after another in one file."""
    folder = tmp_path_factory.mktemp("episodes")
    (folder / "data").mkdir()
    knowing.film(folder / "data/long.mp4", np.tile(knowing.TRUE_FRAMES, 8))
    length_s = len(knowing.TRUE_FRAMES) / 25
    parts = [
        {"video": "long.mp4", "episode": i, "start_s": i * length_s, "end_s": (i + 1) * length_s}
        for i in range(8)
    ]
    uri = str(knowing.table(folder / "frames.csv", labelled_frames(8)))
    table = {"uri": str(knowing.table(folder / "episodes.csv", parts)), "video": "video"}
    dataset = {"kind": "video", "uri": f"{folder}/data/*.mp4", "labels": {"frames": uri}}
    dataset |= {"clip": {"frames": None}, "episodes": table}
    return opened(knowing.knows(SmallSet(folder, dataset, "FrameModel"), *(knowing.SURE,) * 3))


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """Images in a folder for each class, in a zip archive."""
    folder = tmp_path_factory.mktemp("packed")
    small, *_ = knowing.images(folder, "folder")
    with zipfile.ZipFile(folder / "data.zip", "w") as file:
        for path in sorted((folder / "data").rglob("*.png")):
            file.write(path, path.relative_to(folder / "data"))
    small.values["dataset"]["uri"] = str(folder / "data.zip")
    return opened(small)


@pytest.fixture
def images(tmp_path):
    small, _, _ = knowing.images(tmp_path)
    return small, opened(small)


def rows_of(tables, to, *args, **options):
    export(tables, "parquet", str(to), *args, **options)
    return pq.read_table(to / "findings.parquet").to_pylist()


@pytest.mark.parametrize(
    ("which", "fitting"),
    [
        ("masks", set(FORMATS)),
        ("videos", set(FORMATS) - {"coco"}),
        ("sequences", {"csv", "parquet"}),
        ("members", {"csv", "parquet"}),
        ("folders", {"csv", "parquet"}),
        ("episodes", {"csv", "parquet"}),
    ],
)
def test_formats_fit_or_say_which_do(which, fitting, request, tmp_path):
    tables = request.getfixturevalue(which)
    for name in FORMATS:
        if name in fitting:
            done = export(tables, name, str(tmp_path / name))
            assert done.num_findings == tables.findings().num_rows > 0
            assert {path.name for path in (tmp_path / name).iterdir()} == set(done.files)
        else:
            with pytest.raises(SpecificationError, match=r"formats do: .*csv, parquet"):
                export(tables, name, str(tmp_path / name))


@pytest.mark.parametrize(
    ("which", "what", "remedy"),
    [
        ("folders", "folders of frames that are videos", "make a video of the frames"),
        ("episodes", "episodes, of which a video file holds several", "cut each episode"),
        ("members", "images within tar, Parquet or array files", "unpack the images"),
    ],
)
def test_what_no_tool_opens_is_refused_with_what_helps(which, what, remedy, request, tmp_path):
    tables = request.getfixturevalue(which)
    with pytest.raises(SpecificationError, match=rf"does not hold {what}.* tool, {remedy}"):
        export(tables, "cvat", str(tmp_path))


@pytest.mark.parametrize(("which", "end"), [("folders", "/data/1/"), ("episodes", "/long.mp4")])
def test_tables_point_at_folders_of_frames_and_at_the_file_of_an_episode(
    which, end, request, tmp_path
):
    for row in rows_of(request.getfixturevalue(which), tmp_path):
        assert row["media"].endswith(end)


def test_slices_of_a_dicom_series_point_at_the_series(tmp_path):
    """Every exporter: those of tables hold them, and the others say which do."""
    for index in range(2):
        for k, pixels in enumerate(VALUES[slices_first(index)]):
            write_slice(tmp_path / f"data/ct/v{index}/{9 - k}.dcm", pixels, 2.0 * k)
        labels = slices_first(index, (1,) if index == 0 else ()).astype(np.uint8)
        save_volume(tmp_path / f"data/labels/v{index}.npy", labels)
    dataset = {
        "kind": "images",
        "uri": str(tmp_path / "data/ct/*/*.dcm"),
        "labels": {"masks": str(tmp_path / "data/labels/{stem}.npy")},
        "volume": {"window": [-1000, 1000]},
        "void": [255],
    }
    tables = opened(sees_grey(SmallSet(tmp_path, dataset, "PixelModel")))
    missing = [row for row in tables.findings().to_pylist() if row["given"] != "void"]
    assert [row["sample_id"] for row in missing] == ["v0.dcm#1"]
    for name in FORMATS:
        if name in ("csv", "parquet"):
            export(tables, name, str(tmp_path / name))
            continue
        with pytest.raises(SpecificationError, match="slices of volumes"):
            export(tables, name, str(tmp_path / name))
    rows = pq.read_table(tmp_path / "parquet/findings.parquet").to_pylist()
    with open(tmp_path / "csv/findings.csv", newline="") as file:
        texts = list(csv.DictReader(file))
    series = {r["sample_id"]: f"{tmp_path}/data/ct/{r['shard'][:-4]}/*.dcm" for r in rows}
    for found in (rows, texts):
        assert {row["sample_id"]: row["media"] for row in found} == series


def test_files_of_an_archive_need_a_prefix_where_a_tool_opens_them(packed, tmp_path):
    with pytest.raises(SpecificationError, match=r"data\.zip, which labelling tools do not open"):
        export(packed, "fiftyone", str(tmp_path / "a"))
    done = export(packed, "fiftyone", str(tmp_path / "b"), media_prefix="/mnt/unpacked")
    assert done.num_findings == packed.findings().num_rows > 0
    (sample, *_) = json.loads((tmp_path / "b/samples.json").read_text())["samples"]
    assert sample["filepath"] == f"/mnt/unpacked/{sample['key']}"
    assert all("data.zip!" in row["media"] for row in rows_of(packed, tmp_path / "c"))


def test_an_unknown_format_is_refused(masks):
    with pytest.raises(SpecificationError, match="'excel' is unknown; there are fiftyone"):
        export(masks, "excel")


def test_by_default_it_lies_in_the_run_and_is_never_replaced(images):
    _, tables = images
    done = export(tables, "csv")
    assert done.to == f"{tables.run_uri}/exports/csv"
    assert export(tables, "csv").files == done.files  # the same again is no harm
    with pytest.raises(StorageError, match=r"findings.csv is there already"):
        export(tables, "csv", selection=Selection(max_findings=1))


def test_an_answer_of_the_store_that_is_lost_is_no_failure(images, tmp_path, monkeypatch):
    _, tables = images
    put, is_lost = store_writes.put_file, []

    def put_and_lose(*arguments):
        put(*arguments)
        if not is_lost and "findings.csv" in str(arguments[0]):
            is_lost.append(True)
            raise FileExistsError("as the store answers when the first try is repeated")

    monkeypatch.setattr(store_writes, "put_file", put_and_lose)
    done = export(tables, "csv", str(tmp_path / "to"))
    assert is_lost
    assert (tmp_path / "to/findings.csv").stat().st_size > 0
    assert [path.name for path in (tmp_path / "to").iterdir()] == done.files


def test_filters_choose_findings_in_order_of_rank(masks, tmp_path):
    everything = rows_of(masks, tmp_path / "all")
    assert [row["rank"] for row in everything] == sorted(row["rank"] for row in everything)
    assert rows_of(masks, tmp_path / "top", Selection(max_findings=3)) == everything[:3]
    level = everything[2]["suspicion"]
    above = rows_of(masks, tmp_path / "above", Selection(least_suspicion=level))
    assert above == [row for row in everything if row["suspicion"] >= level]
    void = rows_of(masks, tmp_path / "void", Selection(classes=["void"]))
    assert void == [row for row in everything if row["given"] == "void"] != []
    assert rows_of(masks, tmp_path / "kind", Selection(kinds=["missing_region"])) == everything


@pytest.mark.parametrize("wrong", [{"kinds": ["mislabl"]}, {"classes": ["a", "Z"]}])
def test_filters_that_name_what_is_not_there_are_refused(masks, tmp_path, wrong):
    with pytest.raises(SpecificationError, match="is not among the"):
        export(masks, "csv", str(tmp_path), Selection(**wrong))


def test_nothing_chosen_is_still_a_document(videos, tmp_path):
    done = export(videos, "labelstudio", str(tmp_path), Selection(least_suspicion=1.0))
    assert done.num_findings == 0
    assert json.loads((tmp_path / "tasks.json").read_text()) == []


def test_documents_point_at_the_files_of_the_dataset(images, tmp_path):
    small, tables = images
    data = small.folder / "data"
    for row in rows_of(tables, tmp_path / "parquet"):
        assert row["media"] == str(data / row["shard"])


def test_a_prefix_stands_in_place_of_where_they_lie(images, tmp_path):
    _, tables = images
    moved = rows_of(tables, tmp_path / "a", media_prefix="/mnt/i")
    assert [row["media"] for row in moved] == [f"/mnt/i/{row['shard']}" for row in moved]
    (web, _) = rows_of(tables, tmp_path / "b", media_prefix="https://h/?d=x/")
    assert web["media"] in (
        "https://h/?d=x/%3Di%203%2520%C3%A9.png",
        "https://h/?d=x/%3Di%208%2520%C3%A9.png",
    )


def test_findings_of_a_file_that_has_gone_are_left_out_and_counted(images, tmp_path):
    small, tables = images
    (small.folder / "data/=i 3%20é.png").unlink()
    done = export(tables, "fiftyone", str(tmp_path / "fiftyone"))
    assert (done.num_findings, done.num_left_out) == (1, 1)
    assert "=i 3%20é.png" in done.notes[0]
    assert [row["media"] is None for row in rows_of(tables, tmp_path / "p")].count(True) == 1


def test_a_dataset_that_has_gone_needs_a_prefix(images, tmp_path):
    small, tables = images
    (small.folder / "data").rename(small.folder / "elsewhere")
    with pytest.raises(StorageError, match="--media-prefix"):
        export(tables, "fiftyone", str(tmp_path / "a"))
    done = export(tables, "csv", str(tmp_path / "b"))
    assert (done.num_findings, len(done.notes)) == (2, 1)
    prefix = str(small.folder / "elsewhere")
    assert export(tables, "fiftyone", str(tmp_path / "c"), media_prefix=prefix).num_findings == 2


def test_videos_bring_their_frame_rate_and_size(videos, tmp_path):
    export(videos, "labelstudio", str(tmp_path / "ls"))
    (task,) = json.loads((tmp_path / "ls/tasks.json").read_text())
    assert task["data"]["frames_per_s"] == 25.0
    export(videos, "cvat", str(tmp_path / "cvat"))
    (placed,) = json.loads((tmp_path / "cvat/media.json").read_text())
    root = ElementTree.parse(tmp_path / "cvat" / placed["document"]).getroot()
    assert [element.text for element in root.iter("width")] == ["32"]
    assert [box.get("frame") for box in root.iter("box")] == ["0", "8"]


def test_a_video_that_cannot_be_read_is_left_out_of_cvat(tmp_path):
    small = knowing.videos(tmp_path, num=8)
    tables = opened(small)
    (small.folder / "data/v 1%20é.mp4").write_bytes(b"no video")
    done = export(tables, "cvat", str(tmp_path / "cvat"))
    assert (done.num_findings, done.num_left_out) == (0, 1)
    assert "cannot be read" in done.notes[0]


def test_arrays_of_a_file_point_at_it(sequences, tmp_path):
    export(sequences, "csv", str(tmp_path))
    with (tmp_path / "findings.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert row["shard"] == "s.npz#s1"
    assert row["media"].endswith("/s.npz")


def test_the_help_names_every_format():
    export_command = inspect.signature(findings_commands.export).parameters["format_"]
    (option,) = export_command.annotation.__metadata__
    assert all(name in option.help for name in FORMATS)
