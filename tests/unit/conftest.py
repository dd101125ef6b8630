"""Unit tests start no cluster and touch no network."""

import fsspec
import pytest

from tests.support.isolation import no_cluster, no_network, one_thread

__all__ = ["no_cluster", "no_network", "one_thread"]


@pytest.fixture
def memory():
    """A store with a scheme, as S3 has one, without a network."""
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]
    yield "memory:///bucket"
    fs.store.clear()


@pytest.fixture(params=["local", "memory"])
def base(request, tmp_path):
    if request.param == "local":
        return str(tmp_path / "bucket")
    return request.getfixturevalue("memory")
