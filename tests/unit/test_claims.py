import threading
import uuid

import pytest

from ray_audit import storage
from ray_audit.claims import TTL_S, Claim, ClaimState, files_in
from ray_audit.errors import SpecificationError

SAME, OTHER = {"correct": "run", "confidence": "0.5"}, {"correct": "run", "confidence": "0.9"}


@pytest.fixture(params=["local", "memory"])
def folder(request, tmp_path):
    return str(tmp_path / "to") if request.param == "local" else f"memory://{uuid.uuid4().hex}/to"


class Clock:
    def __init__(self, beats=None):
        self.now_s, self.beats = 0.0, beats

    def __call__(self):
        return self.now_s

    def sleep(self, seconds):
        self.now_s += seconds
        if self.beats:
            self.beats()


def claim(folder, purpose=SAME, clock=None, **options):
    clock = clock or Clock()
    return Claim(folder, purpose, clock_s=clock, sleep=clock.sleep, **options)


def killed(folder, purpose=SAME):
    """A claim whose holder was killed after its first file."""
    made = claim(folder, purpose)
    made.take()
    storage.write_bytes(f"{folder}/labels/a.csv", b"x")
    return made


def test_of_many_at_once_one_fills_the_folder(folder):
    taken, refused, barrier = [], [], threading.Barrier(8)

    def take(number):
        barrier.wait()
        try:
            claim(folder, {"correct": str(number)}).take()
            taken.append(number)
        except SpecificationError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=take, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 1
    assert len(refused) == 7


def test_what_ends_well_is_claimed_no_more(folder):
    with claim(folder).held():
        storage.write_bytes(f"{folder}/spec.yaml", b"x")
        assert files_in(folder) == (True, True)
    assert files_in(folder) == (False, True)


def test_what_was_interrupted_can_be_done_again(folder):
    killed(folder)
    clock = Clock()
    with claim(folder, clock=clock).held():
        pass
    assert TTL_S <= clock.now_s < 2 * TTL_S


def test_what_failed_can_be_done_again_at_once(folder):
    def work():
        with claim(folder).held():
            storage.write_bytes(f"{folder}/labels/a.csv", b"x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    clock = Clock()
    claim(folder, clock=clock).take()
    assert clock.now_s == 0


def test_what_failed_before_its_first_file_leaves_nothing(folder):
    with pytest.raises(ValueError, match="refused"), claim(folder).held():
        raise ValueError("refused")
    assert files_in(folder) == (False, False)
    claim(folder, OTHER).take()


def test_something_else_is_not_done_over_what_is_unfinished(folder):
    killed(folder)
    with pytest.raises(SpecificationError, match=r"confidence 0\.5.*confidence 0\.9"):
        claim(folder, OTHER).take()


def test_a_holder_that_lives_is_not_disturbed(folder):
    first = killed(folder)

    def beat():
        state = ClaimState.read(f"{folder}/.claim/000001.json")
        storage.write_bytes(
            f"{folder}/.claim/000001.json", ClaimState(state.holder, SAME, state.beat + 1).content
        )

    with pytest.raises(SpecificationError, match="another process"):
        claim(folder, clock=Clock(beat)).take()
    first.check()


def test_a_holder_that_was_slow_learns_that_it_is_one_no_more(folder):
    first = killed(folder)
    claim(folder).take()
    with pytest.raises(SpecificationError, match="another process"):
        first.check()


def test_a_folder_that_was_filled_meanwhile_is_left_alone(folder):
    storage.write_bytes(f"{folder}/spec.yaml", b"x")
    with pytest.raises(SpecificationError, match="meanwhile"):
        claim(folder).take()
    assert files_in(folder) == (False, True)
    claim(folder, may_be_filled=True).take()


def test_a_holder_shows_that_it_lives(folder):
    uri = f"{folder}/.claim/000001.json"
    with Claim(folder, SAME, ttl_s=0.3).held():
        first = ClaimState.read(uri)
        waited = threading.Event()
        for _ in range(100):
            waited.wait(0.05)
            if ClaimState.read(uri).beat > first.beat:
                break
        assert ClaimState.read(uri).beat > first.beat
