"""Which recipes there are: ours, those of installed packages, and a file of the user's own.

A package offers recipes under the entry point group `ray_audit.layouts`: a package of its own that
holds their files, or the path of a folder.
"""

import difflib
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from os import PathLike, fspath
from pathlib import Path
from types import ModuleType

from ray_audit.errors import SpecificationError
from ray_audit.layouts.recipe import Recipe

GROUP = "ray_audit.layouts"
_OURS = Path(__file__).parent / "recipes"
_SUFFIXES = (".yaml", ".yml")


def recipes() -> tuple[Recipe, ...]:
    """All recipes, by name.

    Raises:
        SpecificationError: one of a package cannot be read.
    """
    return tuple(recipe_named(name) for name in recipe_names())


def recipe_names() -> tuple[str, ...]:
    """Names of all recipes, sorted."""
    return tuple(sorted(_places()))


def recipe_named(name: str) -> Recipe:
    """A recipe by its name, or by the path of a file.

    Raises:
        SpecificationError: there is none; names those that are near.
    """
    if name.lower().endswith(_SUFFIXES):
        return Recipe.load(name)
    places = _places()
    if name not in places:
        near = difflib.get_close_matches(name.lower(), places, n=3, cutoff=0.5)
        near += [place for place in places if place.startswith(name.lower()) and place not in near][
            :3
        ]
        hint = f"did you mean {' or '.join(near)}?" if near else "a file of your own ends in .yaml"
        raise SpecificationError(
            f"dataset.layout: {name!r} is no known layout; {hint} `ray-audit layouts` lists all"
        )
    return _loaded(places[name])


@cache
def _loaded(path: Path) -> Recipe:
    return Recipe.load(str(path))


@cache
def _places() -> dict[str, Path]:
    """Where each recipe lies; those of packages do not take the place of ours."""
    found = {path.stem: path for path in sorted(_OURS.glob("*.yaml"))}
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        for path in sorted(p for p in _folder(point).iterdir() if p.suffix in _SUFFIXES):
            if path.stem in found:
                raise SpecificationError(
                    f"{path} (entry point {point.name} of {GROUP}): a recipe of the name "
                    f"{path.stem} is there already. Uninstall one of the packages"
                )
            found[path.stem] = path
    return found


def _folder(point: EntryPoint) -> Path:
    where = f"entry point {point.name} = {point.value} of {GROUP}"
    try:
        loaded = point.load()
        path = loaded.__path__[0] if isinstance(loaded, ModuleType) else loaded
        folder = Path(fspath(path)) if isinstance(path, str | PathLike) else None
    except (Exception, SystemExit) as error:  # a package may raise anything on import
        raise SpecificationError(
            f"{where} cannot be loaded: {type(error).__name__}: {error}. Mend or uninstall the "
            "package"
        ) from error
    if folder is None or not folder.is_dir():
        raise SpecificationError(f"{where} is no folder of recipes: {loaded!r}")
    return folder
