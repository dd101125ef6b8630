import json

import numpy as np
import pytest
import torch

from benchmarks.correction.__main__ import Results
from benchmarks.correction.measure import compare, held_out_scores, sample_ids
from benchmarks.correction.page import page
from benchmarks.correction.pictures import moved_cnn
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


def test_held_out_conditions_show_what_is_said_to_be_wrong_beside_what_is():
    labels = {"wrong_before": 0.4, "wrong_after": 0.3, "damaged": 0.02, "changed": 0.2}
    facts = {"estimated_damaged": 0.01, "estimated_before": 0.36, "estimated_after": 0.27}
    cell = {"held_out": {}, "labels": labels, "facts": facts, "refused": ""}
    name = Condition("cifar10n_by_folds", "human", 41, 0).name
    text = page({"conditions": {name: {"default": cell}}, "date": "D", "machine": "M"})
    assert "| human, 41% | 36.00 of 40.00 (-10%) | 27.00 of 30.00 (-10%) |" in text
    assert (
        "| `correct` on CIFAR-10N with 41% wrong, 10,000 pictures, by folds | <= 34 | "
        "40.00 -> 30.00 (30.00) |" in text
    )
    assert "its estimate of the labels wrong, off by | <= 20% | before -10%; after -10% |" in text
    by_one = "`correct` on CIFAR-10N with 41% wrong, 2,000 pictures, one training"
    assert f"| {by_one} | <= 34 | not run |" in text
    assert "0 of 0, 0 trainings" in text  # the row of the other sets


def test_pictures_are_moved_while_a_network_is_trained_and_then_only():
    network = moved_cnn(3, 4)
    images = torch.rand(5, 3, 16, 16)
    network.train()
    assert not torch.equal(network(images), network(images))
    network.eval()
    assert torch.equal(network(images), network(images))
    assert network(images).shape == (5, 3)
