"""What a person reads after labels were corrected or exported."""

import io

import pytest
from rich.console import Console

from ray_audit.console.labels import print_correction, print_export

DONE = {
    "labels": "frames",
    "run_id": "2026-01-01-abc",
    "rule": "findings",
    "confidence": 0.8,
    "segment_confidence": 0.6,
    "num_changed": 3,
    "pairs": [{"given": "cut", "corrected": "[clip]", "num": 3}],
    "num_harmed": 0.25,
    "outcomes": {"changed": 1},
    "named": {},
    "ignored_decisions": (),
    "notes": (),
    "wrong": None,
    "spec": None,
    "table": None,
}


def shown(printer, done):
    console = Console(file=io.StringIO(), width=200)
    printer(done, console)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("changes", "gates"),
    [
        ({}, "confidence above 0.8 (of whole segments 0.6):"),
        ({"segment_confidence": None}, "confidence above 0.8:"),
        ({"labels": "dense"}, "confidence above 0.8:"),
        ({"rule": "flagged"}, "confidence above 0.8:"),
    ],
)
def test_the_gates_that_held_are_told(changes, gates):
    assert gates in shown(print_correction, DONE | changes)


def test_a_dry_run_says_that_nothing_was_written():
    text = shown(print_correction, DONE)
    assert "Would change 3 frames" in text
    assert "cut -> [clip]  3" in text  # a class name is no markup
    assert "nothing was written" in text


def test_what_is_wrong_afterwards_is_told_where_it_is_known():
    assert "Wrong labels" not in shown(print_correction, DONE)
    known = DONE | {"wrong": {"sentence": "Wrong labels: at least 5.0% now"}}
    assert "Wrong labels: at least 5.0% now." in shown(print_correction, known)


def test_what_was_written_is_told_with_what_to_type_next():
    text = shown(print_correction, DONE | {"spec": "to here/spec.yaml", "table": "t"})
    assert "Changed 3 frames" in text
    assert "ray-audit train 'to here/spec.yaml' --to 'to here/model'" in text


def test_many_files_of_an_export_are_cut_short():
    done = {"run_id": "r", "format": "csv", "num_findings": 2, "to": "out/", "notes": ()}
    text = shown(print_export, done | {"files": [f"{i}.csv" for i in range(13)]})
    assert "out/9.csv" in text
    assert "out/10.csv" not in text
    assert "and 3 more" in text


@pytest.mark.parametrize("is_lower_bound", [True, False])
def test_where_nothing_changes_it_is_told_what_to_do(is_lower_bound):
    wrong = {"sentence": "Wrong labels: 1.4%", "is_lower_bound": is_lower_bound}
    nothing = DONE | {"num_changed": 0, "pairs": [], "outcomes": {"kept": 23}, "wrong": wrong}
    text = shown(print_correction, nothing)
    assert "No finding is sure enough" in text
    assert ("ray-audit train --folds" in text) == is_lower_bound
    assert "No finding is sure enough" not in shown(print_correction, DONE | {"wrong": wrong})
