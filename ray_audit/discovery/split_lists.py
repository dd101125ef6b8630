"""Lists of what is for training: `dataset.split`."""

import re
from dataclasses import replace

from ray_audit.discovery.fitting import regex
from ray_audit.discovery.guess import Guess
from ray_audit.discovery.kinds_of_files import not_for_training
from ray_audit.discovery.media_groups import MediaGroup
from ray_audit.discovery.table_heads import read_heads
from ray_audit.discovery.table_labels import FileNames
from ray_audit.discovery.tree import Tree, extension

_CALLED = re.compile(r"(^|[_\-. ])train(ing|val)?([_\-. ]?[a-z]*\d*)?([_\-. ]|$)", re.IGNORECASE)
_ENDINGS = (".txt", ".lst", ".bundle")
_NUM_LISTS = 20
_NUM_LINES = 500
_LEAST_FOUND = 0.9
_LEAST_FOUND_OF_CUT = 0.2


def with_split(tree: Tree, guess: Guess) -> Guess | None:
    """The guess with the list of its part for training; None where there is none."""
    uri = guess.dataset["uri"]
    if "split" in guess.dataset or not isinstance(uri, str) or not uri.startswith(tree.at("")):
        return None
    pattern = uri.removeprefix(tree.at("")).lstrip("/")
    files = [path for path in tree.files if re.fullmatch(regex(pattern), path)]
    if not files or "*" not in pattern:
        return None
    names = FileNames(MediaGroup(guess.dataset["kind"], (pattern,), tuple(files)))
    lists = [path for path in tree.files if _is_called(path)][:_NUM_LISTS]
    for path in sorted(lists, key=lambda p: ("val" in _name(p).lower(), len(p), p)):
        named = _named(tree, names, path)
        if named and len(named) < len(files):
            others = [other for other in lists if other != path]
            more = f"; {', '.join(others[:3])} would do as well" if others else ""
            said = f"only what {path} names is for training{more}"
            dataset = {**guess.dataset, "split": tree.at(path)}
            return replace(guess, dataset=dataset, assumed=(*guess.assumed, said))
    return None


def _name(path: str) -> str:
    return path.rsplit("/", 1)[-1]


def _is_called(path: str) -> bool:
    stem = _name(path).rsplit(".", 1)[0]
    return (
        extension(path) in _ENDINGS
        and bool(_CALLED.search(stem))
        and not not_for_training(_name(path))
    )


def _named(tree: Tree, names: FileNames, path: str) -> set[str]:
    """Files that a list names; empty where it is none, or names others."""
    heads = [head for head in read_heads(tree, path) if head.names is None]
    if not heads or len(heads[0].rows[0]) != 1:
        return set()
    lines = heads[0].column(0)
    found = names.found(lines[:_NUM_LINES])
    least = _LEAST_FOUND_OF_CUT if tree.is_cut else _LEAST_FOUND
    enough = len(found) >= least * len(lines[:_NUM_LINES])
    return set(names.found(lines)) if enough else set()
