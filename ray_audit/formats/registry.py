"""Which stored formats are read, told by the file name."""

from typing import Literal

from ray_audit.errors import SpecificationError

Container = Literal["video", "image", "parquet", "tar", "npz", "npy"]

IMAGE_EXTENSIONS = ("png", "jpg", "jpeg", "tif", "tiff", "bmp", "webp", "pgm", "ppm", "gif")
_EXTENSIONS: dict[Container, tuple[str, ...]] = {
    "video": (
        *("mp4", "m4v", "mov", "avi", "mkv", "webm", "mpg", "mpeg", "wmv", "flv", "ts", "m2ts"),
        *("mts", "3gp", "ogv", "mjpeg", "mjpg", "y4m", "vob", "m2v"),
    ),
    "image": IMAGE_EXTENSIONS,
    "parquet": ("parquet", "pq"),
    "tar": ("tar", "tar.gz", "tgz"),
    "npz": ("npz",),
    "npy": ("npy",),
}
_ENDINGS = {
    container: tuple(f".{extension}" for extension in extensions)
    for container, extensions in _EXTENSIONS.items()
}
_CONTAINERS: dict[str, tuple[Container, ...]] = {
    "video": ("video",),
    "images": ("image", "parquet", "tar"),
    "sequences": ("npz", "npy"),
}


def container_of(key: str) -> Container | None:
    """The format that a file name stands for, or None where it is not read.

    >>> container_of("or1/X.MP4"), container_of("a.tar.gz"), container_of("scan.nii.gz")
    ('video', 'tar', None)
    """
    name = key.rsplit("/", 1)[-1].lower()
    for container, endings in _ENDINGS.items():
        if name.endswith(endings):
            return container
    return None


def check_formats(keys: list[str], kind: str) -> None:
    """Refuse files that a dataset of this kind cannot hold.

    Raises:
        SpecificationError: names the file and what is supported.
    """
    allowed = _CONTAINERS[kind]
    for key in keys:
        if container_of(key) not in allowed:
            known = ", ".join(f".{e}" for container in allowed for e in _EXTENSIONS[container])
            raise SpecificationError(
                f"dataset.uri: {key} has a format that is not read for kind {kind}; supported: "
                f"{known}. Convert the file, or narrow dataset.uri so that it does not match"
            )
