"""A few cases of the engine's fuzzer, and that it sees what is wrong."""

from collections import Counter

import pytest

from tests.fuzz import engine_sets, fuzz_engine


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", fuzz_engine.CASES)
def test_a_random_case_differs_neither_from_its_oracle_nor_from_a_fresh_run(kind, seed):
    assert fuzz_engine.run_case(kind, seed, Counter()) is None


def test_a_score_that_is_not_the_expected_one_is_seen(monkeypatch):
    scored = engine_sets._scored

    def other(label, logits):
        columns = scored(label, logits)
        return columns | {"csl": 1.01 * columns["csl"] + 0.01}

    monkeypatch.setattr(engine_sets, "_scored", other)
    assert ".csl is" in fuzz_engine.run_case("configurations", 0, Counter())
