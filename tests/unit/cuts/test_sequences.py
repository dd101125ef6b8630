import numpy as np
import pytest

from ray_audit import storage
from ray_audit.formats.accounting import UnitAccounting
from ray_audit.formats.array_files import read_npy
from tests.support.media import cut, dataset

ARRAYS = {"arrays": "{key}_label", "frame_arrays": "{key}_frame"}


def features(num_frames, seed=0):
    return np.random.default_rng(seed).normal(size=(num_frames, 3, 2)).astype(np.float32)


def test_npz_members_become_sequences(tmp_path):
    result, two = features(5), features(4, 1)
    np.savez(
        tmp_path / "x.npz",
        one=result,
        one_label=np.array([0, 1, 9, 2, 2], np.int8),
        one_frame=np.array([3, 4, 5, 8, 9]),
        two=two,
    )
    config = dataset("sequences", tmp_path / "x.npz", ARRAYS, void=[9], clip={"frames": None})
    actual = cut(config, tmp_path)
    assert actual.ids == [f"x.npz#one#{f}" for f in (3, 4, 8, 9)]
    assert {row["shard"] for row in actual.rows} == {"x.npz#one"}
    (batch,) = actual.batches
    assert batch.task == "frames"
    assert np.array_equal(batch.arrays["inputs"], result.reshape(1, 5, 6))
    assert batch.arrays["targets"].tolist() == [[0, 1, -1, 2, 2]]
    assert actual.filtered == {"x.npz#one#5": "void"} | {
        f"x.npz#two#{f}": "unlabelled" for f in range(4)
    }
    assert actual.failures == []


def test_clips_and_sampling_of_a_sequence(tmp_path):
    values = features(11)
    np.savez(tmp_path / "x.npz", a=values, a_label=np.array(list("aabbccaabbc")))
    clip = {"frames": 3, "stride": 2, "every": 2}
    result = cut(dataset("sequences", tmp_path / "x.npz", ARRAYS, clip=clip), tmp_path)
    flat = values.reshape(11, 6)[::2]
    inputs = np.concatenate([b.arrays["inputs"] for b in result.batches])
    assert np.array_equal(inputs, np.stack([flat[i : i + 3] for i in (0, 2, 3)]))
    assert result.ids == [f"x.npz#a#{f}" for f in range(0, 11, 2)]
    assert result.filtered == {f"x.npz#a#{f}": "not_sampled" for f in range(1, 11, 2)}


def test_bad_members_fail_alone(tmp_path):
    np.savez(
        tmp_path / "x.npz",
        good=features(2),
        good_label=np.array(["a", "b"]),
        short=features(4),
        short_label=np.array([0, 0, 1]),
        outside=features(2),
        outside_label=np.array([0, 7]),
        objects=np.array([{}, {}]),
        objects_label=np.array([0, 1]),
        flat=np.zeros(2),
        flat_label=np.array([0, 1]),
        frames=features(2),
        frames_label=np.array([0, 1]),
        frames_frame=np.array([5, 5]),
    )
    result = cut(dataset("sequences", tmp_path / "x.npz", ARRAYS), tmp_path)
    assert result.ids == ["x.npz#good#0", "x.npz#good#1"]
    assert sorted(result.failed) == [
        ("x.npz#flat", "array_shape", 2),
        ("x.npz#frames", "array_shape", 2),
        ("x.npz#objects", "pickle", 2),
        ("x.npz#outside", "label_outside", 2),
        ("x.npz#short", "length", 3),
    ]


def test_npz_with_a_label_table(tmp_path):
    np.savez(tmp_path / "x.npz", one=features(3), two=features(3))
    (tmp_path / "t.csv").write_text("video,frame,label\none,0,a\nx.npz#two,2,c\ntwo,1,b\n")
    config = dataset("sequences", tmp_path / "x.npz", {"frames": str(tmp_path / "t.csv")})
    result = cut(config, tmp_path)
    assert result.labels == {"x.npz#one#0": 0, "x.npz#two#1": 1, "x.npz#two#2": 2}


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "u1", "?", "<f2"])
@pytest.mark.parametrize("shape", [(5, 3), (1, 7), (0, 3), ()])
def test_npy_is_read_as_numpy_reads_it(tmp_path, shape, dtype, order):
    stored = np.asarray(np.random.default_rng(0).integers(0, 2, shape), dtype, order=order)
    np.save(path := tmp_path / "a.npy", stored)
    with storage.open_read(str(path)) as stream:
        found = read_npy(stream, path.stat().st_size)
    expected = np.load(path)
    assert found.dtype == expected.dtype
    assert found.strides == expected.strides
    np.testing.assert_array_equal(found, expected)


def test_npy_that_was_cut_off_is_damaged_and_its_bytes_count(tmp_path):
    np.save(path := tmp_path / "a.npy", np.zeros((4, 3)))
    path.write_bytes(path.read_bytes()[:-8])
    tally = UnitAccounting("unit")
    with tally.open_read(str(path)) as stream, pytest.raises(ValueError, match="88 of 96 bytes"):
        read_npy(stream, 10_000)
    assert tally.bytes_read >= path.stat().st_size


def test_npy_with_segments(tmp_path):
    np.save(tmp_path / "a.npy", features(6))
    np.save(tmp_path / "b.npy", np.array([None]))
    (tmp_path / "c.npy").write_bytes(b"")
    rows = [f"{name},{start},{start + 3},{k}" for name in "abc" for start, k in ((0, 1), (3, 2))]
    (tmp_path / "t.csv").write_text("\n".join(["video,start_frame,end_frame,label", *rows]))
    config = dataset("sequences", tmp_path / "*.npy", {"segments": str(tmp_path / "t.csv")})
    result = cut(config, tmp_path)
    assert result.labels == {f"a.npy#{f}": 1 + f // 3 for f in range(6)}
    assert result.batches[0].arrays["inputs"].shape == (1, 6, 6)
    assert result.failed == [("b.npy", "pickle", 6), ("c.npy", "decode", 6)]


@pytest.mark.parametrize(("num_rows", "num_lost"), [(30, 0), (33, 0), (34, 4)])
def test_a_few_rows_of_labels_behind_the_end_are_left_out(tmp_path, num_rows, num_lost):
    np.save(tmp_path / "a.npy", features(30))
    (tmp_path / "a.txt").write_text("a\nb\nc\n" * (num_rows // 3) + "a\n" * (num_rows % 3))
    labels = {"frames": str(tmp_path / "{stem}.txt"), "header": ["label"]}
    result = cut(dataset("sequences", tmp_path / "*.npy", labels), tmp_path)
    assert result.labels == {f"a.npy#{t}": t % 3 for t in range(30)}
    assert sum(failure.num_samples for failure in result.failures) == num_lost


def test_labels_of_missing_frames_are_a_failure(tmp_path):
    np.save(tmp_path / "a.npy", features(2))
    (tmp_path / "t.csv").write_text("video,frame,label\na,0,a\na,5,b\n")
    config = dataset("sequences", tmp_path / "a.npy", {"frames": str(tmp_path / "t.csv")})
    result = cut(config, tmp_path)
    assert result.ids == ["a.npy#0"]
    assert result.failed == [("a.npy", "label_without_frame", 1)]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 broken"])
def test_a_broken_npz_is_one_failure(tmp_path, content):
    (tmp_path / "x.npz").write_bytes(content)
    result = cut(dataset("sequences", tmp_path / "x.npz", ARRAYS), tmp_path)
    assert [(f.shard, f.error_class) for f in result.failures] == [("x.npz", "decode")]
