"""Sentences that say why a region of a mask is a finding, with the numbers."""

from collections.abc import Callable

from ray_audit.findings.region_groups import VOID, Group

_BALANCED = 0.5
"""Smaller over larger share from which on an outline counts as moved, not as resized."""


def reason_of(group: Group, name: Callable[[int], str]) -> str:
    """One sentence; `name` gives the class name of an index."""
    height, width = group.regions[0].size
    area = f"{group.num_px} px ({group.num_px / (height * width):.1%} of the image)"
    what = {
        "mislabel": _mislabel,
        "missing_region": _missing,
        "swapped_classes": _swapped,
        "shifted_boundary": _shifted,
    }[group.kind](group, area, name)
    seen = f"mean p {group.mean('p_suggested'):.2f}"
    if group.given == VOID:
        return f"{what}: {seen} at the last checkpoint"
    return f"{what}: {seen} against {group.mean('p_given'):.2f}, loss {group.mean('loss'):.2f} nat"


def _mislabel(group: Group, area: str, name: Callable[[int], str]) -> str:
    share = min(1.0, group.num_px / group.regions[0].component_px)
    given, suggested = name(group.given), name(group.suggested)
    return f"{share:.0%} of a {given} region, {area}, is seen as {suggested}"


def _missing(group: Group, area: str, name: Callable[[int], str]) -> str:
    given = "without a label" if group.given == VOID else f"given {name(group.given)}"
    return f"{name(group.suggested)} is seen on {area} {given}, and the mask has none beside it"


def _swapped(group: Group, area: str, name: Callable[[int], str]) -> str:
    a, b = name(group.given), name(group.suggested)
    return f"{a} is seen as {b} and {b} as {a}, together {area}"


def _shifted(group: Group, area: str, name: Callable[[int], str]) -> str:
    small, large = group.too_small_px, group.too_large_px
    if min(small, large) >= _BALANCED * max(small, large):
        how = "is moved"
    else:
        how = "is too small" if small > large else "is too large"
    return (
        f"the outline of {name(group.subject)} {how}: {area} differ, {small} px lack it and "
        f"{large} px have it wrongly"
    )
