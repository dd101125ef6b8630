"""Which recipes fit what is there, and where their root lies."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ray_audit.discovery.tree import Tree
from ray_audit.layouts import Recipe


@dataclass(frozen=True)
class Fit:
    """A recipe all of whose files are found.

    Attributes:
        recipe: it.
        root: path of its root in the tree; `..` where the tree is a folder of the root.
    """

    recipe: Recipe
    root: str

    @property
    def rank(self) -> tuple[int, int, str]:
        """Sort key: the root that is nearest to the top, then the most that patterns say."""
        return self.root.count("/") + bool(self.root), -_said(self.recipe), self.recipe.name


def fits(tree: Tree, recipes: Iterable[Recipe]) -> list[Fit]:
    """Recipes that fit, the best first."""
    # Paths with the tree's own name before them: the tree may be a folder of the dataset.
    own = tree.uri.rstrip("/").rsplit("/", 1)[-1]
    paths = [f"{own}/{path}" for path in tree.few]
    found = []
    for recipe in recipes:
        for root in _roots(recipe, paths):
            inner = ".." if root == "" else root.partition("/")[2]
            found.append(Fit(recipe, inner))
    return sorted(found, key=lambda fit: fit.rank)


def _roots(recipe: Recipe, paths: list[str]) -> set[str]:
    roots: set[str] | None = None
    for pattern in recipe.files:
        compiled = re.compile(rf"(?:(?P<root>.*?)/)?{regex(pattern)}$")
        matches = (compiled.match(path) for path in paths)
        here = {found["root"] or "" for found in matches if found}
        roots = here if roots is None else roots & here
        if not roots:
            return set()
    return roots or set()


def regex(pattern: str) -> str:
    r"""A recipe's pattern of files as a regular expression.

    >>> regex("train/*/*.{png,jpg}")
    'train/[^/]*/[^/]*\\.(?:png|jpg)'
    """
    parts = re.split(r"(\*\*|\*|\?|\{[^}]*\})", pattern)
    return "".join(_part(part) for part in parts)


def _part(part: str) -> str:
    if part in ("**", "*", "?"):
        return {"**": ".*", "*": "[^/]*", "?": "[^/]"}[part]
    if part.startswith("{"):
        return f"(?:{'|'.join(map(re.escape, part[1:-1].split(',')))})"
    return re.escape(part)


def _said(recipe: Recipe) -> int:
    return sum(len(re.sub(r"[*?]", "", pattern)) for pattern in recipe.files)
