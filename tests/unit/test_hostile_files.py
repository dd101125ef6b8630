"""Files made to do harm: nothing of them is run, and none of them fills the memory."""

import gzip
import io
import resource
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from ray_audit import storage
from ray_audit.checkpoints.file_tensors import read_state
from ray_audit.errors import CheckpointError
from tests.support.media import cut, dataset, noise, png, write_video

MIB = 2**20
ARRAYS = {"arrays": "{key}_label"}


@pytest.mark.parametrize(
    ("stored", "inflated", "refused"),
    [
        (1, 256 * MIB, False),
        (1, 256 * MIB + 1, True),
        (3 * MIB, 300 * MIB, False),
        (3 * MIB, 300 * MIB + 1, True),
        (2**40, 2**40, False),
    ],
)
def test_what_is_taken_for_a_bomb(stored, inflated, refused):
    assert storage.inflates_too_far(stored, inflated) is refused


@pytest.fixture
def little_memory():
    """What the tests need beside what is taken already, and no more."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    limit = pages * resource.getpagesize() + 250 * MIB
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def zip_bomb(path, name, head, num_bytes):
    """A zip member of zeros after `head`: a thousandth of its size on the disk."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file,
        file.open(name, "w", force_zip64=True) as member,
    ):
        member.write(head)
        for _ in range(num_bytes // MIB):
            member.write(bytes(MIB))
    return path


def npy_header(shape):
    stream = io.BytesIO()
    values = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, values)
    return stream.getvalue()


def test_an_npz_bomb_is_refused_before_it_inflates(tmp_path, little_memory):
    num_bytes = 300 * MIB
    zip_bomb(tmp_path / "x.npz", "s.npy", npy_header((num_bytes // 16, 4)), num_bytes)
    result = cut(dataset("sequences", tmp_path / "x.npz", ARRAYS), tmp_path)
    assert result.failed == [("x.npz", "too_large", 1)]
    assert "s.npy would inflate from" in result.failures[0].message


@pytest.mark.parametrize("shape", [(10**12, 4), (2**62, 2**62)])
def test_an_npy_that_claims_more_than_it_holds_is_a_failure(tmp_path, shape, little_memory):
    (tmp_path / "x.npy").write_bytes(npy_header(shape) + bytes(64))
    (tmp_path / "frames.csv").write_text("video,frame,label\nx,0,a\n")
    labels = {"frames": str(tmp_path / "frames.csv")}
    result = cut(dataset("sequences", tmp_path / "x.npy", labels), tmp_path)
    ((name, error_class, num_samples),) = result.failed
    assert (name, num_samples) == ("x.npy", 1)
    assert error_class in ("decode", "too_large")


@pytest.mark.parametrize("lying", ["s", "s_label"])
def test_an_array_in_an_npz_that_claims_more_than_it_holds_is_a_failure(
    tmp_path, lying, little_memory
):
    honest = {"s": np.zeros((4, 2), np.float32), "s_label": np.array([0, 1, 2, 0])}
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as file:
        for name, values in honest.items():
            stream = io.BytesIO()
            np.lib.format.write_array(stream, values)
            content = npy_header((10**12, 4)) + bytes(64) if name == lying else stream.getvalue()
            file.writestr(f"{name}.npy", content)
    result = cut(dataset("sequences", tmp_path / "x.npz", ARRAYS), tmp_path)
    ((name, error_class, num_samples),) = result.failed
    assert (name, error_class, num_samples) == ("x.npz#s", "decode", 4)
    assert "its header claims 16000000000000 bytes" in result.failures[0].message


def test_a_checkpoint_bomb_is_refused_before_it_inflates(tmp_path, little_memory):
    path = zip_bomb(tmp_path / "w.pt", "archive/data/0", b"", 300 * MIB)
    with pytest.raises(CheckpointError, match="would inflate to 314572800"):
        read_state(str(path))


def test_a_checkpoint_whose_members_cannot_be_listed_is_refused(tmp_path):
    torch.save({"w": torch.zeros(2)}, tmp_path / "w.pt")
    content = (tmp_path / "w.pt").read_bytes()
    central = content.index(b"PK\x01\x02")
    broken = bytearray(content)
    broken[central + 9] |= 8  # names in UTF-8
    broken[central + 46] = 0x80  # which begin with half a letter
    (tmp_path / "w.pt").write_bytes(broken)
    with pytest.raises(CheckpointError, match=r"cannot be read: it is damaged.*UnicodeDecodeE"):
        read_state(str(tmp_path / "w.pt"))


def test_a_checkpoint_of_zeros_is_no_bomb(tmp_path):
    weights = {"w": torch.zeros(MIB)}
    torch.save(weights, tmp_path / "w.pt")
    assert torch.equal(read_state(str(tmp_path / "w.pt"))["w"], weights["w"])


def gzip_tar(path, members):
    """A tar.gz of (TarInfo, bytes or None for zeros), written without holding them."""
    with gzip.open(path, "wb", compresslevel=1) as stream:
        for info, content in members:
            stream.write(info.tobuf())
            for start in range(0, info.size, MIB):
                block = bytes(min(MIB, info.size - start)) if content is None else content
                stream.write(block)
            stream.write(bytes(-info.size % tarfile.BLOCKSIZE))
        stream.write(bytes(2 * tarfile.BLOCKSIZE))
    return path


def member(name, size, kind=tarfile.REGTYPE):
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info


def test_a_member_of_a_tar_that_inflates_too_far_is_refused(tmp_path, little_memory):
    good = png(noise(8, 8))
    members = [(member("0.png", len(good)), good), (member("0.cls", 1), b"0")]
    members += [(member("1.png", 300 * MIB), None)]
    gzip_tar(tmp_path / "x.tar.gz", members)
    result = cut(dataset("images", tmp_path / "x.tar.gz", {"column": "cls"}), tmp_path)
    assert result.ids == ["x.tar.gz#0"]
    assert [failure.error_class for failure in result.failures] == ["too_large"]
    assert "'1.png' would inflate to 314572800 bytes" in result.failures[0].message


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
@pytest.mark.parametrize("labels", ["column", "images"])
def test_a_tar_header_that_inflates_is_refused(tmp_path, little_memory, kind, labels):
    gzip_tar(tmp_path / "x.tar.gz", [(member("long", 300 * MIB, kind), None)])
    (tmp_path / "labels.csv").write_text("image,label\nx.tar.gz,a\n")
    form = {"column": "cls"} if labels == "column" else {"images": f"{tmp_path}/labels.csv"}
    result = cut(dataset("images", tmp_path / "x.tar.gz", form), tmp_path)
    assert result.rows == []
    (failure,) = result.failures
    assert (failure.shard, failure.error_class) == ("x.tar.gz", "decode")


def png_header(width, height):
    def chunk(kind, content):
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    end = chunk(b"IDAT", zlib.compress(bytes(64))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + end


@pytest.mark.parametrize("labels", ["folder", "masks"])
def test_a_png_that_claims_a_billion_pixels_is_refused(tmp_path, little_memory, labels):
    hostile = png_header(100_000, 10_000)
    good = png(noise(8, 8)[:, :, 0] // 128)
    for name, content in (("a/0.png", hostile), ("masks/0.png", good)):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(content)
    masks = {"masks": f"{tmp_path}/masks/{{stem}}.png"}
    form = {"folder": True} if labels == "folder" else masks
    result = cut(dataset("images", tmp_path / "a/0.png", form), tmp_path)
    assert [(failure.error_class, failure.num_samples) for failure in result.failures] == [
        ("too_large", 1)
    ]


def framed(video, **settings):
    table = video.parent / "frames.csv"
    table.write_text("video,frame,label\n" + "".join(f"{video.stem},{t},a\n" for t in range(6)))
    labels = {"frames": str(table)}
    return cut(dataset("video", video, labels, clip={"frames": 2}, **settings), video.parent)


def test_frames_above_max_px_are_refused_before_they_are_decoded(tmp_path):
    video = write_video(tmp_path / "one.mp4", 6, size=(48, 64))
    result = framed(video, max_px=48 * 64 - 1)
    assert result.failed == [("one.mp4", "too_large", 6)]
    assert "its frames have 64 x 48 = 3072 px, dataset.max_px is 3071" in result.failures[0].message
    assert result.batches == []
    assert sum(tail.num_decoded for tail in result.tails) == 0


def test_frames_of_max_px_are_taken(tmp_path):
    video = write_video(tmp_path / "one.mp4", 6, size=(48, 64))
    assert len(framed(video, max_px=48 * 64).ids) == 6


def test_a_video_that_grows_further_on_ends_there(tmp_path):
    small = write_video(tmp_path / "s.mpg", 3, size=(48, 64), codec="mpeg1video").read_bytes()
    large = write_video(tmp_path / "l.mpg", 3, size=(96, 128), codec="mpeg1video").read_bytes()
    for name in ("s.mpg", "l.mpg"):
        (tmp_path / name).unlink()
    (tmp_path / "one.mpg").write_bytes(small + large)
    result = framed(tmp_path / "one.mpg", max_px=48 * 64)
    assert result.failed == [("one.mpg", "too_large", 3)]
    assert result.ids == ["one.mpg#0", "one.mpg#1", "one.mpg#2"]


def patched_avi(path, width, height, num_frames):
    """Another size and number of frames in the headers of an AVI."""
    content = bytearray(write_video(path, 6, codec="ffv1").read_bytes())
    struct.pack_into("<ii", content, content.index(b"strf") + 12, width, height)
    struct.pack_into("<I", content, content.index(b"avih") + 24, num_frames)
    struct.pack_into("<I", content, content.index(b"strh") + 40, num_frames)
    path.write_bytes(content)
    return path


def test_a_header_that_claims_huge_frames_is_refused(tmp_path, little_memory):
    result = framed(patched_avi(tmp_path / "one.avi", 100_000, 100_000, 6))
    ((name, error_class, num_lost),) = result.failed
    assert (name, num_lost) == ("one.avi", 6)
    assert error_class in ("too_large", "decode")
    assert result.batches == []


def test_a_header_that_claims_a_billion_frames_is_not_believed(tmp_path, little_memory):
    result = framed(patched_avi(tmp_path / "one.avi", 64, 48, 10**9))
    assert len(result.ids) == 6
    assert result.failed == []
