"""What holds for every test."""

import os

import pytest


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Side by side, tests of a file stay together; those on Ray share one process and cluster.

    A file's fixtures are then made once, and what is killed or timed on Ray has no neighbour on it.
    """
    from xdist.scheduler import LoadFileScheduling

    # In the order of collection: what is on Ray takes longest and comes early.
    config.option.loadscopereorder = False

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid):
            return scope_of(super()._split_scope(nodeid))

    return Scheduling(config, log)


def scope_of(file):
    """Whose process the tests of a file share.

    >>> scope_of("tests/integration/test_crashes.py")
    'on Ray'
    >>> scope_of("tests/faults/test_signals.py")
    'tests/faults/test_signals.py'
    """
    folder = file.split("/")[1]
    if folder == "pages":
        return "in the browser"
    is_on_ray = folder in {"cluster", "gpu", "integration"} or file.endswith("_on_ray.py")
    return "on Ray" if is_on_ray else file


@pytest.fixture(autouse=True, scope="session")
def _state_of_its_own(tmp_path_factory):
    """Which models were audited with is remembered for the user: not those of the tests."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))
