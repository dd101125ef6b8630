"""Labelled frames of a video that were not reached, or do not exist, as failures."""

from dataclasses import dataclass

import av
import numpy as np

from ray_audit.errors import SampleError
from ray_audit.formats.accounting import UnitAccounting
from ray_audit.formats.labels.timeline import FrameTimeline, Timeline
from ray_audit.formats.video.clock import Clock, middles
from ray_audit.formats.video.packets import unpack_pts
from ray_audit.formats.video.stills import Still
from ray_audit.samples import Slice

_NUM_NAMED = 5


@dataclass(frozen=True)
class Stop:
    """Where the decoding of a video ended.

    Attributes:
        num_frames: index of the first frame that was not reached.
        end_s: when it would be shown.
        frame_s: seconds a frame.
        error: why decoding ended, or None at the video's end.
    """

    num_frames: int
    end_s: float
    frame_s: float
    error: Exception | None

    @property
    def located(self) -> Exception:
        """The error with the place at which decoding ended."""
        error = self.error or SampleError("decode", "the video has no frame")
        if not isinstance(error, av.error.FFmpegError | SampleError):
            return error
        if isinstance(error, SampleError) and error.error_class != "decode":
            return error
        if self.num_frames == 0:
            return SampleError("decode", f"the video cannot be opened or decoded: {error}")
        return SampleError("decode", f"decoding ended after {self.num_frames} frames: {error}")


def report_lost(
    tally: UnitAccounting, key: str, timeline: Timeline, every: int, stop: Stop
) -> None:
    """Record the labels of a whole video that were not reached.

    Whether an error tells of the damage or the file just ends, each `every`-th frame counts.
    """
    if stop.error is not None:
        num_lost = timeline.count(stop.num_frames, every, stop.end_s, stop.frame_s)
        of_labels = getattr(stop.error, "error_class", "") == "label_clock"
        stage = "labels" if of_labels else "decode"
        tally.fail(key, stop.located, stage=stage, num_samples=num_lost)
        return
    missing = timeline.without_overrun(stop.end_s)
    num_missing = missing.count(stop.num_frames, 1, stop.end_s, stop.frame_s)
    if num_missing:
        num_lost = missing.count(stop.num_frames, every, stop.end_s, stop.frame_s)
        error = label_without_frame(timeline, stop.num_frames, num_missing)
        tally.fail(key, error, stage="labels", num_samples=num_lost)


def report_lost_in_slice(
    tally: UnitAccounting, key: str, timeline: Timeline, every: int, part: Slice, stop: Stop
) -> None:
    """Record the labels of a slice that an error took away."""
    num_lost = _num_lost(timeline, part, stop, every)
    where = f"slice {part.number + 1} of {part.num_slices}: "
    tally.fail(key, stop.located, num_samples=num_lost, where=where)


def report_lost_video(tally: UnitAccounting, key: str, stop: Stop) -> None:
    """Record a video with one label where none of it could be decoded, or only its beginning."""
    if stop.error is None and stop.num_frames:
        return
    tally.fail(key, stop.located, num_samples=0 if stop.num_frames else 1)


def _num_lost(timeline: Timeline, part: Slice, stop: Stop, every: int) -> int:
    """Labelled frames that are a slice's own and were not reached."""
    clock, pts = Clock.of_slice(part), unpack_pts(part.packed_pts)
    num_frames = part.stop_frame - part.first_frame
    frames = part.first_frame + np.arange(len(pts))
    middles_s = middles(clock.times_s(frames, pts), clock.frame_s)[:num_frames]
    frames = frames[:num_frames]
    lost = (frames >= max(stop.num_frames, part.own_start)) & (frames < part.own_stop)
    lost &= frames % every == 0
    num_lost = int(timeline.is_labelled(frames[lost], middles_s[lost]).sum())
    if part.is_last:
        end_s = clock.time_s(part.stop_frame - 1, int(pts[-1])) + clock.frame_s
        behind = timeline.without_overrun(end_s)
        first = max(stop.num_frames, part.own_stop)
        num_lost += behind.count(first, every, end_s, clock.frame_s)
    return num_lost


def label_without_frame(timeline: Timeline, num_frames: int, num_missing: int) -> SampleError:
    """The error for labels of frames that a video or sequence does not have."""
    few = ""
    if isinstance(timeline, FrameTimeline):
        missing = timeline.labelled(num_frames)[:_NUM_NAMED].tolist()
        few = f" (frames {', '.join(map(str, missing))}{', ...' if num_missing > 5 else ''})"
    return SampleError(
        "label_without_frame",
        f"{num_missing} labels stand for frames that do not exist{few}: it has {num_frames} "
        "frames, from 0. Check that labels and file belong together, and that frames count from 0"
        + ("; where they count from 1, give labels.first_frame: 1" if num_missing == 1 else ""),
    )


def labels_of_left_out(still: Still) -> SampleError:
    """The error for more labels without numbers than images, among whose numbers some are lacking.

    Which labels are of images that are there cannot be told.
    """
    return SampleError(
        "label_clock",
        f"the folder has {still.num_promised} images among {still.num_numbers} numbers, and more "
        "labels than images: labels without numbers are those of the images in their order. Give "
        "each the number of its frame, or take out those of images that are left out",
    )


def label_without_file(num_missing: int, first: int, still: Still) -> SampleError:
    """The error for labels of frames between or before the images of a folder."""
    return SampleError(
        "label_clock" if (num_missing, first, still.index) == (1, 0, 1) else "label_without_frame",
        f"{num_missing} labels, of frame {first} and others, stand for images that are not there "
        f"before {still.uri}, frame {still.index}: labels name the numbers of files less "
        "dataset.labels.first_frame; check from where both count",
    )
