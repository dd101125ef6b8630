"""What holds for every test."""

import os

import pytest

_ON_RAY = {"cluster", "faults", "gpu", "integration", "pages"}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Side by side, tests of a file stay together; those on Ray share one process and cluster.

    A file's fixtures are then made once, and what is killed or timed on Ray has no neighbour on it.
    """
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            return "on Ray" if _ON_RAY.intersection(file.split("/")) else file

    return Scheduling(config, log)


@pytest.fixture(autouse=True, scope="session")
def _state_of_its_own(tmp_path_factory):
    """Which models were audited with is remembered for the user: not those of the tests."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))
