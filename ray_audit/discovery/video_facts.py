"""Length and clock of a video, as its container tells them."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import av

from ray_audit import storage
from ray_audit.discovery.tree import Tree
from ray_audit.errors import RayAuditError

_SHORT = 0.6  # labels that end before so much of a video are on a clock of their own
_NEAR_S = 2.5


def length_of(tree: Tree, path: str) -> tuple[int, float] | None:
    """Frames of a video, and their number a second; None where the container does not tell."""
    with (
        suppress(RayAuditError, OSError, ValueError, av.FFmpegError),
        storage.open_read(tree.at(path), tree.sizes.get(path)) as stream,
        av.open(stream) as container,
    ):
        video = container.streams.video[0]
        rate = float(video.average_rate or 0)
        seconds = float(container.duration or 0) / 1e6
        num = int(video.frames or round(seconds * rate))
        return (num, rate) if num and rate else None
    return None


def with_seconds(labels: dict[str, Any]) -> dict[str, Any]:
    """`labels` of segments in frames as segments in seconds of the same columns."""
    columns = dict(labels.get("columns", {}))
    has_end = "duration_frames" not in {*columns, *labels.get("header", ())}
    renamed = {"start_frame": "start_s"}
    renamed |= {"end_frame": "end_s"} if has_end else {"duration_frames": "duration_s"}
    named = {timed: columns.pop(counted, counted) for counted, timed in renamed.items()}
    kept = {key: value for key, value in labels.items() if key not in ("first_frame", "ends")}
    if "header" in labels:  # the names were invented
        kept["header"] = [renamed.get(name, name) for name in labels["header"]]
        return kept
    return {**kept, "columns": {**columns, **named}}


def clock_of(tree: Tree, path: str, numbers: Sequence[float]) -> tuple[dict[str, Any], list[str]]:
    """`labels.fps` where the labels of a video end with its seconds, and not with its frames."""
    facts = length_of(tree, path)
    if facts is None or not numbers:
        return {}, []
    num_frames, rate = facts
    last = max(numbers)
    if last < _SHORT * num_frames and abs(last - num_frames / rate) <= _NEAR_S and rate > 2:
        assumed = (
            f"labels are one a second: they end at {last:g}, and the video after "
            f"{num_frames / rate:.0f} s ({num_frames} frames)"
        )
        return {"fps": 1}, [assumed]
    return {}, []
