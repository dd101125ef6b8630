"""Prints the lowest versions that pyproject.toml allows, as a constraints file for pip.

    python -m tests.versions.lowest [EXTRA ...] [--keep NAME==VERSION ...]

Only what the project itself asks for is pinned; what those packages ask for in turn, pip chooses.
"""

import argparse
import re
import tomllib
from pathlib import Path

_PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
_LOWER = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(\[[^]]*\])?\s*(?P<bounds>.*)$")


def lowest(requirement: str) -> str | None:
    """`name==version` for the lower bound of a requirement, None where it has none."""
    match = _LOWER.match(requirement.split(";")[0].strip())
    if match is None:
        raise ValueError(f"pyproject.toml: not a requirement: {requirement!r}")
    bound = re.search(r">=\s*([0-9][^,\s]*)", match["bounds"])
    return f"{match['name']}=={bound[1]}" if bound else None


def requirements(extras: list[str]) -> list[str]:
    """The requirements of the package and of the named extras, as pyproject.toml has them."""
    project = tomllib.loads(_PYPROJECT.read_text())["project"]
    optional = project["optional-dependencies"]
    return [*project["dependencies"], *(each for extra in extras for each in optional[extra])]


def main() -> None:
    """Print one pin a line; `--keep` replaces the pin of a package."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("extras", nargs="*")
    parser.add_argument("--keep", nargs="*", default=[], metavar="NAME==VERSION")
    options = parser.parse_args()
    pins = {
        pin.split("==")[0]: pin for each in requirements(options.extras) if (pin := lowest(each))
    }
    pins.update((pin.split("==")[0], pin) for pin in options.keep)
    print("\n".join(pins.values()))


if __name__ == "__main__":
    main()
