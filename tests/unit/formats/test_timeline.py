"""What is lost with a container or a label file is counted, as far as it can be known."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ray_audit.errors import StorageError
from ray_audit.formats.labels import timeline as timelines
from tests.support.media import cut, dataset, noise, png, write_video

NUM_ROWS, GROUP_ROWS = 192, 64


@pytest.fixture
def broken_off(tmp_path):
    """A Parquet file whose second row group is damaged."""
    path = tmp_path / "x.parquet"
    images = [png(noise(4, 5, i)) for i in range(NUM_ROWS)]
    table = pa.table({"image": images, "label": [0] * NUM_ROWS})
    pq.write_table(table, path, row_group_size=GROUP_ROWS, compression="none")
    start = pq.ParquetFile(path).metadata.row_group(1).column(0).dictionary_page_offset
    start = start or pq.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    content = bytearray(path.read_bytes())
    content[start : start + 64] = b"\xff" * 64
    path.write_bytes(content)
    return path


def test_the_rest_of_a_parquet_file_is_counted_by_its_own_metadata(broken_off, tmp_path):
    result = cut(dataset("images", broken_off, {"column": "label"}), tmp_path)
    assert len(result.ids) == GROUP_ROWS
    assert [failure.num_samples for failure in result.failures] == [NUM_ROWS - GROUP_ROWS]


def test_the_rest_of_a_parquet_file_is_counted_by_its_label_table(broken_off, tmp_path):
    rows = [f"x.parquet#{row},a" for row in (0, 10, 70, 80, 190)]
    (tmp_path / "t.csv").write_text("\n".join(["image,label", *rows]))
    result = cut(dataset("images", broken_off, {"images": str(tmp_path / "t.csv")}), tmp_path)
    assert len(result.ids) == 2
    assert [failure.num_samples for failure in result.failures] == [3]


def test_an_unknown_loss_counts_as_one_and_says_so(tmp_path):
    (tmp_path / "x.npz").write_bytes(b"PK no zip")
    labels = {"arrays": "{key}_label"}
    (failure,) = cut(dataset("sequences", tmp_path / "x.npz", labels), tmp_path).failures
    assert failure.num_samples == 1
    assert "is not known: at least 1" in failure.message


def test_a_sequence_whose_labels_are_damaged_loses_as_many_as_their_header_says(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, one=np.zeros((3, 2), np.float32), one_label=np.array([0, 1, 2]))
    content = bytearray(path.read_bytes())
    at = content.rindex(np.array([0, 1, 2]).tobytes())
    content[at] ^= 1  # its checksum in the zip does not hold any more
    path.write_bytes(content)
    result = cut(dataset("sequences", path, {"arrays": "{key}_label"}), tmp_path)
    assert result.ids == []
    assert [(f.shard, f.num_samples) for f in result.failures] == [("x.npz#one", 3)]


def test_a_label_file_that_cannot_be_read_fails_its_video_alone(tmp_path, monkeypatch):
    for name in ("a", "b"):
        write_video(tmp_path / f"{name}.mp4", 4)
        (tmp_path / f"{name}.csv").write_text("frame,label\n0,a\n1,b\n")
    timeline = timelines.shard_timeline

    def flaky(shard, *args):
        if shard.key == "a.mp4":
            error = StorageError("cannot read a.csv: the store does not answer", may_pass=True)
            error.attempts = 3
            raise error
        return timeline(shard, *args)

    monkeypatch.setattr(timelines, "shard_timeline", flaky)
    config = dataset("video", tmp_path / "*.mp4", {"frames": str(tmp_path / "{stem}.csv")})
    result = cut(config, tmp_path)
    assert result.ids == ["b.mp4#0", "b.mp4#1"]
    (failure,) = result.failures
    assert (failure.shard, failure.stage, failure.error_class) == ("a.mp4", "labels", "read")
    assert failure.attempts == 3
