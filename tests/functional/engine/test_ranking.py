"""The default ranking through the front: an order counts only where there is one."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ray_audit.engine.run.audit import run_audit
from ray_audit.scores.class_losses import ClassLosses
from ray_audit.scores.ranking import RankHistogram
from tests.support.echoes import echoes, is_wrong, logits, repeated
from tests.support.tables import rows_of


def audited(folder, given, seen, num_classes, **changes):
    config = echoes(folder, given, seen, num_classes, **changes)
    return run_audit(config, local=True, logical_date="2026-01-31")


def ranks_of(column):
    return RankHistogram.empty().observe(column.to_numpy()).cdf(column.to_numpy())


def as_stated(table, given, losses, order=0.0):
    """(N,) suspicion by the ranks of a table's scores, weighed as a manifest states it."""
    assert sum(losses.values()) == pytest.approx(1)
    labels = table["label"].to_numpy()
    firsts = [path[np.flatnonzero(np.diff(path, prepend=-1))] for path in given]
    num_segments = np.bincount(np.concatenate(firsts))
    above = sum(
        weight * np.log(1 - beside_its_class(table[name].to_numpy(), labels, num_segments))
        for name, weight in losses.items()
    )
    if order:
        above = above + order * np.log(1 - ranks_of(table["order_nll"]))
    return 1 - np.exp(above / (1 + order))


def beside_its_class(values, labels, num_segments):
    return ClassLosses.of(values, labels, num_segments).finish().ranks(values, labels)


def test_one_video_is_ranked_by_its_losses(tmp_path):
    rng = np.random.default_rng(0)
    true = repeated([0, 1, 2] * 4, rng.integers(8, 20, 12))
    given = true.copy()
    for edge in (np.flatnonzero(np.diff(true)) + 1)[::4]:
        given[edge : edge + 5] = true[edge - 1]
    found = audited(tmp_path, [given], [true], 3)
    table = rows_of(found, "scores")
    wrong, suspicion = is_wrong(table, [given], [true]), table["suspicion"].to_numpy()
    stated = found.manifest.ranking["weights"]
    assert set(stated) <= {"csl_segment", "late_loss", "early_loss"}
    assert suspicion == pytest.approx(as_stated(table, [given], stated))
    by_segment = roc_auc_score(wrong, table["csl_segment"].to_numpy())
    assert roc_auc_score(wrong, suspicion) > by_segment  # wrong in five frames only
    assert not found.manifest.order["used"]
    assert found.manifest.order["weight"] == 0
    assert "1 video" in found.manifest.order["reason"]


def test_two_classes_in_turn_are_no_order(tmp_path):
    rng = np.random.default_rng(1)
    given, seen = [], []
    for first in rng.integers(0, 2, 30):
        lengths, classes = rng.integers(5, 30, 16), (first + np.arange(16)) % 2
        flipped = rng.random(16) < 0.15
        given.append(repeated(np.where(flipped, 1 - classes, classes), lengths))
        seen.append(repeated(classes, lengths))
    found = audited(tmp_path, given, seen, 2)
    table = rows_of(found, "scores")
    assert not found.manifest.order["used"]
    assert found.manifest.order["weight"] == 0
    stated = found.manifest.ranking["weights"]
    assert "order_nll" not in stated
    assert table["suspicion"].to_numpy() == pytest.approx(as_stated(table, given, stated))


def test_few_videos_without_an_order_are_ranked_by_their_losses(tmp_path):
    rng = np.random.default_rng(300)
    for num in (2, 3, 4, 6):
        given, seen = [], []
        for _ in range(num):
            classes, lengths = rng.permutation(10)[:5], rng.integers(8, 30, 5)
            other = (classes + rng.integers(1, 10, 5)) % 10
            given.append(repeated(np.where(rng.random(5) < 0.2, other, classes), lengths))
            seen.append(repeated(classes, lengths))
        found = audited(tmp_path / str(num), given, seen, 10)
        assert not found.manifest.order["used"], found.manifest.order


def test_an_order_is_ranked_in_the_distribution_of_its_own_numbers(tmp_path):
    rng = np.random.default_rng(0)
    given, seen = [], []
    for video in range(12):
        cycle = [3, 2, 1, 0] if video == 0 else [0, 1, 2, 3]
        true = repeated(cycle * 4, rng.integers(8, 20, 16))
        labels = true.copy()
        for edge in (np.flatnonzero(np.diff(true)) + 1)[::5]:
            labels[edge : edge + 5] = true[edge - 1]
        given.append(labels)
        seen.append(true)
    found = audited(tmp_path, given, seen, 4)
    table, order = rows_of(found, "scores"), found.manifest.order
    assert order["used"]
    assert order["gain"] > 2 * order["standard_error"]
    assert order["weight"] > 0
    expected = as_stated(table, given, found.manifest.ranking["weights"], order["weight"])
    assert table["suspicion"].to_numpy() == pytest.approx(expected)
    assert max(table["suspicion"].to_pylist()) < 1


def test_equal_samples_are_in_no_order_of_importance(tmp_path):
    found = audited(tmp_path, [np.zeros(6, int)] * 2, [np.tile([[2.0, 1.0]], (6, 1))] * 2, 2)
    table = rows_of(found, "scores")
    suspicion = table["suspicion"].to_pylist()
    assert len(suspicion) == 12
    assert len(set(suspicion)) == 1
    assert suspicion[0] == pytest.approx(0.5)
    assert found.manifest.top == []
    assert any("all samples tie" in note for note in found.manifest.notes)


def test_of_equal_samples_that_do_not_all_fit_none_is_among_the_most_suspicious(tmp_path):
    given = np.zeros(40, int)
    seen = np.tile([[2.0, 1.0]], (40, 1))
    seen[[7, 21, 33]] = [[0.0, 3.0], [0.0, 4.0], [0.0, 5.0]]
    found = audited(tmp_path, [given], [seen], 2)
    top = [row["sample_id"].rpartition("#")[2] for row in found.manifest.top]
    assert top == ["33", "21", "7"]


def test_an_order_that_predicts_is_used_whatever_the_losses_say(tmp_path):
    rng = np.random.default_rng(0)
    seen = [repeated(range(6), rng.integers(8, 20, 6)) for _ in range(15)]
    given = [labels.copy() for labels in seen]
    first, other = given[0] == 1, given[0] == 4
    given[0][first], given[0][other] = 4, 1
    memorised = [logits(labels, 6, seed=index) for index, labels in enumerate(given)]
    found = audited(tmp_path, given, memorised, 6)
    table = rows_of(found, "scores")
    assert roc_auc_score(is_wrong(table, given, seen), table["suspicion"].to_numpy()) > 0.95
    assert "predicts a video better than chance" in next(
        line for line in found.manifest.judgements() if line.startswith("Order")
    )


def test_what_is_suggested_is_another_class_however_sure_the_checkpoints_are(tmp_path):
    true = repeated(range(4), [20] * 4)
    seen = logits(true, 4, strength=20.0)
    seen[:, 3] += 2.0  # the runner-up of the other three
    table = rows_of(audited(tmp_path, [true, true], [seen, seen], 4), "scores")
    pairs = set(zip(table["label"].to_pylist(), table["suggested"].to_pylist(), strict=True))
    assert all(label != suggested for label, suggested in pairs)
    assert {(0, 3), (1, 3), (2, 3)} <= pairs


def test_samples_that_left_early_give_no_onset_of_memorisation(tmp_path):
    rng = np.random.default_rng(0)
    true = rng.integers(0, 3, 200)
    seen = logits(true, 3, strength=2.0, noise=1.0)
    scales = np.linspace(0.1, 3, 8)
    changes = {"clip": {"frames": 1}, "scores": ["csl"], "engine": {"batch_size": 20}}
    adaptive = {"adaptive": {"budget": 0.5}}
    found = audited(tmp_path, [true], [seen], 3, scales=scales, **changes, **adaptive)
    stats = rows_of(found, "class_stats")
    assert stats["onset_epoch"].null_count == stats.num_rows > 0
    assert "passed by other samples" in stats["onset_reason"][0].as_py()
