"""The default where a run says that its checkpoints err more often than the labels do."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from ray_audit.corrections.correct import correct
from ray_audit.corrections.options import CorrectionOptions
from ray_audit.engine.backends.local import LocalBackend
from ray_audit.tables.run_tables import RunTables
from tests.functional.training import test_poor_sets as poor
from tests.support import knowing
from tests.support.corrected import corrected, decided, findings_of

MASKS_AND_IMAGES = pytest.mark.parametrize(
    "make", [knowing.masks, lambda folder: knowing.images(folder, sureness=(1.5,) * 3)[0]]
)


def corrected_as(small, accuracy, wrong, to="to", decisions=(), **requested):
    """Correct as if the run had found this accuracy on the labels, and this share of wrong ones."""
    tables = RunTables.open(str(small.out))
    manifest = replace(
        tables.manifest,
        memorisation={**tables.manifest.memorisation, "train_accuracy": accuracy},
        estimate={**tables.manifest.estimate, "fraction": wrong},
    )
    options = CorrectionOptions(**requested)
    to_uri = str(small.folder / to)
    return correct(replace(tables, manifest=manifest), LocalBackend, to_uri, options, decisions)


@MASKS_AND_IMAGES
def test_labels_stay_where_checkpoints_err_more_often_than_they_do(tmp_path, make):
    small = make(tmp_path)
    findings_of(small)
    done = corrected_as(small, accuracy=0.8, wrong=0.05)
    assert (done.num_changed, done.outcomes.keys()) == (0, {"kept"})
    assert any("it errs more often than they do" in note for note in done.notes)


@MASKS_AND_IMAGES
@pytest.mark.parametrize(
    ("accuracy", "requested"), [(0.8, {"rule": "findings"}), (0.8, {"confidence": 0.8}), (0.92, {})]
)
def test_labels_change_where_told_to_or_where_checkpoints_are_better(
    tmp_path, make, accuracy, requested
):
    small = make(tmp_path)
    findings_of(small)
    assert corrected_as(small, accuracy, wrong=0.05, **requested).num_changed > 0


def test_of_checkpoints_that_never_saw_the_labels_and_are_worse_the_low_end_counts(tmp_path):
    small, *_ = knowing.images(tmp_path, sureness=(1.5,) * 3)
    findings_of(small)
    tables = RunTables.open(str(small.out))
    # Of four in ten that they disagree with; with 0.21 they err at least as often as half of these.
    for wrong, low, num in ((0.1, 0.1, 0), (0.21, 0.0, 0), (0.35, 0.0, 2), (0.21, 1.0, 2)):
        manifest = replace(tables.manifest, protocol="held_out")
        held_out = replace(tables, manifest=manifest)
        found = replace(
            held_out.manifest,
            memorisation={**manifest.memorisation, "train_accuracy": 0.6},
            estimate={**manifest.estimate, "fraction": wrong, "num_wrong": 12 * wrong, "low": low},
        )
        to_uri = str(small.folder / f"to{wrong}{low}")
        made = replace(held_out, manifest=found)
        assert correct(made, LocalBackend, to_uri, CorrectionOptions(), ()).num_changed == num


def test_a_label_changes_where_it_is_more_probably_wrong_than_right(tmp_path):
    small, *_ = knowing.images(tmp_path, sureness=(1.5,) * 3)
    findings_of(small)
    # e^1.5 = 4.48 times as probable, and w / (1 - w) times as often.
    assert corrected_as(small, 0.4, wrong=0.17, to="few").num_changed == 0
    assert corrected_as(small, 0.4, wrong=0.19, to="many").num_changed == 2


def test_what_a_reviewer_accepted_changes_nevertheless(tmp_path):
    small = knowing.masks(tmp_path)
    first, *others = findings_of(small)
    done = corrected_as(small, 0.8, 0.05, decisions=[decided(first)])
    assert done.outcomes == {"changed": 1, "kept": len(others)}


def test_whole_segments_change_and_boundaries_wait(tmp_path):
    small = knowing.videos(tmp_path)
    findings_of(small)
    done = corrected_as(small, accuracy=0.8, wrong=0.05)
    assert done.pairs == [{"given": "c", "corrected": "a", "num": 8}]
    assert any("boundaries stay" in note for note in done.notes)


def test_of_two_classes_what_was_learnt_late_is_no_proof_that_it_is_wrong(tmp_path):
    # Of a red, b blue, but for one that is green.
    small = poor.images(tmp_path, [0, 1] * 12, [0, 1, *[0, 2] * 11])
    small.values["dataset"]["classes"] = ["a", "b"]
    small.values["model"]["kwargs"] = {"num_classes": 2}
    # Four checkpoints see green as a, with .71, the last one has learnt it.
    for epoch, of_green in enumerate([0.45] * 4 + [-3.0]):
        of_a = torch.tensor([3.0, of_green, -3.0])
        state = {"head.weight": torch.stack([of_a, -of_a]), "head.bias": torch.zeros(2)}
        path = tmp_path / f"checkpoints/epoch_{epoch}.safetensors"
        save_file(state | {"trap": torch.zeros(())}, path)
    (finding,) = findings_of(small)
    assert (finding["given"], finding["suggested"]) == ("b", "a")
    assert RunTables.open(str(small.out)).manifest.memorisation["verdict"] == "early"
    done = corrected(small)
    assert (done.num_changed, done.outcomes) == (0, {"kept": 1})
