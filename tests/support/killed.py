"""Runs in this process that end in the middle."""

import contextlib

import pytest

from ray_audit.engine.backends.local import LocalBackend


class KilledError(Exception):
    """What ends them."""


@contextlib.contextmanager
def killed_after_a_unit(monkeypatch):
    """A run of the block ends as soon as its first work unit is committed."""
    relay = LocalBackend.relay

    def killed(engine, plan, settings):
        for receipt in relay(engine, plan, settings):
            yield receipt
            if receipt.ends_unit:
                raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(LocalBackend, "relay", killed)
        with pytest.raises(KilledError):
            yield
