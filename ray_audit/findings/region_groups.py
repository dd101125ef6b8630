"""Which regions of a mask belong together, and what they say is wrong."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from ray_audit.findings.finding import Kind

VOID = -1
MAX_OF = 0.5
"""Share of a component, or of a class, from which on it is seen as another class."""
NEARLY_ALL = 0.8
"""The same of a component that borders on the other class: else its outline is too large."""
LEAST_CONTACT = 0.2
"""Share of a strip's outline that lies along the class that it is seen as."""
LEAST_OUTLINE_FRACTION = 0.004
"""Share of the image that the strips along one class's outline make up."""
_ALIKE = 3.0  # how many times as large a structure may be where it is given as where it is seen


@dataclass(frozen=True)
class Candidate:
    """One row of the `regions` table."""

    sample_id: str
    shard: str
    given: int
    suggested: int
    box: tuple[int, int, int, int]
    mask_rle: str
    size: tuple[int, int]
    num_px: int
    loss: float
    p_given: float
    p_suggested: float
    component: str
    component_px: int
    contact_fraction: float

    @classmethod
    def of(cls, row: dict[str, Any]) -> Self:
        """Read a row; what unlabelled regions do not have is 0."""
        x0, y0, x1, y1 = row["box"]
        height, width = row["mask_size_px"]
        return cls(
            sample_id=row["sample_id"],
            shard=row["shard"],
            given=row["given"],
            suggested=row["suggested"],
            box=(x0, y0, x1, y1),
            mask_rle=row["mask_rle"],
            size=(height, width),
            num_px=row["num_px"],
            loss=row["loss"] or 0.0,
            p_given=row["p_given"] or 0.0,
            p_suggested=row["p_suggested"],
            component=row["component"],
            component_px=row["component_px"],
            contact_fraction=(row["contact_px"] or 0) / max(row["outline_px"] or 0, 1),
        )


@dataclass(frozen=True)
class Group:
    """Regions of one image that make one finding.

    Attributes:
        kind: of the finding.
        given: class index of the mask, or `VOID`.
        suggested: class index that is seen.
        anchor: component or classes.
        regions: at least one, the largest first.
        subject: the class whose outline is shifted; else `given`.
    """

    kind: Kind
    given: int
    suggested: int
    anchor: str
    regions: tuple[Candidate, ...]
    subject: int

    @property
    def num_px(self) -> int:
        """Pixels of all regions."""
        return sum(region.num_px for region in self.regions)

    def mean(self, name: str) -> float:
        """Mean over the pixels."""
        total: float = sum(region.num_px * getattr(region, name) for region in self.regions)
        return total / self.num_px

    @property
    def too_small_px(self) -> int:
        """Pixels seen as the subject and not given it."""
        return sum(region.num_px for region in self.regions if region.suggested == self.subject)

    @property
    def too_large_px(self) -> int:
        """Pixels given the subject and not seen as it."""
        return sum(region.num_px for region in self.regions if region.given == self.subject)


def sort_out(regions: Iterable[Candidate]) -> list[Group]:
    """The findings of one image; each region is in at most one of them."""
    left = sorted(
        regions, key=lambda candidate: (-candidate.num_px, candidate.component, candidate.suggested)
    )
    groups: list[Group] = []
    for step in (_swapped, _moved, _mislabelled, _shifted, _missing):
        found = step(left)
        groups += found
        used = {id(region) for group in found for region in group.regions}
        left = [candidate for candidate in left if id(candidate) not in used]
    return groups


def _swapped(regions: list[Candidate]) -> list[Group]:
    """Pairs of classes each of which is for the most part seen as the other."""
    share = _class_shares(regions)
    groups = []
    for a, b in sorted(share):
        if VOID < a < b and min(share[a, b], share.get((b, a), 0.0)) >= MAX_OF:
            both = [region for region in regions if {region.given, region.suggested} == {a, b}]
            groups.append(Group("swapped_classes", a, b, f"{a}-{b}", tuple(both), a))
    return groups


def _class_shares(regions: list[Candidate]) -> dict[tuple[int, int], float]:
    """Share of each given class's components that is seen as each other class."""
    components: dict[int, dict[str, int]] = defaultdict(dict)
    seen: dict[tuple[int, int], int] = defaultdict(int)
    for region in regions:
        components[region.given][region.component] = region.component_px
        seen[region.given, region.suggested] += region.num_px
    return {pair: num_px / sum(components[pair[0]].values()) for pair, num_px in seen.items()}


def _mislabelled(regions: list[Candidate]) -> list[Group]:
    """Components most of which are seen as one other class."""
    found = [_of_one_kind("mislabel", alike) for alike in _alike(regions) if alike[0].given != VOID]
    return [group for group in found if _share(list(group.regions)) >= _share_needed(group)]


def _share_needed(group: Group) -> float:
    return NEARLY_ALL if group.mean("contact_fraction") >= LEAST_CONTACT else MAX_OF


def _alike(regions: list[Candidate]) -> list[list[Candidate]]:
    """Regions of one component and one suggested class."""
    together: dict[tuple[str, int, int], list[Candidate]] = defaultdict(list)
    for region in regions:
        together[region.component, region.given, region.suggested].append(region)
    return list(together.values())


def _share(alike: list[Candidate]) -> float:
    return sum(region.num_px for region in alike) / alike[0].component_px


def _of_one_kind(kind: Kind, alike: list[Candidate]) -> Group:
    first = alike[0]
    return Group(kind, first.given, first.suggested, first.component, tuple(alike), first.given)


def _moved(regions: list[Candidate]) -> list[Group]:
    """A component that is not seen, and its class seen beside it: one structure, moved."""
    gone = [alike for alike in _alike(regions) if _share(alike) >= MAX_OF]
    groups = []
    used: set[int] = set()
    for alike in gone:
        given, num_px = alike[0].given, sum(candidate.num_px for candidate in alike)
        there = [
            region
            for region in regions
            if given not in (VOID, region.given)
            and region.suggested == given
            and id(region) not in used
            and num_px / _ALIKE <= region.num_px <= num_px * _ALIKE
            and _gap(region, alike[0]) <= max(_sides(region.box) + _sides(alike[0].box))
        ]
        if there and not any(id(candidate) in used for candidate in alike):
            nearest = min(there, key=lambda candidate: _gap(candidate, alike[0]))
            group = _outline(given, [*alike, nearest])
            used |= {id(region) for region in group.regions}
            groups.append(group)
    return _one_a_class(groups)


def _one_a_class(groups: list[Group]) -> list[Group]:
    """Several structures of one class that were moved are one finding."""
    by_class: dict[int, list[Candidate]] = defaultdict(list)
    for group in groups:
        by_class[group.subject] += group.regions
    return [_outline(subject, regions) for subject, regions in by_class.items()]


def _gap(first: Candidate, other: Candidate) -> int:
    """Pixels between two boxes along the axis on which they are farther apart."""
    (x0, y0, x1, y1), (u0, v0, u1, v1) = first.box, other.box
    return max(u0 - x1, x0 - u1, v0 - y1, y0 - v1, 0)


def _sides(box: tuple[int, int, int, int]) -> tuple[int, int]:
    return box[2] - box[0], box[3] - box[1]


def _outline(subject: int, regions: list[Candidate]) -> Group:
    """One finding of the outline of `subject`, from regions that it is given or seen in."""
    ordered = sorted(regions, key=lambda region: -region.num_px)
    given, suggested = ordered[0].given, ordered[0].suggested
    return Group(
        "shifted_boundary", given, suggested, f"outline {subject}", tuple(ordered), subject
    )


def _shifted(regions: list[Candidate]) -> list[Group]:
    """Strips along the outline of a class: the class with most of them first."""
    strips = [region for region in regions if region.contact_fraction >= LEAST_CONTACT]
    groups = []
    while strips:
        subject = _subject(strips)
        of_class = [strip for strip in strips if subject in (strip.given, strip.suggested)]
        group = _outline(subject, of_class)
        height, width = of_class[0].size
        if group.num_px >= LEAST_OUTLINE_FRACTION * height * width:
            groups.append(group)
        strips = [strip for strip in strips if subject not in (strip.given, strip.suggested)]
    return groups


def _subject(strips: list[Candidate]) -> int:
    """The class with most pixels in strips; of equals, the one whose structures are smaller."""
    total: dict[int, int] = defaultdict(int)
    extent: dict[int, dict[str, int]] = defaultdict(dict)
    for strip in strips:
        total[strip.given] += strip.num_px
        total[strip.suggested] += strip.num_px
        extent[strip.given][strip.component] = strip.component_px

    def size_px(label: int) -> float:
        # The extent of a class that is only seen is not known: take that of a strip all around.
        return sum(extent[label].values()) if label in extent else _AROUND * total[label]

    return min(total, key=lambda label: (-total[label], size_px(label), label))


_AROUND = 6.0


def _missing(regions: list[Candidate]) -> list[Group]:
    """What is left: a class that the mask has not there."""
    return [
        _of_one_kind("missing_region", alike)
        for alike in _alike(
            [region for region in regions if region.contact_fraction < LEAST_CONTACT]
        )
    ]
