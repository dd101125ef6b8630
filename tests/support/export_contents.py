"""Findings made by hand, with names made to do harm."""

import numpy as np

from ray_audit import rle
from ray_audit.exports.content import Content, Media, VideoFacts
from ray_audit.schemas import FINDINGS

HOSTILE = '<script>"=1+1"</script>\x00\x1b ../../شريان'
CLASSES = ["a", HOSTILE]
SIZE = (40, 50)


def row(index=0, **values):
    found = {column.name: None for column in FINDINGS} | {
        "finding_id": f"{index:016x}",
        "rank": index + 1,
        "kind": "mislabel",
        "shard": "../i 0.png",
        "sample_id": "../i 0.png",
        "given": "a",
        "suggested": HOSTILE,
        "suspicion": 0.75,
        "loss": 2.5,
        "p_given": 0.1,
        "p_suggested": 0.8,
        "reason": "=given 'a', seen as another",
        "evidence": ["../i 0.png"],
    }
    return found | values


def mask(seed):
    """A ragged region that touches no side by itself."""
    found = np.zeros(SIZE, bool)
    found[5:30, 7:41] = np.random.default_rng(seed).random((25, 34)) < 0.6
    return found


def region(index, pixels, **values):
    runs = rle.runs_of(pixels)
    return row(
        index,
        box=list(rle.box(runs, pixels.shape[0])),
        mask_rle=rle.encode(pixels),
        mask_size_px=list(pixels.shape),
        num_px=int(pixels.sum()),
        **values,
    )


def segment(index, start, end, **values):
    return row(index, start_frame=start, end_frame=end, shard="v.mp4", **values)


def content(subject, rows, classes=CLASSES, **videos):
    shards = {row["shard"] for row in rows}
    media = {shard: Media(shard, f"s3://bucket/{shard}", shard) for shard in shards}
    return Content("2026-01-31-0123abcd", "audit", subject, classes, rows, media, videos)


def masks():
    """Two regions of one image, and the images' true masks by finding."""
    pixels = [mask(0), mask(1)]
    rows = [region(index, item) for index, item in enumerate(pixels)]
    return content("masks", rows), {r["finding_id"]: p for r, p in zip(rows, pixels, strict=True)}


def segments():
    """Two segments of a video of 20 frames; the second, without a suggestion, ends with it."""
    rows = [segment(0, 4, 9), segment(1, 12, 20, suggested=None, kind="disorder")]
    facts = {"v.mp4": VideoFacts(20, 25.0, (32, 64))}
    return content("segments", rows, **facts)
