"""Whole audits, trainings and commands in one process: no cluster; servers on this machine only."""

from tests.support.isolation import no_cluster, one_thread

__all__ = ["no_cluster", "one_thread"]
