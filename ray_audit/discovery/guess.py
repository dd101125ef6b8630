"""A section `dataset` that fits, and why."""

from dataclasses import dataclass, replace
from typing import Any, Self


@dataclass(frozen=True)
class Guess:
    """What was recognised.

    Attributes:
        what: it, in a few words.
        dataset: the section, with URIs in place.
        assumed: what was assumed, and by what evidence.
        questions: what could not be known.
        also: other readings that fit.
    """

    what: str
    dataset: dict[str, Any]
    assumed: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()
    also: tuple[str, ...] = ()

    def with_also(self, also: tuple[str, ...]) -> Self:
        """The same, with other readings that fit."""
        return replace(self, also=(*self.also, *also))
