"""Lower bounds are true: each is there for a reason that was met with lower ones."""

import pytest

from tests.versions.lowest import lowest, requirements

EXTRAS = ["compiled", "medical", "plots", "test"]


@pytest.fixture(scope="module")
def pins():
    """The lowest version of each package that is asked for, by its name."""
    every = filter(None, map(lowest, requirements(EXTRAS)))
    return dict(pin.split("==") for pin in every)


@pytest.mark.parametrize(
    ("package", "least"),
    [
        ("av", (17, 1)),  # findings/tagged_colours_need_pyav_17.sh
        ("numba", (0, 61, 2)),  # those before it refuse numpy 2.2
        ("numpy", (2, 2)),  # `savez` knows `allow_pickle`
        ("pillow", (11, 2, 1)),  # those before it write the tags of the first page alone
        ("pandas", (2, 2, 2)),  # those before it refuse numpy 2
        ("pydicom", (3, 0, 1)),  # findings/importing_pydicom_asks_the_network.sh
        ("typer", (0, 18)),  # findings/an_older_typer_takes_a_missing_argument_for_none.sh
        ("torch", (2, 10)),  # CVE-2025-32434 and CVE-2026-24747 are closed
    ],
)
def test_a_bound_does_not_fall_below_what_was_found_to_work(pins, package, least):
    assert tuple(map(int, pins[package].split("."))) >= least


def test_every_package_has_a_lower_bound(pins):
    asked = [each.split(";")[0].strip() for each in requirements(EXTRAS)]
    assert [each for each in asked if lowest(each) is None] == []
