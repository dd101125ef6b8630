"""What a test may not do, by force."""

import socket

import hypothesis
import pytest
import torch

# On a busy machine an example takes what it takes.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch):
    """No Ray."""

    def refuse(*args, **kwargs):
        raise AssertionError("this test must not start Ray")

    monkeypatch.setattr("ray.init", refuse)


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """No connection, not even to this machine."""

    def refuse(*args, **kwargs):
        raise AssertionError("a unit test must not open a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Numbers do not depend on the cores of the machine."""
    torch.set_num_threads(1)
