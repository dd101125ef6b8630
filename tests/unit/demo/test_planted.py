import csv

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ray_audit.demo.planted import write_mask_set, write_video_set
from ray_audit.demo.videos import PHASES
from tests.support.media import decoded_video


def read_labels(path):
    with path.open(newline="") as stream:
        return {f"{r['video']}#{r['frame']}": r["label"] for r in csv.DictReader(stream)}


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    root = tmp_path_factory.mktemp("videos")
    write_video_set(root, num_videos=7, seed=0)
    return root


@pytest.fixture(scope="module")
def masks(tmp_path_factory):
    root = tmp_path_factory.mktemp("masks")
    write_mask_set(root, num_images=30, size_px=64, seed=0)
    return root


def test_video_labels_name_every_frame(videos):
    given = read_labels(videos / "labels.csv")
    clips = sorted((videos / "clips").glob("*.mp4"))
    assert len(clips) == 7
    expected = [f"{p.name}#{i}" for p in clips for i in range(len(decoded_video(p)))]
    assert list(given) == expected
    assert set(given.values()) <= set(PHASES)


def test_video_truth_agrees_with_clean_and_given_labels(videos):
    given = read_labels(videos / "labels.csv")
    clean = read_labels(videos / "clean_labels.csv")
    rows = pq.read_table(videos / "truth.parquet").to_pylist()
    assert [row["sample_id"] for row in rows] == list(given)
    for row in rows:
        name = row["sample_id"]
        assert PHASES[row["true_label"]] == clean[name]
        assert row["is_error"] == (given[name] != clean[name])
    wrong = {row["sample_id"].split("#")[0]: row["kind"] for row in rows if row["is_error"]}
    assert sorted(wrong.values()) == ["adjacent", "mislabel"]


def test_mask_truth_counts_wrong_pixels(masks):
    rows = pq.read_table(masks / "truth.parquet").to_pylist()
    assert [row["sample_id"] for row in rows] == [f"p{i:03d}.png" for i in range(30)]
    for row in rows:
        pictures = [
            np.asarray(Image.open(masks / folder / row["sample_id"]))
            for folder in ("images", "masks", "clean_masks")
        ]
        assert {(p.shape, p.dtype) for p in pictures} == {((64, 64), np.dtype(np.uint8))}
        assert row["wrong_px"] == (pictures[1] != pictures[2]).sum()
        assert row["is_error"] == (row["wrong_px"] > 0)
    kinds = sorted(row["kind"] for row in rows if row["is_error"])
    assert kinds == ["random", "random", "shift", "shift", "under", "under"]


def test_benchmark_levels_can_be_chosen(tmp_path):
    truth = write_mask_set(tmp_path, 10, 64, seed=1, rate=0.5, kinds=("under",))
    rows = pq.read_table(truth).to_pylist()
    assert sum(row["kind"] == "under" for row in rows) == 5
