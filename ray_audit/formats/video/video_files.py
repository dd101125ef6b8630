"""Videos: a file each, with labels by frame, by segment or by video in tables."""

from ray_audit.formats.base import Format


class VideoFiles(Format):
    """Whatever FFmpeg decodes, by these endings."""

    name = "video"
    kind = "video"
    forms = frozenset({"folder"})
    extensions = (
        *("mp4", "m4v", "mov", "avi", "mkv", "webm", "mpg", "mpeg", "wmv", "flv", "ts", "m2ts"),
        *("mts", "3gp", "ogv", "mjpeg", "mjpg", "y4m", "vob", "m2v"),
    )
