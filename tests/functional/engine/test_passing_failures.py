"""Failures that pass: known as such wherever they arise, tried again, and never preferred."""

import errno

import numpy as np
import pytest

from ray_audit import storage
from ray_audit.cli import main
from ray_audit.cli.ending import ExitCode
from ray_audit.engine.run.audit import run_audit
from ray_audit.engine.run.status import read_status
from ray_audit.errors import RunError, StorageError
from ray_audit.formats import arrays
from tests.support.small_sets import SmallSet, class_folders, masked_images, picture
from tests.support.tables import assert_identical, rows_of

ALL_MAY_FAIL = {"failures": {"max_fraction": 1.0}}


def night(small, day, **changes):
    return run_audit(small.config(**ALL_MAY_FAIL | changes), local=True, logical_date=day)


def fresh(small, **changes):
    return night(small, "2026-01-31", output=str(small.folder / "fresh"), **changes)


def errors_of(outcome):
    return rows_of(outcome, "errors").to_pylist()


@pytest.fixture
def one_file_once(monkeypatch):
    """A store that does not give one file for a while."""
    read = storage.read_bytes

    def withhold(ending):
        def reader(uri, in_parts=False):
            if uri.endswith(ending):
                raise StorageError(f"cannot read {uri}: 503 Slow Down", may_pass=True)
            return read(uri, in_parts)

        monkeypatch.setattr(storage, "read_bytes", reader)
        return lambda: monkeypatch.setattr(storage, "read_bytes", read)

    return withhold


def many_images(folder, num):
    small = class_folders(folder)
    for i in range(num):
        picture(folder / f"data/a/more{i:03d}.png", 100 + i)
    return small


def test_a_file_that_was_not_read_once_is_scored_the_next_night_however_many_batches_follow_it(
    tmp_path, one_file_once
):
    small = many_images(tmp_path, 60)
    engine = {"batch_size": 2}
    give = one_file_once("a/0.png")
    first = night(small, "2026-01-01", engine=engine)
    assert first.counts["failed"] == 1
    give()
    second = night(small, "2026-01-02", engine=engine)
    assert second.counts["failed"] == 0
    assert_identical(second, fresh(small, engine=engine))
    assert night(small, "2026-01-03", engine=engine).manifest.plan["num_new"] == 0


def test_a_second_pass_of_confident_learning_outlives_a_read_error(tmp_path, one_file_once):
    small = masked_images(tmp_path, num=30)
    changes = {"engine": {"batch_size": 1}, "confident": "exact", "scores": ["csl", "softmin"]}
    give = one_file_once("images/i0.png")
    night(small, "2026-01-01", **changes)
    give()
    assert_identical(night(small, "2026-01-02", **changes), fresh(small, **changes))


def test_records_of_a_good_night_win_over_those_of_a_failed_one(tmp_path, one_file_once):
    small = class_folders(tmp_path)
    epochs = sorted((tmp_path / "checkpoints").iterdir())
    late = epochs[-1].rename(tmp_path / "late.safetensors")
    scores = {"scores": ["csl", "vog"]}
    night(small, "2026-01-01", **scores)
    late.rename(epochs[-1])
    give = one_file_once("a/0.png")
    assert night(small, "2026-01-02", **scores).counts["failed"] == 1
    give()
    # Without VoG the last checkpoint alone runs; last night's set holds it too, and a failure.
    outcome = night(small, "2026-01-03", scores=["csl"])
    assert outcome.counts["failed"] == 0
    assert_identical(outcome, fresh(small, scores=["csl"]))


def sequence_set(folder):
    (folder / "data").mkdir()
    rng = np.random.default_rng(0)
    for name in ("x", "y"):
        np.save(folder / f"data/{name}.npy", rng.normal(size=(12, 4)).astype(np.float32))
    rows = [f"{name}.npy,{t},{'abc'[t // 4]}" for name in ("x", "y") for t in range(12)]
    (folder / "frames.csv").write_text("\n".join(["video,frame,label", *rows]) + "\n")
    dataset = {
        "kind": "sequences",
        "uri": str(folder / "data/*.npy"),
        "labels": {"frames": str(folder / "frames.csv")},
        "clip": {"frames": None},
    }
    return SmallSet(folder, dataset, "FrameModel", {"in_features": 4})


@pytest.mark.parametrize("part", ["data/", "checkpoints/"])
def test_a_store_that_fails_while_files_are_listed_is_no_fault_of_the_specification(
    tmp_path, monkeypatch, part
):
    small = class_folders(tmp_path)
    spec, listed = str(small.spec_file()), storage.list_objects

    def list_objects(uri):
        if part in uri:
            raise StorageError(f"cannot list {uri}: 503 Slow Down", may_pass=True)
        return listed(uri)

    monkeypatch.setattr(storage, "list_objects", list_objects)
    assert main(["plan", spec, "--local"]) == ExitCode.FAILED
    monkeypatch.setattr(storage, "list_objects", listed)
    for path in (tmp_path / part).rglob("*.*"):
        path.unlink()
    assert main(["plan", spec, "--local"]) == ExitCode.WRONG_USAGE


def test_no_memory_while_decoding_is_a_failure_that_passes(tmp_path, monkeypatch):
    small = sequence_set(tmp_path)
    features = arrays.features_of

    def no_memory(values, dataset):
        raise MemoryError("cannot allocate 1 GiB")

    monkeypatch.setattr(arrays, "features_of", no_memory)
    first = night(small, "2026-01-01")
    assert {(e["stage"], e["error_class"]) for e in errors_of(first)} == {("read", "memory")}
    monkeypatch.setattr(arrays, "features_of", features)
    assert_identical(night(small, "2026-01-02"), fresh(small))


@pytest.mark.parametrize(
    ("number", "text"),
    [(errno.EBUSY, "Please reduce your request rate."), (errno.EREMOTEIO, "500")],
)
def test_what_a_store_says_in_the_middle_of_a_stream_is_a_failure_that_passes(
    tmp_path, monkeypatch, number, text
):
    # As s3fs says it: findings/slow_down_in_a_stream_is_a_bare_oserror.sh shows it.
    small = sequence_set(tmp_path)
    opened = storage.open_read

    class Busy:
        def __init__(self, stream):
            self._stream = stream

        def read(self, size=-1):
            raise OSError(number, text)

        def __getattr__(self, name):
            return getattr(self._stream, name)

    def open_read(uri, *args, **options):
        stream = opened(uri, *args, **options)
        return Busy(stream) if uri.endswith("x.npy") else stream

    monkeypatch.setattr(storage, "open_read", open_read)
    monkeypatch.setattr("ray_audit.formats.accounting._WHOLE_BYTES", 0)
    first = night(small, "2026-01-01")
    assert [(e["shard"], e["stage"], e["error_class"]) for e in errors_of(first)] == [
        ("x.npy", "read", "read")
    ]
    monkeypatch.setattr(storage, "open_read", opened)
    second = night(small, "2026-01-02")
    assert second.counts["failed"] == 0
    assert_identical(second, fresh(small))


def test_weights_that_the_store_does_not_give_are_told_as_such_and_the_run_as_failed(
    tmp_path, monkeypatch
):
    def expired(*_):
        raise StorageError("cannot read epoch_0.safetensors: the token has expired")

    images = class_folders(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("ray_audit.engine.backends.worker.load_weights", expired)
        with pytest.raises(RunError, match=r"the weights could not be read: .*has expired"):
            night(images, "2026-01-01")
    assert [run.state for run in read_status(str(images.out)).runs] == ["failed"]
    assert night(images, "2026-01-01").counts["scored"] == 12
