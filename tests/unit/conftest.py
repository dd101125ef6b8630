"""Unit tests start no cluster and touch no network, by force."""

import socket

import hypothesis
import pytest
import torch

# On a busy machine an example takes what it takes.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a unit test must not start Ray or open a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr("ray.init", refuse)


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)
