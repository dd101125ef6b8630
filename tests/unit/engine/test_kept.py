import pickle

from ray_audit.engine.reduce.kept import Kept


class Maker:
    def __init__(self):
        self.num_made = 0

    def __call__(self):
        self.num_made += 1
        return b"1234"


def test_a_value_is_made_once_for_two_askers_and_let_go():
    kept, make = Kept(len, max_bytes=4), Maker()
    assert [kept.given("a", make) for _ in range(2)] == [b"1234"] * 2
    assert make.num_made == 1
    assert kept.given("b", make) == kept.given("b", make)  # there is room again
    assert make.num_made == 2


def test_what_does_not_fit_is_made_again():
    kept, make = Kept(len, max_bytes=7), Maker()
    for key in ("a", "b", "a", "b"):
        kept.given(key, make)
    assert make.num_made == 3


def test_in_another_process_nothing_is_kept():
    kept, make = Kept(len), Maker()
    kept.given("a", make)
    there = pickle.loads(pickle.dumps(kept))
    there.given("a", make)
    there.given("a", make)
    assert make.num_made == 3
    assert there.given("none", bytes) == b""
