"""Images whose masks lie in a folder for each class."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations

from ray_audit.discovery.guess import Guess
from ray_audit.discovery.name_pairs import PairRule
from ray_audit.discovery.pixel_values import Pixels
from ray_audit.discovery.tree import Tree

_BACKGROUND = "background"


def masks_by_class(
    tree: Tree, rules: Sequence[PairRule], read: Callable[[str], Pixels | None]
) -> Iterator[Guess]:
    """Rules that differ in the name of one folder, of which each holds masks of one class."""
    siblings: dict[tuple[str, str | None, str], set[str]] = defaultdict(set)
    for rule, other in combinations(rules, 2):
        same = (rule.uri, rule.match) == (other.uri, other.match)
        folder = _differing_folder(rule.template, other.template) if same else None
        if folder is not None:
            before, at = rule.template.split("/"), folder
            starred = "/".join([*before[:at], "*", *before[at + 1 :]])
            names = {before[at], other.template.split("/")[at]}
            siblings[rule.uri, rule.match, starred] |= names
    for (uri, match, template), names in siblings.items():
        own = [rule for rule in rules if _fits(rule, uri, match, template, names)]
        if all(_are_of_one_class(rule, read) for rule in own):
            yield _proposal(tree, uri, match, template, sorted(names))


def _differing_folder(first: str, other: str) -> int | None:
    """Which part of two templates is the only one that differs, if that is a folder."""
    parts, others = first.split("/"), other.split("/")
    if len(parts) != len(others):
        return None
    differing = [at for at, (a, b) in enumerate(zip(parts, others, strict=True)) if a != b]
    if len(differing) != 1 or differing[0] == len(parts) - 1:
        return None
    is_plain = "{" not in parts[differing[0]] + others[differing[0]]
    return differing[0] if is_plain else None


def _fits(rule: PairRule, uri: str, match: str | None, template: str, names: set[str]) -> bool:
    front, _, back = template.partition("*")
    made = {f"{front}{name}{back}" for name in names}
    return (rule.uri, rule.match) == (uri, match) and rule.template in made


def _are_of_one_class(rule: PairRule, read: Callable[[str], Pixels | None]) -> bool:
    values: set[int] = set()
    for _, path in (rule.pairs[0], rule.pairs[-1]):
        pixels = read(path)
        if pixels is None or pixels.is_colour:
            return False
        values |= {int(value) for value in pixels.values}
    return len(values - {0}) <= 1


def _proposal(tree: Tree, uri: str, match: str | None, template: str, names: list[str]) -> Guess:
    labels = {"masks": tree.at(template)} | ({"match": match} if match else {})
    classes = names if _BACKGROUND in map(str.lower, names) else [_BACKGROUND, *names]
    dataset = {"kind": "images", "uri": tree.at(uri), "labels": labels, "classes": classes}
    assumed = (
        f"each of the folders {', '.join(names)} holds the masks of one class; where two of an "
        "image overlap, that of the later folder holds",
    )
    questions = ("classes in the order of your model's outputs: here they are sorted by name",)
    return Guess("images beside a folder of masks for each class", dataset, assumed, questions)
