"""What holds for every test."""

import os
from pathlib import Path

import pytest

_ON_RAY = {"cluster", "faults", "gpu", "integration", "pages"}


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(config, items):
    """Side by side, tests of a file stay together; those on Ray share one cluster and one process.

    A file's fixtures are then made once, and what is killed or timed on Ray has no neighbour on it.
    """
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        path = item.path.relative_to(Path(__file__).parent)
        group = "ray" if path.parts[0] in _ON_RAY else str(path)
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(autouse=True, scope="session")
def _state_of_its_own(tmp_path_factory):
    """Which models were audited with is remembered for the user: not those of the tests."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))
