"""What readers saw in shards, as notes: a sentence a kind."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Self

from ray_audit.config import AuditConfig
from ray_audit.samples import Remark, RemarkKind

_NUM_NAMED = 3
_KINDS: tuple[RemarkKind, ...] = ("clock", "display_matrix", "few_labels", "labels_cut")


@dataclass
class Remarks:
    """How many shards of each kind there are, and the first few."""

    numbers: dict[RemarkKind, int] = field(default_factory=dict)
    first: dict[RemarkKind, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, remarks: Iterable[Remark]) -> Self:
        """Of some shards, each of a kind once."""
        made = cls()
        for kind, shard in remarks:
            made.numbers[kind] = made.numbers.get(kind, 0) + 1
            made.first[kind] = [*made.first.get(kind, []), shard][:_NUM_NAMED]
        return made

    def add(self, other: "Remarks") -> None:
        """Take those of further shards."""
        for kind, number in other.numbers.items():
            self.numbers[kind] = self.numbers.get(kind, 0) + number
            self.first[kind] = [*self.first.get(kind, []), *other.first[kind]][:_NUM_NAMED]

    def notes(self, config: AuditConfig) -> Iterator[str]:
        """A sentence a kind."""
        for kind in _KINDS:
            number = self.numbers.get(kind, 0)
            if number:
                few = ", ".join(self.first[kind]) + (", ..." if number > _NUM_NAMED else "")
                what = "sequence" if config.dataset.kind == "sequences" else "video"
                yield f"{number} {what}(s) {_said(kind, config)}: {few}"


def _said(kind: RemarkKind, config: AuditConfig) -> str:
    if kind == "clock":
        return (
            "have no times that rise with the frames, so that a frame's time is its index over the "
            "frame rate, from there on"
        )
    if kind == "labels_cut":
        return "have a few rows of labels more than frames: the rows behind the end are left out"
    if kind == "display_matrix":
        done = {
            "stored": "frames are read as stored (dataset.orientation: display turns them)",
            "display": "frames are read as shown (dataset.orientation: display)",
        }[config.dataset.orientation]
        return f"carry a display matrix, by which players turn or mirror them; {done}"
    return (
        "have labels for less than a tenth of their sampled frames: give labels.fps where labels "
        "count on a clock of their own, clip.every where each n-th frame is labelled"
    )
