"""Which mask files belong to a video, and which frame each stands for."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from ray_audit import storage
from ray_audit.errors import SampleError
from ray_audit.storage import StoredObject
from ray_audit.stored_objects import is_companion

_DIGITS = re.compile(r"\d+")
_MOST_DIGITS = 15
_NUM_NAMED = 3


class MaskFile(NamedTuple):
    """One mask of a folder.

    Attributes:
        stored: the file.
        part: what the last `*` of the pattern stands for in its name.
    """

    stored: StoredObject
    part: str


def has_star(template: str) -> bool:
    """Whether a template names several files for each video."""
    return "*" in template


def folder_of(pattern: str) -> str:
    """The folder below which all files of a pattern lie.

    >>> folder_of("s3://b/masks/v1/frame_*_mask.png")
    's3://b/masks/v1'
    """
    return pattern[: pattern.index("*")].rpartition("/")[0] or "."


def matching(pattern: str, stored: Sequence[StoredObject]) -> list[MaskFile]:
    """The files of a pattern, in which `*` stands for part of one name; sorted as people count."""
    parts = (re.escape(part) for part in pattern.split("*"))
    compiled = re.compile("([^/]*)".join(parts))
    found = []
    for item in stored:
        match = compiled.fullmatch(item.uri)
        if match is not None and not is_companion(item.uri):
            found.append(MaskFile(item, match.group(compiled.groups)))
    return sorted(found, key=lambda file: (storage.natural_key(file.stored.uri), file.stored.uri))


def listed_files(pattern: str) -> list[MaskFile]:
    """The files of a pattern: by a listing of their folder, or of each of their folders.

    Raises:
        StorageError: it cannot be listed.
    """
    if "/" in pattern[pattern.index("*") :]:
        parts = (storage.escape_glob(part) for part in pattern.split("*"))
        return matching(pattern, storage.list_objects("*".join(parts)))
    return matching(pattern, storage.list_prefix(folder_of(pattern)))


def frames_of(files: Sequence[MaskFile], first_frame: int) -> list[int]:
    """The frame that each mask stands for, in the order of the files.

    It is the number in what the last `*` stands for; where there are several, the one that
    differs between the files. Files without a number stand for all frames from the first on.

    Args:
        files: of one video.
        first_frame: the number of the video's first frame.

    Raises:
        SampleError: no one number tells the frames, or two masks are of one frame.
    """
    numbers = [_DIGITS.findall(file.part) for file in files]
    if not any(numbers):
        return list(range(len(files)))
    column = _column(files, numbers)
    frames = [
        _frame(file, in_name[column], first_frame)
        for file, in_name in zip(files, numbers, strict=True)
    ]
    seen: dict[int, MaskFile] = {}
    for file, frame in zip(files, frames, strict=True):
        other = seen.setdefault(frame, file)
        if other is not file:
            raise SampleError(
                "mask_names",
                f"labels.masks: {other.stored.uri} and {file.stored.uri} are both masks of frame "
                f"{frame}; narrow the template, so that one of them is left out",
            )
    return frames


def _frame(file: MaskFile, digits: str, first_frame: int) -> int:
    if len(digits) > _MOST_DIGITS or int(digits) < first_frame:
        raise SampleError(
            "mask_names",
            f"labels.masks: {file.stored.uri} would be the mask of frame {digits[:20]}, and frames "
            f"count from {first_frame} (labels.first_frame)",
        )
    return int(digits) - first_frame


def _column(files: Sequence[MaskFile], numbers: list[list[str]]) -> int:
    """Which of the numbers in each name is the frame's."""
    if {len(number) for number in numbers} == {1}:
        return 0
    if len({len(number) for number in numbers}) == 1:
        differing = [
            at
            for at in range(len(numbers[0]))
            if len({int(number[at][:99]) for number in numbers}) > 1
        ]
        if len(differing) == 1:
            return differing[0]
    few = ", ".join(file.stored.uri.rpartition("/")[2] for file in files[:_NUM_NAMED])
    raise SampleError(
        "mask_names",
        f"labels.masks: which number in the names of {few}{', ...' * (len(files) > _NUM_NAMED)} is "
        "the frame's cannot be told; put more of the name into the template, so that the last * "
        "stands for that number alone",
    )
