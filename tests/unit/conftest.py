"""Unit tests start no cluster and touch no network."""

from tests.support.isolation import no_cluster, no_network, one_thread

__all__ = ["no_cluster", "no_network", "one_thread"]
