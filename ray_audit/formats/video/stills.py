"""A folder of numbered images as a video: the number in a file's name is the frame's."""

import re
from collections.abc import Generator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ray_audit import storage
from ray_audit.config import DatasetConfig
from ray_audit.errors import SampleError, StorageError
from ray_audit.formats.images import EXTENSIONS
from ray_audit.formats.labels.array_tables import is_array_table
from ray_audit.formats.pixels.pictures import read_image
from ray_audit.formats.stacks.pattern import has_star
from ray_audit.formats.video.clock import Clock, middles

_DIGITS = re.compile(r"(\d+)")
_MAX_DENOMINATOR = 100_000


@dataclass(frozen=True)
class Still:
    """One image of a folder, not yet read.

    Attributes:
        uri: where it lies.
        index: of the frame: its file's number, or its rank where labels go by the files' order.
        pts: its number from that of the first image on: its time in units of a frame.
        num_promised: index behind the last frame.
        num_numbers: numbers from that of the first file to that of the last.
        max_px: a larger image is refused.
    """

    uri: str
    index: int
    pts: int
    num_promised: int
    num_numbers: int
    max_px: float

    @property
    def is_by_order(self) -> bool:
        """Whether numbers have no file that are no frames: labels go by the files' order."""
        return self.num_promised < self.num_numbers

    def pixels(self) -> np.ndarray:
        """(H, W, C) uint8 or uint16; C is 1 or 3.

        Raises:
            SampleError: it cannot be read.
        """
        try:
            return read_image(storage.read_bytes(self.uri), self.max_px)
        except StorageError as error:
            raise SampleError("read", str(error)) from error
        except SampleError as error:
            raise SampleError(error.error_class, f"{self.uri}: {error}") from error


def is_folder(uri: str) -> bool:
    """Whether a video is a folder of images."""
    return uri.endswith("/")


def is_still(name: str) -> bool:
    """Whether a file of a folder is a frame of it."""
    return name.lower().endswith(tuple(f".{extension}" for extension in EXTENSIONS))


def stills_in(uri: str, dataset: DatasetConfig) -> list[Still]:
    """The frames of a folder, by their numbers.

    A frame's index is its file's number less `labels.first_frame`; where labels have no numbers
    and are those of the files in their order, it is the file's rank, also where numbers are left
    out. Time begins with the first file.

    Raises:
        SampleError: names that differ in more than one number, or one number twice.
        StorageError: the folder cannot be listed.
    """
    folder = storage.join(storage.path_of(uri), "")
    found = [
        item.uri
        for item in storage.list_prefix(uri)
        if storage.path_of(item.uri).rpartition("/")[0] + "/" == folder and is_still(item.uri)
    ]
    if not found:
        raise SampleError("decode", "the folder has no images")
    numbers = _numbers([item.rsplit("/", 1)[-1] for item in found])
    order = np.argsort(numbers, kind="stable").tolist()
    first = numbers[order[0]]
    span = numbers[order[-1]] - first + 1
    if _by_order(dataset):
        is_timed = dataset.labels.fps is not None  # rows are of times, and not of files
        return [
            Still(
                found[at],
                numbers[at] - first if is_timed else rank,
                numbers[at] - first,
                span if is_timed else len(order),
                span,
                dataset.max_px,
            )
            for rank, at in enumerate(order)
        ]
    base = dataset.labels.first_frame
    if base > first:
        raise SampleError(
            "label_clock",
            f"the files count from {first}, dataset.labels.first_frame is {base}; expected that "
            "labels name the numbers of files",
        )
    last = numbers[order[-1]] - base + 1
    return [
        Still(found[at], numbers[at] - base, numbers[at] - first, last, span, dataset.max_px)
        for at in order
    ]


def _by_order(dataset: DatasetConfig) -> bool:
    """Whether labels have no numbers of files: rows without any, elements or masks of an array."""
    labels = dataset.labels
    if labels.masks is not None:
        return not has_star(labels.masks)
    if labels.frames is None:
        return False
    has_no_frame = labels.header is not None and labels.columns.frame not in labels.header
    return has_no_frame or is_array_table(labels.frames)


def _numbers(names: list[str]) -> list[int]:
    """The number that tells the names apart.

    >>> _numbers(["v2_f1.png", "v2_f10.png"])
    [1, 10]
    """
    parts = [_DIGITS.split(name.rsplit(".", 1)[0]) for name in names]
    texts = {tuple(part[::2]) for part in parts}
    if len(texts) > 1:
        few = " and ".join(sorted(names)[:: max(1, len(names) - 1)][:2])
        raise SampleError(
            "decode",
            f"the folder holds images of different names ({few}): frames differ in one number; "
            "keep other images elsewhere",
        )
    places = range(1, len(parts[0]), 2)
    varying = [at for at in places if len({int(part[at]) for part in parts}) > 1]
    if len(varying) > 1 or (len(parts[0]) == 1 and len(names) > 1):
        raise SampleError("decode", f"names such as {names[0]} differ in several numbers, or none")
    at = varying[0] if varying else (len(parts[0]) - 2 if len(parts[0]) > 1 else None)
    numbers = [0 if at is None else int(part[at]) for part in parts]
    if len(set(numbers)) < len(numbers):
        raise SampleError("decode", f"two images of the folder have one number ({names[0]}, say)")
    return numbers


def clock_of(dataset: DatasetConfig) -> Clock:
    """The clock of a folder: `dataset.fps`."""
    rate = Fraction(dataset.fps or 1.0).limit_denominator(_MAX_DENOMINATOR)
    return Clock((rate.denominator, rate.numerator), 0, float(1 / rate))


def decode_folder(uri: str, dataset: DatasetConfig) -> Generator[Still, None, None]:
    """The frames of a folder in the order of their numbers."""
    yield from stills_in(uri, dataset)


def folder_times(uri: str, dataset: DatasetConfig) -> tuple[np.ndarray, np.ndarray]:
    """Times and middles by frame index, (T,) float64 seconds each, also of numbers without a file.

    Raises:
        SampleError: see `stills_in`.
    """
    stills, clock = stills_in(uri, dataset), clock_of(dataset)
    indices = np.arange(stills[0].num_promised)
    pts = indices + stills[0].pts - stills[0].index
    pts[[still.index for still in stills]] = [still.pts for still in stills]
    times = clock.times_s(indices, pts)
    return times, middles(times, clock.frame_s)
