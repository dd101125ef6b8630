"""What every stored format promises, in audits and where labels are written."""

import errno
import gzip
import io
import shutil
import struct
import tarfile
import zipfile

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.io import savemat

from ray_audit import storage
from ray_audit.config import AuditConfig
from ray_audit.corrections.write_labels import write_labels
from ray_audit.formats.contents import contents_of
from ray_audit.formats.label_changes import FrameChange, LabelChanges
from ray_audit.formats.registry import format_of, formats
from ray_audit.store_errors import explained_stream
from ray_audit.training.inject import inject
from tests.support import label_sets, media
from tests.support.label_sets import all_labels, listed
from tests.support.media import cut, dataset, noise, png, write_parquet, write_video
from tests.unit.test_hostile_files import little_memory, png_header

__all__ = ["little_memory"]
MIB = 2**20
NUM = 6


def rows(folder, header, lines):
    (folder / "t.csv").write_text(header + "\n" + "\n".join(lines) + "\n")
    return str(folder / "t.csv")


def images_of(folder, suffix, write):
    for part in ("a", "b"):
        write(folder / f"{part}{suffix}", [f"{part}{i}" for i in range(NUM)])
    lines = [f"{part}{i},{i % 3}" for part in ("a", "b") for i in range(NUM)]
    labels = {"images": rows(folder, "image,label", lines)}
    if suffix in (".parquet", ".arrow"):
        labels["key_column"] = "key"
    return dataset("images", folder / f"*{suffix}", labels)


def write_images(path, keys):
    return write_parquet(path, image=[png(noise(4, 5, i)) for i in range(NUM)], key=keys)


def write_archive(path, keys):
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as file:
        for i, key in enumerate(keys):
            content = png(noise(4, 5, i))
            info = tarfile.TarInfo(f"{key}.png")
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))


def sequences(folder, suffix):
    for part in ("a", "b"):
        values = np.random.default_rng(0).normal(size=(NUM, 4)).astype(np.float32)
        if suffix == ".h5":
            with h5py.File(folder / f"{part}.h5", "w") as file:
                file[part] = values
        elif suffix == ".mat":
            savemat(folder / f"{part}.mat", {part: values}, do_compression=True)
        elif suffix == ".npy":
            np.save(folder / f"{part}.npy", values)
        else:
            np.savez(folder / f"{part}.npz", **{part: values})
    lines = [f"{part},{i},{i % 3}" for part in ("a", "b") for i in range(NUM)]
    labels = {"frames": rows(folder, "video,frame,label", lines)}
    return dataset("sequences", folder / f"*{suffix}", labels)


def videos(folder):
    for part in ("a", "b"):
        write_video(folder / f"{part}.mp4", NUM)
    lines = [f"{part},{i},{i % 3}" for part in ("a", "b") for i in range(NUM)]
    return dataset("video", folder / "*.mp4", {"frames": rows(folder, "video,frame,label", lines)})


def image_files(folder):
    for part in ("a", "b"):
        for i in range(NUM):
            (folder / f"{part}{i}.png").write_bytes(png(noise(30, 30, i)))
    lines = [f"{part}{i},{i % 3}" for part in ("a", "b") for i in range(NUM)]
    labels = {"images": rows(folder, "image,label", lines)}
    return dataset("images", folder / "*.png", labels)


def write_arrow(path, keys):
    rows = pa.table({"image": [png(noise(4, 5, i)) for i in range(NUM)], "key": keys})
    with pa.ipc.new_stream(str(path), rows.schema) as writer:
        writer.write_table(rows, max_chunksize=4)


def write_zip(path, keys):
    with zipfile.ZipFile(path, "w") as file:
        for i, key in enumerate(keys):
            file.writestr(f"{key}.png", png(noise(4, 5, i)))


def idx_files(folder):
    for part in ("a", "b"):
        pixels = np.stack([noise(4, 5, i)[:, :, 0] for i in range(NUM)]).astype(np.uint8)
        head = struct.pack(">4B3I", 0, 0, 8, 3, *pixels.shape)
        (folder / f"{part}-ubyte.gz").write_bytes(gzip.compress(head + pixels.tobytes()))
    lines = [f"{part}-ubyte.gz#{i},{i % 3}" for part in ("a", "b") for i in range(NUM)]
    labels = {"images": rows(folder, "image,label", lines)}
    return dataset("images", folder / "*-ubyte.gz", labels)


BY_TABLE = {
    "image files": image_files,
    "Parquet": lambda f: images_of(f, ".parquet", write_images),
    "tar": lambda f: images_of(f, ".tar", write_archive),
    "tar.gz": lambda f: images_of(f, ".tar.gz", write_archive),
    "Arrow": lambda f: images_of(f, ".arrow", write_arrow),
    "zip": lambda f: images_of(f, ".zip", write_zip),
    "npz": lambda f: sequences(f, ".npz"),
    "HDF5": lambda f: sequences(f, ".h5"),
    "MATLAB": lambda f: sequences(f, ".mat"),
    "npy": lambda f: sequences(f, ".npy"),
    "video": videos,
    "IDX": idx_files,
}
"""Two files (or six and six) of each format, labelled by a table: 12 labels."""


def test_every_format_is_held_to_this():
    # Volumes have masks only: test_volumes holds them to the same.
    assert {format_.name for format_ in formats() if not format_.is_volume} <= BY_TABLE.keys()


def accounted(result):
    return len(result.rows) + sum(failure.num_samples for failure in result.failures)


@pytest.mark.parametrize("name", BY_TABLE)
def test_what_is_listed_is_read(tmp_path, name):
    config = BY_TABLE[name](tmp_path)
    shards = listed(config)[0].shards
    owners = {o.key for shard in shards for o in contents_of(shard, config.labels).owners}
    result = cut(config, tmp_path)
    whose = "sample_id" if config.task.has_one_label else "shard"
    assert {row[whose] for row in result.rows} == owners
    assert (len(result.rows), result.failures, result.filtered) == (2 * NUM, [], {})


@pytest.mark.parametrize("name", BY_TABLE)
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.5, 0.6])
def test_a_damaged_file_is_a_row_of_errors_and_no_label_vanishes(tmp_path, name, kept):
    config = BY_TABLE[name](tmp_path)
    path = max(p for p in tmp_path.iterdir() if p.name.startswith("b"))
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    result = cut(config, tmp_path)
    assert accounted(result) == 2 * NUM
    assert result.failures
    assert result.filtered == {}
    assert all(failure.shard.startswith(path.name) for failure in result.failures)


class Busy:
    """A stream that its store breaks off, as s3fs says it: a bare OSError."""

    def __init__(self, stream, num_reads):
        self._stream, self._left = stream, num_reads

    def read(self, size=-1):
        self._left -= 1
        if self._left < 0:
            raise OSError(errno.EBUSY, "Please reduce your request rate.")
        return self._stream.read(size)

    def readinto(self, buffer):
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def __getattr__(self, name):
        return getattr(self._stream, name)


@pytest.mark.parametrize("name", BY_TABLE)
@pytest.mark.parametrize("num_reads", [0, 2])
def test_a_store_that_fails_while_a_file_is_read_is_a_failure_that_passes(
    tmp_path, monkeypatch, name, num_reads
):
    config = BY_TABLE[name](tmp_path)
    shards = media.listed(config, tmp_path).shards
    opened = storage.open_read

    def busy(uri, size_bytes=None):
        stream = opened(uri, size_bytes)
        if not uri.rpartition("/")[2].startswith("b"):
            return stream
        return explained_stream(Busy(stream, num_reads), "read", uri)

    monkeypatch.setattr(storage, "open_read", busy)
    monkeypatch.setattr("ray_audit.formats.accounting._WHOLE_BYTES", 0)
    result = media.cut_listed(shards, config, tmp_path)
    assert accounted(result) == 2 * NUM
    assert result.filtered == {}
    assert {(failure.stage, failure.error_class) for failure in result.failures} <= {
        ("read", "read")
    }
    # Image files and members of a zip are fetched whole.
    assert result.failures or num_reads or name in ("image files", "zip")


@pytest.mark.parametrize("form", label_sets.FORMS)
def test_what_is_written_reads_back_equal(tmp_path, form):
    (tmp_path / "data").mkdir()
    config = label_sets.FORMS[form](tmp_path / "data")
    listing, given = listed(config)
    before = all_labels(config)
    if config.task.is_dense:
        expected = {key: np.where(mask == 1, 2, mask) for key, mask in before.items()}
        changes = LabelChanges(mask=lambda owner: expected[owner.key])
    elif config.task.has_one_label:
        chosen = dict(list(given.class_labels())[::2])
        changes = LabelChanges(classes={owner: (k + 1) % 3 for owner, k in chosen.items()})
        expected = before | {owner.key: (k + 1) % 3 for owner, k in chosen.items()}
    else:
        frames, expected = {}, dict(before)
        for owner in given.sequence_owners():
            at, labels = given.sequence(owner)
            keep = np.flatnonzero(labels >= 0)[1:4]
            frames[owner] = FrameChange(at[keep], ((labels[keep] + 1) % 3).astype(np.int32))
            expected |= {
                owner.frame(t): (k + 1) % 3
                for t, k in zip(at[keep].tolist(), labels[keep].tolist(), strict=True)
            }
        changes = LabelChanges(frames=frames, times=given.times)
    written = write_labels(config, listing, changes, str(tmp_path / "to"))
    expected = {written.renamed.get(key, key): label for key, label in expected.items()}
    after = all_labels(written.dataset)
    assert after.keys() == expected.keys()
    assert all(np.array_equal(after[key], expected[key]) for key in expected)
    assert written.left_out == {}


def parquet_bomb(path):
    image = pa.array([bytes(300 * MIB)], pa.large_binary())
    table = pa.table({"image": image, "key": ["b0"], "label": [0]})
    # Statistics would hold the value once more, and take longest.
    pq.write_table(
        table, path, compression="zstd", use_dictionary=False, write_statistics=["key", "label"]
    )


def tar_bomb(path):
    header = tarfile.TarInfo("b0.png")
    header.size = 3000 * MIB
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(header.tobuf())
        for _ in range(4):
            file.write(bytes(MIB))


def npz_bomb(path):
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file,
        file.open("b.npy", "w") as member,
    ):
        member.write(bytes(300 * MIB))


def zip_bomb(path):
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file,
        file.open("b0.png", "w") as member,
    ):
        for _ in range(300):
            member.write(bytes(MIB))


def hdf5_bomb(path):
    with h5py.File(path, "w") as file:
        member = file.create_dataset("b", (300 * MIB, 1), "u1", chunks=(MIB, 1), compression="gzip")
        member[:MIB] = 1


def matlab_bomb(path):
    savemat(path, {"b": np.zeros((300 * MIB, 1), np.uint8)}, do_compression=True)


def arrow_bomb(path):
    rows = pa.table({"image": [bytes(300 * MIB)], "key": ["b0"]})
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(str(path), rows.schema, options=options) as writer:
        writer.write_table(rows)


CLAIMS = {
    "image files": ("b.png", lambda path: path.write_bytes(png_header(40_000, 40_000))),
    "Parquet": ("b.parquet", parquet_bomb),
    "tar": ("b.tar.gz", tar_bomb),
    "npz": ("b.npz", npz_bomb),
    "zip": ("b.zip", zip_bomb),
    "HDF5": ("b.h5", hdf5_bomb),
    "Arrow": ("b.arrow", arrow_bomb),
    "MATLAB": ("b.mat", matlab_bomb),
}
"""A small file of each format that could grow: what it would inflate to fills the memory."""


@pytest.fixture(scope="module")
def claim(tmp_path_factory):
    """Puts the file of a format into a folder; each is made once."""
    made = tmp_path_factory.mktemp("claims")

    def put(name, folder):
        file, build = CLAIMS[name]
        if not (made / file).exists():
            build(made / file)
        shutil.copy(made / file, folder)
        return file

    return put


@pytest.mark.parametrize("name", CLAIMS)
def test_sizes_are_bounded_before_anything_is_decoded(tmp_path, name, request, claim):
    file = claim(name, tmp_path)
    form = format_of(file)
    if form.kind == "sequences":
        labels = {"frames": rows(tmp_path, "video,frame,label", ["b,0,a"])}
    else:
        labels = {
            "images": rows(tmp_path, "image,label", ["b0,a" if form.holds_several else "b,a"])
        }
        if name == "Parquet":
            labels["key_column"] = "key"
    config = dataset(form.kind, tmp_path / file, labels)
    request.getfixturevalue("little_memory")
    result = cut(config, tmp_path)
    assert [failure.error_class for failure in result.failures] == ["too_large"]
    assert accounted(result) == 1


@pytest.mark.parametrize("name", ["Parquet", "tar", "npz"])
def test_sizes_are_bounded_where_labels_are_written_too(tmp_path, name, request, claim):
    file = claim(name, tmp_path)
    good = {
        "Parquet": lambda p: write_parquet(p, image=[png(noise(4, 5))] * 8, label=[0, 1] * 4),
        "tar": lambda p: label_sets.tar_column(p.parent, "tar.gz"),
        "npz": lambda p: np.savez(
            p,
            **{f"a{i}": np.zeros((20, 2)) for i in range(4)},
            **{f"a{i}_label": np.repeat([0, 1, 2, 0], 5) for i in range(4)},
        ),
    }[name]
    good(tmp_path / f"a{file[1:]}")
    labels = {
        "Parquet": {"column": "label"},
        "tar": {"column": "cls"},
        "npz": {"arrays": "{key}_label"},
    }[name]
    config = dataset(format_of(file).kind, tmp_path / f"*{file[1:]}", labels)
    request.getfixturevalue("little_memory")
    values = {
        "dataset": config.model_dump(exclude_unset=True),
        "model": {"factory": "a.b:c"},
        "checkpoints": "ck/*.pt",
        "output": "out",
    }
    done = inject(AuditConfig.model_validate(values), str(tmp_path / "to"), 0.5)
    assert any(f"Left out: {file}" in note and "inflate" in note for note in done.notes)
    assert done.num_errors > 0
    assert not (tmp_path / "to/data" / file).exists()
