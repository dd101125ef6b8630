import json

from ray_audit.nightly.lease import Lease, LeaseState


class Clock:
    """Time that passes only where somebody sleeps; what happens meanwhile may be given."""

    def __init__(self, start_s=0.0):
        self.now_s = start_s
        self.meanwhile = lambda: None

    def __call__(self):
        return self.now_s

    def sleep(self, seconds):
        self.now_s += seconds
        self.meanwhile()


def lease(path, clock, ttl_s=120.0, purpose="2026-01-02"):
    return Lease(str(path), purpose, ttl_s, clock, clock.sleep)


def quiet(state):
    pass


def test_a_free_lease_is_taken_and_given_back(tmp_path):
    path, clock = tmp_path / "lease.json", Clock()
    mine = lease(path, clock)
    assert mine.acquire(0, quiet)
    assert not LeaseState.read(str(path)).ended
    mine.release()
    assert LeaseState.read(str(path)).ended
    assert lease(path, clock).acquire(0, quiet)


def test_a_living_holder_is_waited_for(tmp_path):
    path, clock, reported = tmp_path / "lease.json", Clock(), []
    holder = lease(path, Clock(), purpose="2026-01-01")
    assert holder.acquire(0, quiet)
    clock.meanwhile = holder.renew
    assert not lease(path, clock).acquire(1000, reported.append)
    assert clock.now_s >= 1000
    assert [state.purpose for state in reported] == ["2026-01-01"]


def test_a_dead_holder_is_replaced_after_its_time_whatever_its_clock_said(tmp_path):
    path, clock = tmp_path / "lease.json", Clock()
    # The holder's clock is years ahead: nothing of it is compared with ours.
    assert lease(path, Clock(start_s=1e9), ttl_s=60).acquire(0, quiet)
    assert lease(path, clock).acquire(1000, quiet)
    assert 60 < clock.now_s < 80


def test_a_holder_that_lost_it_stops_renewing_and_leaves_the_other_alone(tmp_path):
    path = tmp_path / "lease.json"
    first, second = lease(path, Clock()), lease(path, Clock())
    first.acquire(0, quiet)
    second.acquire(1000, quiet)
    assert not first.renew()
    first.release()
    assert second.renew()


def test_of_two_that_write_at_once_the_last_holds_it(tmp_path):
    path, clock = tmp_path / "lease.json", Clock()
    other = LeaseState("other", "2026-01-01", 1, 50.0)
    overwritten = []

    def overwrite():
        if not overwritten:
            overwritten.append(True)
            path.write_text(json.dumps(vars(other)))

    clock.meanwhile = overwrite
    assert lease(path, clock).acquire(1000, quiet)
    assert clock.now_s > 50


def test_rubbish_is_no_lease(tmp_path):
    path = tmp_path / "lease.json"
    for text in ("", "[]", "{}", '{"holder": 1, "more": 2}'):
        path.write_text(text)
        assert LeaseState.read(str(path)) is None
    assert lease(path, Clock()).acquire(0, quiet)


def test_it_is_given_back_when_the_night_fails(tmp_path):
    path = tmp_path / "lease.json"
    mine = lease(path, Clock())
    mine.acquire(0, quiet)
    try:
        with mine.kept():
            raise RuntimeError
    except RuntimeError:
        pass
    assert LeaseState.read(str(path)).ended
