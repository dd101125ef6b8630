"""Real files, where they are at hand."""

import csv
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.media import cut, dataset

DATA = Path(os.environ.get("RAY_AUDIT_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))
pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not DATA.is_dir(), reason="RAY_AUDIT_SHARED_DATA names no folder"),
]
PHASES = ["sil", "command", "colour", "preposition", "letter", "digit", "adverb"]
CLASSES = "sky building pole road pavement tree sign fence car pedestrian bicyclist"


def test_golf_videos_have_a_row_per_label(tmp_path):
    with open(DATA / "golf_swing/swing1.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    classes = sorted({row["phase"] for row in rows})
    labels = {"frames": f"{DATA}/golf_swing/{{stem}}.csv", "columns": {"label": "phase"}}
    config = dataset("video", DATA / "golf_swing/swing1.mp4", labels, classes=classes)
    result = cut(config, tmp_path, size=(64, 36))
    assert result.labels == {
        f"swing1.mp4#{row['frame']}": classes.index(row["phase"]) for row in rows
    }
    assert result.failures == []
    assert result.batches[0].arrays["inputs"].shape[2:] == (3, 64, 36)


def test_grid_segments_agree_with_its_frame_table(tmp_path):
    outcomes = []
    for form in ("frames", "segments"):
        labels = {form: f"{DATA}/grid_speech/{form}.csv", "columns": {"label": "phase"}}
        uri = DATA / "grid_speech/videos/bb*.mpg"
        outcomes.append(cut(dataset("video", uri, labels, classes=PHASES), tmp_path, (36, 45)))
    by_frame, by_segment = outcomes
    assert by_frame.failures == by_segment.failures == []
    same = [by_frame.labels[k] == label for k, label in by_segment.labels.items()]
    assert np.mean(same) > 0.99
    assert len(by_segment.ids) + len(by_segment.filtered) == len(by_frame.ids)


def test_truncated_grid_video_loses_the_rest(tmp_path):
    source = sorted((DATA / "grid_speech/videos").glob("*.mpg"))[0]
    content = source.read_bytes()
    (tmp_path / source.name).write_bytes(content[: len(content) * 6 // 10])
    labels = {"frames": f"{DATA}/grid_speech/frames.csv", "columns": {"label": "phase"}}
    config = dataset("video", tmp_path / source.name, labels, classes=PHASES)
    result = cut(config, tmp_path, (36, 45))
    (failure,) = result.failures
    assert failure.error_class == "decode"
    assert 30 < len(result.ids) < 50
    assert len(result.ids) + failure.num_samples == 75


def test_camvid_images_tiled_and_whole(tmp_path):
    labels = {"masks": f"{DATA}/camvid/masks/{{stem}}.png"}
    uri = DATA / "camvid/images/0001TP_0066*.jpg"
    settings = {"classes": CLASSES.split(), "void": [11]}
    whole = cut(dataset("images", uri, labels, **settings), tmp_path)
    tiled = cut(dataset("images", uri, labels, tile={"size": 100}, **settings), tmp_path)
    owned = Counter()
    for row in tiled.rows:
        owned[row["sample_id"]] += row["num_labelled"]
    assert owned == {row["sample_id"]: row["num_labelled"] for row in whole.rows}
    first = np.asarray(Image.open(DATA / "camvid/masks/0001TP_006690.png")).astype(int)
    targets = whole.batches[0].arrays["targets"][0]
    assert np.array_equal(targets, np.where(first == 11, -1, first))


def test_golf_poses_keep_their_frame_numbers(tmp_path):
    labels = {"arrays": "{key}_label", "frame_arrays": "{key}_frame"}
    config = dataset(
        "sequences",
        DATA / "golf_poses/sequences.npz",
        labels,
        classes=[str(i) for i in range(9)],
        clip={"frames": None},
    )
    actual = cut(config, tmp_path)
    with np.load(DATA / "golf_poses/sequences.npz") as arrays:
        frames = arrays["0000_frame"].tolist()
        expected = dict(zip(frames, arrays["0000_label"].tolist(), strict=True))
    prefix = "sequences.npz#0000#"
    found = {i.removeprefix(prefix): k for i, k in actual.labels.items() if i.startswith(prefix)}
    assert {int(frame): label for frame, label in found.items()} == expected
    assert len(actual.batches) == 62


def test_cifar_rows_of_parquet(tmp_path):
    settings = {"classes": [str(i) for i in range(10)]}
    config = dataset("images", DATA / "cifar10n/*.parquet", {"column": "worse_label"}, **settings)
    result = cut(config, tmp_path)
    assert len(result.ids) == 10_000
    assert result.failures == []
    # Of 2 MiB of float32: 12 KiB a picture.
    assert result.batches[0].arrays["inputs"].shape == (170, 3, 32, 32)
