"""Folders of numbered images: videos where a table labels their frames, classes otherwise."""

import pytest

import ray_audit
from tests.support.drafts import drafted, same
from tests.support.published.built import photo, put_text

VIDEOS = ("P01_01", "P02_03", "P03_02")


def frames(root, place, first):
    for name in VIDEOS:
        for frame in range(first, first + 8):
            photo(root / f"{place}/{name}/frame_{frame:06d}.jpg", frame)


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("place", ["frames", "rgb/train"])
def test_a_row_for_each_frame(tmp_path, first, place):
    frames(tmp_path, place, first)
    rows = [f"{name},{t + first},{'ab'[t // 3 % 2]}" for name in VIDEOS for t in range(8)]
    put_text(tmp_path / "labels.csv", "video,frame,label", *rows)
    same(drafted(tmp_path), {f"{name}#{t}": "ab"[t // 3 % 2] for name in VIDEOS for t in range(8)})
    draft = ray_audit.init(tmp_path)
    assert draft.specification["dataset"]["kind"] == "video"
    assert any(question.startswith("fps") for question in draft.asked)


def test_a_first_frame_without_a_label_moves_no_other(tmp_path):
    frames(tmp_path, "frames", 0)
    rows = [f"{name},{t},{'ab'[t % 2]}" for name in VIDEOS for t in range(1, 8)]
    put_text(tmp_path / "labels.csv", "video,frame,label", *rows)
    expected = {f"{name}#{t}": "ab"[t % 2] for name in VIDEOS for t in range(1, 8)}
    same(drafted(tmp_path), expected)


def test_a_row_for_each_segment(tmp_path):
    frames(tmp_path, "frames", 1)
    rows = [f"{name},{b},{e},{k}" for name in VIDEOS for b, e, k in ((1, 4, "x"), (4, 9, "y"))]
    put_text(tmp_path / "segments.csv", "video,start_frame,end_frame,label", *rows)
    same(drafted(tmp_path), {f"{name}#{t}": "xy"[t > 2] for name in VIDEOS for t in range(8)})


def test_a_table_of_images_leaves_folders_what_they_are(tmp_path):
    for name in ("cat", "dog"):
        for at in range(4):
            photo(tmp_path / f"train/{name}/img_{at:03d}.jpg", at)
    rows = [f"img_{at:03d}.jpg,{name},{at}" for name in ("cat", "dog") for at in range(4)]
    put_text(tmp_path / "labels.csv", "image,label,age", *rows)
    assert ray_audit.init(tmp_path).specification["dataset"]["kind"] == "images"
