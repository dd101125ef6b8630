"""Images that have a mask file for each class, in a folder or under a name of its own."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations

import numpy as np

from ray_audit import storage
from ray_audit.discovery.guess import Guess
from ray_audit.discovery.name_pairs import PairRule
from ray_audit.discovery.pixel_values import Pixels
from ray_audit.discovery.tree import Tree
from ray_audit.discovery.words import NO_CLASS
from ray_audit.errors import RayAuditError
from ray_audit.formats.pixels.pictures import read_mask

_BEHIND = re.compile(r"(?P<front>\{\w+\}[_\-. ]?)(?P<name>[^{}]+)(?P<back>\.\w+)")
_BEFORE = re.compile(r"(?P<front>)(?P<name>[^{}]+)(?P<back>[_\-. ]\{\w+\}\.\w+)")
_MOST_SHARED = 0.05
_NUM_IMAGES = 4
_MAX_PX = 1e8
_BACKGROUND = "background"


def masks_by_class(
    tree: Tree, rules: Sequence[PairRule], read: Callable[[str], Pixels | None]
) -> Iterator[Guess]:
    """Rules that differ in one word, of which each is of the masks of one class.

    Masks of which one lies over another are no classes: two people drew them, or one is of a part.
    """
    siblings: dict[tuple[str, str | None, str], set[str]] = defaultdict(set)
    for rule, other in combinations(rules, 2):
        same = (rule.uri, rule.match) == (other.uri, other.match)
        found = _differing_word(rule.template, other.template) if same else None
        if found is not None:
            siblings[rule.uri, rule.match, found[0]] |= set(found[1])
    for (uri, match, template), names in siblings.items():
        own = [rule for rule in rules if _fits(rule, uri, match, template, names)]
        if any(map(_is_no_class, names)) or not _are_apart(tree, own):
            continue
        if all(_are_of_one_class(rule, read) for rule in own):
            yield _proposal(tree, uri, match, template, sorted(names))


def _differing_word(first: str, other: str) -> tuple[str, tuple[str, str]] | None:
    """What two templates share, with `*` for the folder, or the word of a name, that differs.

    >>> _differing_word("m/cat/{stem}.png", "m/dog/{stem}.png")
    ('m/*/{stem}.png', ('cat', 'dog'))
    >>> _differing_word("m/{stem}_cat.png", "m/{stem}_dog.png")
    ('m/{stem}_*.png', ('cat', 'dog'))
    >>> _differing_word("m/1. Cats/{stem}_CA.png", "m/2. Dogs/{stem}_DO.png")
    ('m/*/{stem}_*.png', ('CA', 'DO'))
    """
    parts, others = first.split("/"), other.split("/")
    if len(parts) != len(others):
        return None
    starred, names = list(parts), ("", "")
    for at, (own, theirs) in enumerate(zip(parts, others, strict=True)):
        if own == theirs:
            continue
        if at < len(parts) - 1:
            found, names = (None if "{" in own + theirs else "*"), (own, theirs)
        else:
            found, names = _differing_names(own, theirs)
        if found is None:
            return None
        starred[at] = found
    return ("/".join(starred), names) if names != ("", "") else None


def _differing_names(first: str, other: str) -> tuple[str | None, tuple[str, str]]:
    """The same of the names of files: what differs stands behind the field, or before it."""
    for named in (_BEHIND, _BEFORE):
        own, theirs = named.fullmatch(first), named.fullmatch(other)
        if own and theirs and (own["front"], own["back"]) == (theirs["front"], theirs["back"]):
            return f"{own['front']}*{own['back']}", (own["name"], theirs["name"])
    return None, ("", "")


def _is_no_class(name: str) -> bool:
    """Whether all words of a name say that something is a mask, or who drew it."""
    return all(NO_CLASS.fullmatch(word) for word in re.split(r"[_\-. ]+", name))


def _are_apart(tree: Tree, rules: Sequence[PairRule]) -> bool:
    """Whether the masks of one image hardly lie over each other, in a few images."""
    labels_of: dict[str, list[str]] = defaultdict(list)
    for rule in rules:
        for media, label in rule.pairs:
            labels_of[media].append(label)
    for labels in list(labels_of.values())[:_NUM_IMAGES]:
        drawn = [_foreground(tree, label) for label in labels]
        for first, other in combinations(drawn, 2):
            if first.shape != other.shape:
                return False
            smaller = min(int(first.sum()), int(other.sum()))
            if (first & other).sum() > _MOST_SHARED * smaller:
                return False
    return True


def _foreground(tree: Tree, path: str) -> np.ndarray:
    try:
        mask = read_mask(storage.read_bytes(tree.at(path)), _MAX_PX)
    except (RayAuditError, OSError, ValueError):
        return np.ones((1, 1), bool)
    drawn: np.ndarray = mask > 0
    return drawn


def _fits(rule: PairRule, uri: str, match: str | None, template: str, names: set[str]) -> bool:
    pattern = "([^/]*)".join(map(re.escape, template.split("*")))
    found = re.fullmatch(pattern, rule.template)
    return (
        (rule.uri, rule.match) == (uri, match)
        and found is not None
        and found[len(found.groups())] in names
    )


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
        f"masks called {', '.join(names)} are of one class each; where two of an image overlap, "
        "that of the later name holds",
    )
    questions = ("classes in the order of your model's outputs: here they are sorted by name",)
    return Guess("images beside a mask for each class", dataset, assumed, questions)
