import numpy as np
import pytest
import torch

from ray_audit.corrections.adele import AdeleRule
from ray_audit.scores.early_learning import curve
from ray_audit.training.corrected import EarlyLearningCorrection, RefurbishFlagged
from ray_audit.training.correction import describe
from ray_audit.training.sample_store import SampleStore

SIZE = 20
IDS = ["right", "wrong"]


def logits_of(classes, confidence=0.95, num_classes=3):
    """Logits whose softmax gives `confidence` to each pixel's class."""
    rest = (1 - confidence) / (num_classes - 1)
    p = np.where(np.arange(num_classes)[:, None, None] == classes, confidence, rest)
    return torch.from_numpy(np.log(p)).float()


def truth():
    mask = np.zeros((SIZE, SIZE), np.int64)
    mask[5:15, 5:15] = 1
    return mask


def too_small():
    mask = truth()
    mask[5:15, 10:15] = 0
    return mask


def train(corrector, num_epochs):
    """A model that learns class 1 as ADELE's curve says, up to the true mask."""
    given = torch.from_numpy(np.stack([truth(), too_small()]))
    reports = []
    for epoch in range(corrector.epoch + 1, corrector.epoch + num_epochs + 1):
        share = curve(np.array([float(epoch)]), 1.0, 1.0, 2.0)[0]
        seen = truth()
        seen[5 + round(10 * share) : 15] = 0
        labels = corrector.labels(IDS, given)
        corrector.observe(IDS, labels, torch.stack([logits_of(seen)] * 2))
        reports.append(corrector.end_epoch())
    return corrector.labels(IDS, given).numpy(), reports


def test_a_class_is_corrected_from_its_onset_on_and_right_labels_stay():
    labels, reports = train(EarlyLearningCorrection(num_classes=3), 12)
    assert np.array_equal(labels[0], truth())
    assert np.array_equal(labels[1], truth())
    first = next(report.epoch for report in reports if report.due)
    assert 4 <= first < 12
    changed = [report.epoch for report in reports if report.changes.num_changed]
    assert changed == [first + 1]


def test_before_the_onset_nothing_changes():
    labels, reports = train(EarlyLearningCorrection(num_classes=3), 3)
    assert np.array_equal(labels[1], too_small())
    assert not any(report.changes.num_changed for report in reports)


def test_a_doubtful_prediction_corrects_nothing():
    labels, _ = train(EarlyLearningCorrection(3, AdeleRule(0.96, 0.96)), 12)
    assert np.array_equal(labels[1], too_small())


def test_too_large_a_change_is_refused_and_counted():
    corrector = EarlyLearningCorrection(3, max_changed_fraction=0.01)
    labels, reports = train(corrector, 12)
    assert np.array_equal(labels[1], too_small())
    assert sum(report.num_refused for report in reports) > 0


def test_corrected_labels_outlive_the_process(tmp_path):
    labels, _ = train(EarlyLearningCorrection(3, store=SampleStore(tmp_path)), 12)
    again = EarlyLearningCorrection(3, store=SampleStore(tmp_path))
    given = torch.from_numpy(np.stack([truth(), too_small()]))
    assert np.array_equal(again.labels(IDS, given).numpy(), labels)


def refurbished(suspicion, num_epochs=4, **settings):
    corrector = RefurbishFlagged(num_classes=3, flagged_fraction=0.5, first_epoch=2, **settings)
    given = torch.from_numpy(np.stack([truth(), too_small()]))
    reports = []
    for _ in range(num_epochs):
        labels = corrector.labels(IDS, given)
        corrector.observe(IDS, labels, torch.stack([logits_of(truth())] * 2))
        reports.append(corrector.end_epoch(suspicion))
    return corrector.labels(IDS, given).numpy(), reports


def test_only_the_flagged_sample_is_refurbished():
    labels, reports = refurbished({"right": 0.1, "wrong": 0.9})
    assert np.array_equal(labels[1], truth())
    assert [report.due for report in reports][:2] == [(), ("wrong",)]
    assert sum(report.changes.num_changed for report in reports) == 50


def test_what_is_not_flagged_stays_however_confident_the_model_is():
    labels, _ = refurbished({"right": 0.9, "wrong": 0.1})
    assert np.array_equal(labels[1], too_small())


def test_unknown_scores_flag_nothing():
    labels, reports = refurbished({"right": float("nan"), "wrong": float("nan")})
    assert np.array_equal(labels[1], too_small())
    assert not any(report.due for report in reports)


def test_labels_of_whole_images_are_refurbished_too():
    corrector = RefurbishFlagged(3, flagged_fraction=0.5, first_epoch=1)
    given = torch.tensor([0, 2])
    logits = torch.tensor([[5.0, 0.0, 0.0], [0.0, 9.0, 0.0]])
    corrector.end_epoch({"right": 0.0, "wrong": 1.0})
    corrector.observe(IDS, given, logits)
    assert corrector.labels(IDS, given).tolist() == [0, 1]


def test_flags_stay_where_they_were_set():
    corrector = RefurbishFlagged(3, flagged_fraction=0.5, first_epoch=1)
    assert corrector.end_epoch({"right": 0.1, "wrong": 0.9}).due == ("wrong",)
    assert corrector.end_epoch({"right": 0.9, "wrong": 0.1}).due == ("wrong",)


def test_as_many_are_flagged_as_have_losses_of_their_own():
    losses = {f"{n:02d}": 0.1 * float(np.exp(0.2 * np.sin(n))) for n in range(30)}
    losses |= {f"w{n}": 2.0 + 0.01 * n for n in range(6)}
    corrector = RefurbishFlagged(3, first_epoch=1)
    report = corrector.end_epoch(losses)
    assert report.due == tuple(f"w{n}" for n in range(6))
    assert "16.7% of the losses form a group apart" in report.flagging
    # What was mended does not fall out, and what shows late joins.
    later = losses | {"w0": 0.1, "00": 2.0}
    assert corrector.end_epoch(later).due == ("00", *report.due)
    alike = {f"{n:02d}": float(np.exp(0.1 * np.sin(n))) for n in range(30)}
    assert RefurbishFlagged(3, first_epoch=1).end_epoch(alike).due == ()


def test_of_samples_without_a_score_none_counts_among_those_that_the_share_is_of():
    losses = {f"r{n:02}": 0.1 * float(np.exp(0.2 * np.sin(n))) for n in range(30)}
    losses |= {f"w{n}": 2.0 + 0.01 * n for n in range(6)}
    unknown = {f"u{n:02}": float("nan") for n in range(36)}
    for share in ("auto", 6 / 36 + 1e-9):
        corrector = RefurbishFlagged(3, share, first_epoch=1)
        assert corrector.end_epoch(losses | unknown).due == tuple(f"w{n}" for n in range(6))


def surely(mask, confidence):
    """Logits that give each pixel's class a probability."""
    p = np.full((3, *mask.shape), (1 - confidence) / 2)
    np.put_along_axis(p, mask[None], confidence, axis=0)
    return torch.from_numpy(np.log(p)).float()


@pytest.mark.parametrize("settings", [{"prediction_decay": 0.0}, {}])
def test_one_odd_epoch_does_not_change_labels_that_the_others_agree_with(settings):
    corrector = EarlyLearningCorrection(3, **settings)
    given = torch.from_numpy(np.stack([truth(), too_small()]))
    odd = truth()
    odd[5:9] = 0
    is_due = False
    for epoch in range(1, 13):
        share = curve(np.array([float(epoch)]), 1.0, 1.0, 2.0)[0]
        seen = truth()
        seen[5 + round(10 * share) : 15] = 0
        shown = odd if is_due else seen
        corrector.observe(IDS, corrector.labels(IDS, given), surely(shown, 0.9).repeat(2, 1, 1, 1))
        is_due = bool(corrector.end_epoch().due)
    changed = not np.array_equal(corrector.labels(IDS, given).numpy()[0], truth())
    assert changed == bool(settings)


def test_a_decay_outside_its_range_is_refused():
    with pytest.raises(ValueError, match="prediction_decay"):
        EarlyLearningCorrection(3, prediction_decay=1.0)


@pytest.mark.parametrize("num_before", [0, 1])
def test_corrections_wait_for_means_of_some_epochs_after_a_resume(num_before):
    """Also where a class was due already when it was interrupted."""
    _, reports = train(EarlyLearningCorrection(3), 12)
    due_at = next(report.epoch for report in reports if report.due)
    stopped_at = due_at - num_before
    corrector = EarlyLearningCorrection(3)
    train(corrector, stopped_at)
    again = EarlyLearningCorrection(3)
    again.restore(corrector.state())
    _, reports = train(again, 8)
    first_due = next(report.epoch for report in reports if report.due)
    assert first_due == stopped_at + 3
    changed = [report.epoch for report in reports if report.changes.num_changed]
    assert changed
    assert min(changed) > first_due


@pytest.mark.parametrize("agreeing", [0.2, 0.9])
def test_a_class_that_the_model_hardly_agrees_with_is_named_when_it_is_due(agreeing):
    corrector = EarlyLearningCorrection(3)
    given, unlearnt = torch.from_numpy(truth())[None], []
    for epoch in range(1, 16):
        seen = np.zeros((SIZE, SIZE), np.int64)
        rows = 10 * agreeing * curve(np.array([float(epoch)]), 1.0, 1.0, 2.0)[0]
        seen[5 : 5 + round(rows), 5:15] = 1
        corrector.observe(IDS[:1], given, logits_of(seen)[None])
        report = corrector.end_epoch()
        unlearnt += report.unlearnt
        said = "hardly agrees with the labels of b" in describe(report, "abc", is_last=False)
        assert said == bool(report.unlearnt)
    assert set(unlearnt) == ({1} if agreeing < 0.5 else set())
