"""Real data from S3 to S3 on Ray, against the one-process engine on local files."""

import csv
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest

from ray_audit.engine.run.audit import run_audit
from tests.support.real_sets import SETS, config_of, train
from tests.support.tables import assert_identical, rows_of

pytestmark = [pytest.mark.integration, pytest.mark.real_data]


def count_camvid(data):
    return len(list((data / "camvid/images").glob("*.jpg")))


def count_golf_swing(data):
    files = (data / "golf_swing").glob("*.csv")
    return sum(sum(1 for _ in csv.reader(f.open())) - 1 for f in files)


def count_grid_speech(data):
    return 75 * len(list((data / "grid_speech/videos").glob("*.mpg")))


def count_golf_poses(data):
    with np.load(data / "golf_poses/sequences.npz") as arrays:
        return sum(len(arrays[name]) for name in arrays.files if name.endswith("_label"))


def count_cifar10n(data):
    return sum(pq.read_metadata(f).num_rows for f in (data / "cifar10n").glob("*.parquet"))


ENTERED = {
    "camvid": count_camvid,
    "golf_swing": count_golf_swing,
    "grid_speech-frames": count_grid_speech,
    "grid_speech-segments": count_grid_speech,
    "golf_poses": count_golf_poses,
    "cifar10n": count_cifar10n,
}


# One of them in every run; the others take minutes more, and small sets of each kind are held to
# the one process by test_same_on_ray.
ALWAYS = ("grid_speech-frames",)


@pytest.mark.parametrize(
    "name",
    [pytest.param(item, marks=() if item in ALWAYS else pytest.mark.slow) for item in SETS],
)
def test_every_sample_is_scored_once_and_equal_to_the_one_process_engine(
    name, shared_data, cluster, bucket, tmp_path
):
    real = SETS[name](shared_data)
    (tmp_path / "index").mkdir()
    here = config_of(real, shared_data, tmp_path / "checkpoints", str(tmp_path / "out"))
    train(real, here, tmp_path)
    folder = name.partition("-")[0]
    bucket.put(shared_data / folder, f"data/{folder}")
    bucket.put(tmp_path / "checkpoints", "checkpoints")
    there = config_of(
        real, f"{bucket.uri}/data", f"{bucket.uri}/checkpoints", f"{bucket.uri}/audit"
    )

    on_ray = run_audit(there)
    in_process = run_audit(here, local=True)

    assert on_ray.counts["entered"] == ENTERED[name](shared_data)
    assert on_ray.counts["failed"] == 0
    ids = rows_of(on_ray, "scores")["sample_id"].to_pylist()
    ids += rows_of(on_ray, "filtered")["sample_id"].to_pylist()
    assert Counter(ids).most_common(1)[0][1] == 1
    assert len(ids) == on_ray.counts["entered"]
    assert_identical(on_ray, in_process)


@pytest.mark.parametrize(
    ("name", "uri", "slice_frames"),
    [
        ("golf_swing", "golf_swing/swing3.mp4", 140),
        ("grid_speech-frames", "grid_speech/videos/bb*.mpg", 24),
    ],
)
def test_slices_of_real_videos_change_no_table(name, uri, slice_frames, shared_data, tmp_path):
    real = SETS[name](shared_data)
    clip = real.dataset["clip"] | {"frames": 8, "stride": 4}

    def config(slice_frames):
        real.dataset.update(uri=uri, clip=clip | {"slice_frames": slice_frames})
        out = str(tmp_path / f"out-{slice_frames}")
        return config_of(real, shared_data, tmp_path / "checkpoints", out, engine={"batch_size": 2})

    (tmp_path / "index").mkdir()
    train(real, config(None), tmp_path)
    whole, parts = (run_audit(config(n), local=True) for n in (None, slice_frames))
    assert_identical(whole, parts)
    assert parts.manifest.plan["num_slices"] >= 3
