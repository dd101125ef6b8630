"""The truth beside planted errors, and how items are chosen to carry them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from ray_audit import rle
from ray_audit.errors import SpecificationError
from ray_audit.evaluation.region_detection import components_of

TRUTH_SCHEMA = pa.schema(
    [
        ("sample_id", pa.string()),
        ("is_error", pa.bool_()),
        ("kind", pa.string()),  # null where the label is right
        ("true_label", pa.int32()),  # null for masks
        ("wrong_px", pa.int64()),  # null but for masks
    ]
)

REGION_SCHEMA = pa.schema(
    [
        ("sample_id", pa.string()),
        ("kind", pa.string()),
        ("box", pa.list_(pa.int32(), 4)),  # x0, y0, x1, y1, exclusive
        ("mask_rle", pa.string()),  # compressed COCO counts, column-major
        ("mask_size_px", pa.list_(pa.int32(), 2)),  # height, width
        ("num_px", pa.int64()),
    ]
)
"""A row for each connected component of wrong pixels of a mask, of 16 px or more."""

Changed = TypeVar("Changed")
Attempt = Callable[[int], Changed | None]
"""Tries to plant an error in the item of this index; None where nothing would change."""


@dataclass(frozen=True)
class TruthRow:
    """What is known of one sample.

    Attributes:
        sample_id: as in the score tables.
        is_error: whether the given label differs from the true one.
        kind: of the planted error; None where the label is right.
        true_label: class index; None for masks.
        wrong_px: pixels that differ from the true mask; None but for masks.
    """

    sample_id: str
    is_error: bool
    kind: str | None = None
    true_label: int | None = None
    wrong_px: int | None = None


def truth_table(rows: Iterable[TruthRow]) -> pa.Table:
    """Rows as the table of a truth file, `TRUTH_SCHEMA`."""
    return pa.Table.from_pylist([asdict(row) for row in rows], schema=TRUTH_SCHEMA)


def region_rows(sample_id: str, kind: str, is_wrong: np.ndarray) -> list[dict[str, Any]]:
    """The components of a mask's wrong pixels (H, W), as rows of `REGION_SCHEMA`."""
    height, width = is_wrong.shape
    return [
        {
            "sample_id": sample_id,
            "kind": kind,
            "box": rle.box(runs, height),
            "mask_rle": rle.encode_runs(runs, (height, width)),
            "mask_size_px": (height, width),
            "num_px": rle.area(runs),
        }
        for runs in components_of(is_wrong)
    ]


def num_wrong(num_items: int, rate: float) -> int:
    """How many of the items carry an error: int(rate * num_items).

    Raises:
        SpecificationError: the rate is outside [0, 1].
    """
    if not 0 <= rate <= 1:
        raise SpecificationError(f"rate {rate} of planted errors: expected a fraction in [0, 1]")
    return int(rate * num_items)


def check_kinds(kinds: Sequence[str], known: Iterable[str]) -> None:
    """Raise `SpecificationError` for an unknown kind of error, one named twice, or none at all."""
    known = tuple(known)
    if not kinds or not set(kinds) <= set(known) or len(set(kinds)) < len(kinds):
        raise SpecificationError(
            f"kinds of error: got {', '.join(kinds) or 'none'}; expected some of "
            f"{', '.join(known)}, each once"
        )


def plant_in_turn(
    attempts: Mapping[str, Attempt[Changed]],
    kinds: Sequence[str],
    num_items: int,
    rate: float,
    rng: np.random.Generator,
) -> dict[int, tuple[str, Changed]]:
    """Plant errors in exactly int(rate * num_items) items, the kinds taking turns.

    An item that the due kind cannot change (too few segments, one class only) gets the next
    kind that can; one that none can change is passed over for another.

    Args:
        attempts: kind -> attempt; each draws from `rng` by itself.
        kinds: the kinds wanted, in the order of their turns.
        num_items: N.
        rate: fraction of items with an error.
        rng: decides which items.

    Returns:
        Item index -> kind and what the attempt gave.

    Raises:
        SpecificationError: too few items can be changed at all.
    """
    check_kinds(kinds, attempts)
    num_planted = num_wrong(num_items, rate)
    planted: dict[int, tuple[str, Changed]] = {}
    for item_index in rng.permutation(num_items).tolist():
        if len(planted) == num_planted:
            break
        turn = len(planted) % len(kinds)
        for kind in (*kinds[turn:], *kinds[:turn]):
            changed = attempts[kind](item_index)
            if changed is not None:
                planted[item_index] = (kind, changed)
                break
    if len(planted) < num_planted:
        raise SpecificationError(
            f"{', '.join(kinds)} could be planted in {len(planted)} of {num_items} items, "
            f"{num_planted} were asked for; choose a lower rate or other kinds"
        )
    return planted
