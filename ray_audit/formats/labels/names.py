"""Which shard (and which array or member in it) a value of a label table names."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from ray_audit.errors import LabelError
from ray_audit.sample_ids import Owner


def stem_of(key: str) -> str:
    """Name of a file or folder without what is above it, and without its last extension.

    What begins with a digit is none but in `.3gp`: `clip1.5` is the name of a folder.

    >>> stem_of("or1/case.1.mp4"), stem_of("frames/clip1.5"), stem_of("frames/clip1.avi")
    ('case.1', 'clip1.5', 'clip1')
    >>> stem_of("p1/ct.nii.gz")  # one extension of two parts
    'ct'
    """
    name = key.rsplit("/", 1)[-1]
    if name.lower().endswith(".nii.gz"):
        name = name[: -len(".gz")]
    stem, _, extension = name.rpartition(".")
    return stem if stem and not (extension[:1].isdigit() and extension.lower() != "3gp") else name


_KNOWN = (
    "3gp arrow avi bmp bundle cls csv dcm feather flv gif gz h5 hdf hdf5 idx jpeg "
    "jpg json jsonl labels lst m2ts m2v m4v mat mha mhd mjpeg mjpg mkv mov mp4 "
    "mpeg mpg mts ndjson nhdr nii npy npz nrrd nut ogv parquet pgm png ppm pq seg "
    "tar tgz tif tiff ts tsv txt vob webm webp wmv xml y4m yaml yml zip"
)
EXTENSIONS = frozenset(_KNOWN.split())
"""Endings of files of data and labels, in lower case: what a name that need not be a file's has."""


def stem_of_name(name: str) -> str:
    """As `stem_of`, of what need not be a file's name: only an extension that is known is cut.

    >>> stem_of_name("case1.v2"), stem_of_name("a/case1.txt")
    ('case1.v2', 'case1')
    """
    return (
        stem_of(name) if name.rpartition(".")[2].lower() in EXTENSIONS else name.rsplit("/", 1)[-1]
    )


_FIELD = re.compile(r"\{(\w+)\}(/?)")


def fill_template(
    template: str,
    key: str,
    groups: Mapping[str, str] | None = None,
    stem_of: Callable[[str], str] = stem_of,
) -> str:
    """A path template with its fields filled in.

    The fields are `{key}`, `{path}` (the key without extension), `{name}` (the file name), `{stem}`
    (the file name without extension) and `{folder}` (the key without file name; with a slash behind
    it, both are left out where a key has no folder).

    Args:
        template: of a path.
        key: what it is filled for.
        groups: further fields, of `labels.match`.
        stem_of: cuts the extension.

    >>> fill_template("masks/{stem}.png", "a/b.jpg"), fill_template("m/{path}.png", "a/b.jpg")
    ('masks/b.png', 'm/a/b.png')
    >>> fill_template("ct/{folder}/GT.png", "p1/x.png"), fill_template("{folder}/GT.png", "x.png")
    ('ct/p1/GT.png', 'GT.png')
    """
    name = key.rsplit("/", 1)[-1]
    stem = stem_of(key)
    above = key[: len(key) - len(name)]
    fields = {"key": key, "path": above + stem, "name": name, "stem": stem}
    fields |= {"folder": above.rstrip("/")} | dict(groups or {})

    def filled(found: re.Match[str]) -> str:
        value = fields.get(found[1])
        if value is None:
            return found[0]
        return value if found[1] == "folder" and not value else value + found[2]

    return _FIELD.sub(filled, template)


def matched_groups(pattern: str | None, key: str) -> dict[str, str] | None:
    r"""Groups of `labels.match` in a key, by number and name; None where it is not found.

    A group that takes no part is empty text.

    >>> matched_groups(r"(?P<city>\w+?)_(\d+)", "bonn_007.png")
    {'1': 'bonn', '2': '007', 'city': 'bonn'}
    """
    if pattern is None:
        return {}
    found = re.search(pattern, key)
    if found is None:
        return None
    numbered = {str(number): text or "" for number, text in enumerate(found.groups(), 1)}
    return numbered | {name: text or "" for name, text in found.groupdict().items()}


class OwnerNames:
    """Finds owners by key, file name, stem, array name or `key#array`.

    A full key wins over a file name, that over a stem, and that over the folder of what lies in a
    container. What is none of them, while the names in some container could not be read to its
    end, is taken to lie behind that end: its label is lost with the file, and must not vanish.

    Args:
        owners: everything that labels can belong to.
        column: name of the label table's column, for messages.
        partial: keys of shards in which there may be more; complete once `owners` is at its end.
        match: `labels.match`: what its first group finds in a key is a name as the file name is.
        above: the URI of the folder that keys are below: tables may name files from further up.

    Attributes:
        lost: values that were taken to lie in one of the partial shards.
    """

    def __init__(
        self,
        owners: Iterable[Owner],
        column: str,
        partial: Sequence[str] = (),
        match: str | None = None,
        above: str = "",
    ) -> None:
        self._above = f"/{above.strip('/')}/"
        self._column = column
        self._partial = partial
        self.lost: dict[str, Owner] = {}
        self._levels: tuple[dict[str, list[Owner]], ...] = ({}, {}, {}, {})
        for owner in owners:
            for level, names in zip(self._levels, _names_of(owner, match), strict=True):
                for name in dict.fromkeys(names):
                    level.setdefault(name, []).append(owner)

    @property
    def num_owners(self) -> int:
        """How many owners are known."""
        return len(self._levels[0])

    def find(self, value: str) -> Owner | None:
        """The owner that `value` names, or None.

        Raises:
            LabelError: several match equally well.
        """
        owners = self.find_all(value)
        if len(owners) > 1:
            raise self._ambiguous(value, owners)
        return owners[0] if owners else self._lost(value)

    def find_all(self, value: str) -> list[Owner]:
        """The owners that are known by `value`: several where it is a folder in a container.

        Raises:
            LabelError: several others match equally well.
        """
        found = (self._called(name) for name in (value, *self._below(value)))
        return next(filter(None, found), [])

    def _below(self, value: str) -> Iterator[str]:
        """A path from further up, as it is below the folder of the keys."""
        parts = value.replace("\\", "/").removeprefix("./").lstrip("/").split("/")
        if parts != value.split("/"):
            yield "/".join(parts)
        for num in range(1, len(parts)):
            if self._above.endswith(f"/{'/'.join(parts[:num])}/"):
                yield "/".join(parts[num:])

    def _called(self, value: str) -> list[Owner]:
        *names, folders = self._levels
        for level in names:
            owners = level.get(value, [])
            if len(owners) > 1:
                raise self._ambiguous(value, owners)
            if owners:
                return owners
        return folders.get(value, [])

    def _ambiguous(self, value: str, owners: Sequence[Owner]) -> LabelError:
        few = ", ".join(owner.key for owner in owners[:3])
        return LabelError(
            f"{self._column} {value!r} matches {len(owners)} of the dataset: {few}. "
            "Use the full key in the label table"
        )

    def _lost(self, value: str) -> Owner | None:
        if not self._partial or not value:
            return None
        of_key = [key for key in self._partial if value.startswith(f"{key}#")]
        key = max(of_key, key=len, default=self._partial[0])
        part = value[len(key) + 1 :] if of_key else value
        return self.lost.setdefault(value, Owner(key, part))

    def num_composed_otherwise(self, values: Iterable[str]) -> int:
        """How many of some unknown names are those of an owner but for how accents are composed."""
        return num_composed_otherwise(values, (name for level in self._levels for name in level))


def num_composed_otherwise(values: Iterable[str], names: Iterable[str]) -> int:
    """How many values are one of the names but for the Unicode form (NFC, NFD) of their accents.

    >>> num_composed_otherwise(["e\u0301.png", "x.png"], ["\u00e9.png"])
    1
    """
    odd = [unicodedata.normalize("NFC", value) for value in values if not value.isascii()]
    if not odd:
        return 0
    known = {unicodedata.normalize("NFC", name) for name in names if not name.isascii()}
    return sum(value in known for value in odd)


def _names_of(owner: Owner, match: str | None) -> tuple[list[str], ...]:
    """By full key, by name, by stem, and by folder."""
    key, member = owner
    matched = matched_groups(match, member or key)
    called = [matched["1"]] if matched else []
    if member:
        folder = member.rpartition("/")[0]
        folders = [folder, Owner(key, folder).key] if folder else []
        return [owner.key], [member, *called], [stem_of_name(member)], folders
    name = key.rsplit("/", 1)[-1]
    stems = [fill_template("{path}", key), stem_of(key), *map(stem_of_name, called)]
    return [key], [name, *called], stems, []
