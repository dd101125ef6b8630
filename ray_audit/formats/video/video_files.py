"""Videos: a file each, with labels by frame, by segment or by video in tables."""

from ray_audit.config import DatasetConfig
from ray_audit.errors import SampleError
from ray_audit.formats.base import Format, FrameIndex, FrameReader
from ray_audit.formats.job import UnitContext
from ray_audit.formats.labels.timeline import Timeline
from ray_audit.formats.video.packet_slices import indexed
from ray_audit.formats.video.stills import is_folder
from ray_audit.formats.video.video_reader import VideoReader
from ray_audit.samples import Shard

_INDEXED = (".mp4", ".m4v", ".mov")  # others would be read twice


class VideoFiles(Format):
    """Whatever FFmpeg decodes, by these endings."""

    name = "video"
    kind = "video"
    forms = frozenset({"folder"})
    extensions = (
        *("mp4", "m4v", "mov", "avi", "mkv", "webm", "mpg", "mpeg", "wmv", "flv", "ts", "m2ts"),
        *("mts", "3gp", "ogv", "mjpeg", "mjpg", "y4m", "vob", "m2v"),
    )

    def frames(self, shard: Shard, job: UnitContext, timeline: Timeline | None) -> FrameReader:
        """In decoding order, up to the first damage."""
        return VideoReader(shard, job, timeline)

    def is_indexed(self, shard: Shard) -> bool:
        """Those that have an index of their own."""
        return shard.key.lower().endswith(_INDEXED) and not is_folder(shard.uri)

    def frame_index(self, shard: Shard, dataset: DatasetConfig, least_frames: int) -> FrameIndex:
        """From the container's packets."""
        if is_folder(shard.uri) or shard.start_s is not None:
            raise SampleError("index", "a folder of frames, or an episode, is read as a whole")
        return indexed(shard, dataset, least_frames)
