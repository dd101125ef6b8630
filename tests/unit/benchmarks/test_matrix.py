"""Cells of the matrix of rankings: means over sets, and what they are held to."""

import numpy as np
import pytest

from benchmarks.quality.intervals import ScoredRun
from benchmarks.quality.matrix import best, cells, is_held, is_held_at, shortfall


def a_row(name, auprc, num_seeds=2, regime="barely"):
    place = {"set": name, "kind": "class", "regime": regime, "protocol": "training"}
    return place | {"num_seeds": num_seeds, "auprc": auprc}


def a_run(seed, strength):
    rng = np.random.default_rng(seed)
    errors = rng.random(300) < 0.2
    noise = rng.normal(size=(3, 300))
    values = {
        "suspicion": errors * 1.5 + noise[0],
        "csl": errors * (1.5 + strength) + noise[0],
        "cleanlab_issues": errors * 0.5 + noise[2],
    }
    return ScoredRun(errors, np.arange(300), values)


def test_a_cell_is_the_mean_over_sets_however_many_seeds_each_has():
    rows = [
        a_row("one", {"suspicion": 0.8, "csl": 0.9, "aum": 0.1, "only": 1.0, "cleanlab_a": 0.2}, 9),
        a_row("two", {"suspicion": 0.6, "csl": 0.1, "aum": 0.7, "cleanlab_a": 0.5}, 1),
    ]
    (cell,) = cells(rows, {})
    assert cell["num_seeds"] == {"one": 9, "two": 1}
    assert cell["auprc"]["suspicion"] == pytest.approx(0.7)
    # The best of each set would be .9 and .7; no one score has more than .5 in both.
    assert best(cell["auprc"], of_rivals=False) == ("csl", 0.5)
    assert "only" not in cell["auprc"]
    assert "against" not in cell


def test_rows_of_another_regime_are_another_cell():
    scores = {"suspicion": 0.8, "csl": 0.9, "cleanlab_a": 0.2}
    rows = [a_row("one", scores), a_row("one", scores, regime="fitted"), a_row("two", scores)]
    assert [(c["regime"], list(c["num_seeds"])) for c in cells(rows, {})] == [
        ("barely", ["one", "two"]),
        ("fitted", ["one"]),
    ]


def test_a_cell_has_an_interval_where_all_of_its_rows_kept_their_samples():
    scores = {"suspicion": 0.5, "csl": 0.6, "cleanlab_issues": 0.2}
    rows = [a_row("one", scores), a_row("two", scores)]
    runs = {("one", "barely", "training"): [a_run(0, 1.0), a_run(1, 1.0)]}
    assert all("against" not in cell for cell in cells(rows, runs))
    runs[("two", "barely", "training")] = [a_run(2, 1.0), a_run(3, 1.0)]
    (cell,) = cells(rows, runs)
    single, rival = cell["against"]["single"], cell["against"]["rival"]
    assert single["score"] == "csl"
    assert single["low"] < single["high"] < 0
    assert rival["score"] == "cleanlab_issues"
    assert 0 < rival["low"] < rival["high"]
    assert not is_held_at(cell, "high")


def test_two_sets_tell_more_than_one():
    scores = {"suspicion": 0.5, "csl": 0.6, "cleanlab_issues": 0.2}
    runs = {
        ("one", "barely", "training"): [a_run(0, 0.2)],
        ("two", "barely", "training"): [a_run(1, 0.2)],
    }
    widths = []
    for rows in ([a_row("one", scores)], [a_row("one", scores), a_row("two", scores)]):
        (cell,) = cells(rows, runs)
        rival = cell["against"]["rival"]
        widths.append(rival["high"] - rival["low"])
    assert widths[1] < 0.85 * widths[0]


@pytest.mark.parametrize(
    ("single", "rival", "held"),
    [(0.61, 0.6, True), (0.62, 0.1, False), (0.1, 0.601, False), (0.609, 0.599, True)],
)
def test_held_is_near_the_best_single_score_and_not_below_a_rival(single, rival, held):
    row = a_row("one", {"suspicion": 0.6, "csl": single, "cleanlab_a": rival})
    assert is_held(row) == held
    assert shortfall(row) == pytest.approx(max(single, rival) - 0.6)
