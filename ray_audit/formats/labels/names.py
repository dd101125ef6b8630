"""Which shard (and which array or member in it) a value of a label table names."""

import unicodedata
from collections.abc import Iterable, Sequence

from ray_audit.errors import LabelError
from ray_audit.sample_ids import Owner


def stem_of(key: str) -> str:
    """File name without folder and last extension.

    >>> stem_of("or1/case.1.mp4")
    'case.1'
    """
    name = key.rsplit("/", 1)[-1]
    return name.rsplit(".", 1)[0] if "." in name[1:] else name


def fill_template(template: str, key: str) -> str:
    """A path template with `{key}`, `{path}` (key without extension), `{name}` or `{stem}`.

    >>> fill_template("masks/{stem}.png", "a/b.jpg"), fill_template("m/{path}.png", "a/b.jpg")
    ('masks/b.png', 'm/a/b.png')
    """
    name = key.rsplit("/", 1)[-1]
    stem = stem_of(key)
    path = key[: len(key) - len(name)] + stem
    for field, value in (("key", key), ("path", path), ("name", name), ("stem", stem)):
        template = template.replace(f"{{{field}}}", value)
    return template


class OwnerNames:
    """Finds owners by key, file name, stem, array name or `key#array`.

    A full key wins over a file name, and that over a stem. What is none of them, while the names
    in some container could not be read to its end, is taken to lie behind that end: its label is
    lost with the file, and must not vanish.

    Args:
        owners: everything that labels can belong to.
        column: name of the label table's column, for messages.
        partial: keys of shards in which there may be more; complete once `owners` is at its end.

    Attributes:
        lost: values that were taken to lie in one of the partial shards.
    """

    def __init__(self, owners: Iterable[Owner], column: str, partial: Sequence[str] = ()) -> None:
        self._column = column
        self._partial = partial
        self.lost: dict[str, Owner] = {}
        self._levels: tuple[dict[str, list[Owner]], ...] = ({}, {}, {})
        for owner in owners:
            for level, names in zip(self._levels, _names_of(owner), strict=True):
                for name in dict.fromkeys(names):
                    level.setdefault(name, []).append(owner)

    def find(self, value: str) -> Owner | None:
        """The owner that `value` names, or None.

        Raises:
            LabelError: several match equally well.
        """
        for level in self._levels:
            owners = level.get(value, [])
            if len(owners) > 1:
                few = ", ".join(owner.key for owner in owners[:3])
                raise LabelError(
                    f"{self._column} {value!r} matches {len(owners)} of the dataset: {few}. "
                    "Use the full key in the label table"
                )
            if owners:
                return owners[0]
        return self._lost(value)

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


def _names_of(owner: Owner) -> tuple[list[str], list[str], list[str]]:
    key, member = owner
    if member:
        return [owner.key], [member], [stem_of(member)]
    name = key.rsplit("/", 1)[-1]
    return [key], [name], [fill_template("{path}", key), stem_of(key)]
