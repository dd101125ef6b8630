import json

import numpy as np
import pytest

from benchmarks.correction.__main__ import Results
from benchmarks.correction.measure import compare, held_out_scores, sample_ids
from benchmarks.correction.page import page
from benchmarks.correction.problems import CONDITIONS, Condition
from ray_audit.engine.run.predict import Predicted
from ray_audit.sample_ids import Owner
from ray_audit.samples import IGNORE

A, B = Owner("a.png"), Owner("s.npz", "x")


def test_what_was_repaired_and_what_was_damaged():
    true = {A: np.array([[0, 0], [1, IGNORE]]), B: np.array([2, 2, 2, 2, 2])}
    before = {A: np.array([[0, 1], [1, 3]]), B: np.array([2, 2, 2, 1, 1])}
    after = {A: np.array([[0, 0], [0, 3]]), B: np.array([2, 2, 2, 1, 2])}
    found = compare(true, before, after)
    assert found.wrong_before == 3 / 8
    assert found.wrong_after == 2 / 8
    assert found.damaged == 1 / 5
    assert found.changed == 3 / 8


def test_names_are_those_of_the_audit():
    assert sample_ids({A: np.zeros((2, 2))}, "dense") == ["a.png"]
    assert sample_ids({B: np.zeros(2)}, "frames") == ["s.npz#x#0", "s.npz#x#1"]


def test_an_unscored_class_and_classes_that_do_not_occur_have_no_iou():
    target = np.array([[0, 0, 1, 1, 2, IGNORE]])
    predicted = np.array([[0, 1, 1, 1, 0, 0]])
    p = np.eye(4)[predicted].transpose(2, 0, 1)
    result = Predicted("a", "a", None, np.empty(0), target, p)
    found = held_out_scores([result], unscored=2)
    assert found["accuracy"] == 3 / 4
    assert found["miou"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert found["dice"] == pytest.approx((2 / 3 + 4 / 5) / 2)


def test_results_of_two_processes_add_up(tmp_path):
    first, second = (Results(tmp_path / "correction.json") for _ in range(2))
    left, other = CONDITIONS[:2]
    first.put(left, "noisy", {"facts": {"auroc": 0.5}})
    second.put(other, "noisy", {"facts": {}})
    assert first.has(other, "noisy")
    assert not second.has(left, "adele")
    assert json.loads((tmp_path / "correction.json").read_text())["conditions"].keys() == {
        left.name,
        other.name,
    }


def test_the_page_shows_means_over_seeds_and_what_is_missing():
    def cell(miou, after, refused=""):
        labels = {"wrong_before": 0.1, "wrong_after": after, "damaged": 0.01, "changed": 0.1}
        held_out = {} if refused else {"miou": miou, "dice": miou}
        return {
            "held_out": held_out,
            "labels": None if refused else labels,
            "facts": {"auroc": 0.9, "auprc": 0.8, "estimated_damaged": 0.02},
            "refused": refused,
        }

    names = [Condition("camvid", "under", 50, seed).name for seed in (0, 1)]
    conditions = {
        names[0]: {"noisy": cell(0.5, 0.1), "findings": cell(0.6, 0.05)},
        names[1]: {"noisy": cell(0.7, 0.1), "adele_after": cell(0, 0, "still rising")},
    }
    text = page({"conditions": conditions, "date": "D", "machine": "M"})
    assert "| under, 50% | 0.90 / 0.80 |" in text
    assert "0.600 / 0.600 (2)" in text
    assert "5.00 (1.00)" in text
    assert "| camvid | `correct --rule findings` | 2.00 | 0.90 |" in text
    assert f"`{names[0]}` (in part)" in text
    assert "`golf_poses/segments/50/0`" in text
