import pytest

from benchmarks.engine_runs import Timeline
from benchmarks.scaling import sleeping_rates

PAUSE_S, PER_BATCH = 0.4, 32


def timeline_of(num_actors, sizes=(12, 4), num_batches=100):
    """Actors that start a little after each other, and commit crates of these sizes in turns."""
    timeline = Timeline()
    for actor in range(num_actors):
        at_s, left = 1000 + 0.08 * actor, num_batches
        while left:
            size = min(left, sizes[left // 4 % 2])
            at_s, left = at_s + size * PAUSE_S, left - size
            timeline.points.append((at_s, size * PER_BATCH))
    timeline.points.sort()
    timeline.up_s = timeline.points[0][0]
    return timeline


@pytest.mark.parametrize("num_actors", [1, 2, 6])
def test_rates_do_not_depend_on_how_many_batches_are_committed_together(num_actors):
    rates = sleeping_rates(timeline_of(num_actors), PER_BATCH, PAUSE_S, 3)
    assert rates == pytest.approx([num_actors / PAUSE_S] * 3, rel=0.07)
    assert sum(rates) / 3 == pytest.approx(num_actors / PAUSE_S, rel=0.03)


def test_an_actor_that_rests_is_seen():
    timeline = timeline_of(2)
    timeline.points = [(at_s if at_s < 1010 else at_s + 5, num) for at_s, num in timeline.points]
    assert min(sleeping_rates(timeline, PER_BATCH, PAUSE_S, 3)) < 0.7 * 2 / PAUSE_S
