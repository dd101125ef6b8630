"""Which shard (and which array or member in it) a value of a label table names."""

from collections.abc import Iterable

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

    A full key wins over a file name, and that over a stem.

    Args:
        owners: everything that labels can belong to.
        column: name of the label table's column, for messages.
    """

    def __init__(self, owners: Iterable[Owner], column: str) -> None:
        self._column = column
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
        return None


def _names_of(owner: Owner) -> tuple[list[str], list[str], list[str]]:
    key, member = owner
    if member:
        return [owner.key], [member], [stem_of(member)]
    name = key.rsplit("/", 1)[-1]
    return [key], [name], [fill_template("{path}", key), stem_of(key)]
