"""A driver that is asked to end takes the cluster that it started with it."""

import pytest

from tests.faults.audits import slow_videos
from tests.faults.test_signals import EXIT_CODES, interrupted, training_interrupted


# Ray has a handler of its own: findings/ray_init_takes_over_sigterm.sh shows it.
@pytest.mark.parametrize(
    "name", ["SIGTERM", *(pytest.param(n, marks=pytest.mark.slow) for n in ("SIGINT", "SIGHUP"))]
)
def test_a_signal_ends_an_audit_on_ray_and_its_cluster(tmp_path, name):
    videos = slow_videos(tmp_path, sleep_s=0.2)
    output = str(tmp_path / "out")
    interrupted(videos.spec_file(output=output), output, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", EXIT_CODES)
def test_a_signal_ends_a_training_on_ray_and_its_cluster(tmp_path, name):
    """Ray Train has a handler of its own for SIGINT, which ends a command with 1."""
    training_interrupted(tmp_path, name)
