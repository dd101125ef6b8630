"""Which stored formats are read: ours, and those of installed packages.

A package adds one under the entry point group `ray_audit.formats`: a `Format`, or its class.
"""

import re
from collections.abc import Iterator
from functools import cache, lru_cache
from importlib.metadata import EntryPoint, entry_points

from ray_audit.config import DatasetConfig
from ray_audit.errors import SpecificationError
from ray_audit.formats.arrays import HdfFiles, MatFiles, NpyFiles, NpzFiles
from ray_audit.formats.arrow import ArrowImages
from ray_audit.formats.base import Format
from ray_audit.formats.idx_images import IdxFiles
from ray_audit.formats.images import ImageFiles
from ray_audit.formats.parquet import ParquetImages
from ray_audit.formats.tar import TarImages
from ray_audit.formats.video.video_files import VideoFiles
from ray_audit.formats.volumes.dicom_images import DicomImages
from ray_audit.formats.volumes.dicom_volume import is_dicom
from ray_audit.formats.volumes.page_stack import ENDINGS as PAGED
from ray_audit.formats.volumes.volume_formats import (
    DicomFiles,
    MetaImageFiles,
    NiftiFiles,
    NrrdFiles,
    PagedFiles,
)
from ray_audit.formats.zip_archives import ZipArchives

GROUP = "ray_audit.formats"
_OURS = (
    *(VideoFiles(), ImageFiles(), ParquetImages(), TarImages(), NpzFiles(), NpyFiles()),
    *(NiftiFiles(), MetaImageFiles(), DicomFiles(), ZipArchives(), HdfFiles(), MatFiles()),
    *(ArrowImages(), IdxFiles(), NrrdFiles()),
)
_PAGED_FILES, _DICOM_IMAGES = PagedFiles(), DicomImages()
_HAS_ENDING = re.compile(r"\.[A-Za-z][A-Za-z0-9]*$")
_KINDS = ("video", "images", "sequences")


@cache
def formats() -> tuple[Format, ...]:
    """All formats, found once in a process.

    Raises:
        SpecificationError: what a package offers cannot be imported, is no format, or has the
            name or an extension of another; names package and entry.
    """
    found: dict[str, str] = {}
    taken: list[Format] = []
    for origin, format_ in (*((__package__, format_) for format_ in _OURS), *_theirs()):
        for name in (format_.name, *format_.endings):
            if name in found:
                raise SpecificationError(
                    f"{origin}: {name} is a format of {found[name]} already. Uninstall one of them"
                )
            found[name] = origin
        taken.append(format_)
    return tuple(taken)


def _theirs() -> Iterator[tuple[str, Format]]:
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        origin = _origin(point)
        try:
            loaded = point.load()
            format_ = loaded() if isinstance(loaded, type) else loaded
        except (Exception, SystemExit) as error:  # a package may raise anything on import
            raise SpecificationError(
                f"{origin} cannot be loaded: {type(error).__name__}: {error}. Mend or uninstall "
                "the package"
            ) from error
        if not isinstance(format_, Format):
            raise SpecificationError(
                f"{origin} is a {type(format_).__name__}; expected a ray_audit.formats.Format"
            )
        lacking = [n for n in ("name", "kind", "extensions") if not getattr(format_, n, None)]
        if lacking or format_.kind not in _KINDS:
            raise SpecificationError(
                f"{origin}: the format says no {' and no '.join(lacking)}"
                if lacking
                else f"{origin}: kind {format_.kind!r} is none of {', '.join(_KINDS)}"
            )
        yield origin, format_


def _origin(point: EntryPoint) -> str:
    package = f"package {point.dist.name} {point.dist.version}" if point.dist else "a package"
    return f"{package} (entry point {point.name} = {point.value} of {GROUP})"


def format_of(key: str) -> Format | None:
    """The format that a file name stands for, or None where it is not read.

    >>> [found and found.name for found in map(format_of, ("or1/X.MP4", "a.tar.gz", "scan.xyz"))]
    ['video', 'tar', None]
    """
    name = key.rsplit("/", 1)[-1].lower()
    known, num_dots, dotless = _endings(formats())
    if name.endswith(dotless):
        return _first(known, name)
    # Asked for each file of a listing, several times, and few endings are different.
    return _ending_in(known, ".".join(["", *name.split(".")[1:][-num_dots:]]))


_Endings = tuple[tuple[Format, tuple[str, ...]], ...]


def _first(known: _Endings, name: str) -> Format | None:
    return next((item for item, endings in known if name.endswith(endings)), None)


_ending_in = lru_cache(_first)


@cache
def _endings(known: tuple[Format, ...]) -> tuple[_Endings, int, tuple[str, ...]]:
    """Of each format, the most dots in one, and those that do not begin with a dot."""
    endings = tuple((item, item.endings) for item in known)
    each = [ending for _, some in endings for ending in some]
    dotless = tuple(ending for ending in each if not ending.startswith("."))
    return endings, max(ending.count(".") for ending in each), dotless


def known_format(key: str) -> Format:
    """The format of a listed file.

    Raises:
        SpecificationError: it is not read (any more).
    """
    found = format_of(key)
    if found is None and not _HAS_ENDING.search(key):
        return _OURS[0]  # a folder of frames
    if found is None:
        raise SpecificationError(f"{key} has a format that is not read here")
    return found


def format_in(dataset: DatasetConfig, key: str) -> Format:
    """The format of a listed file as a dataset takes it.

    Pages are slices where it has `volume`, and a DICOM file is an image where labels are no masks.

    Raises:
        SpecificationError: it is not read (any more).
    """
    if dataset.volume is not None and key.lower().endswith(PAGED):
        return _PAGED_FILES
    if dataset.labels.masks is None and is_dicom(key):
        return _DICOM_IMAGES
    return known_format(key)


def goes_with(key: str, kind: str) -> bool:
    """Whether a file is read in a dataset of a kind."""
    format_ = format_of(key)
    return format_ is not None and kind in format_.kinds


def check_formats(keys: list[str], kind: str) -> None:
    """Refuse files that a dataset of this kind cannot hold.

    Raises:
        SpecificationError: names the file and what is supported.
    """
    for key in keys:
        format_ = format_of(key)
        if format_ is None or kind not in format_.kinds:
            known = ", ".join(
                e for other in formats() if kind in other.kinds for e in other.endings
            )
            raise SpecificationError(
                f"dataset.uri: {key} has a format that is not read for kind {kind}; supported: "
                f"{known}. Convert the file, or narrow dataset.uri so that it does not match"
            )
