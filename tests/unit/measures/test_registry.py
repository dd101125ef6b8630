import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ray_audit.errors import MeasureError
from ray_audit.measures import (
    DENSE,
    ROWS,
    DatasetQuantity,
    Family,
    Kind,
    Quantity,
    fit,
    measures,
    score,
)
from ray_audit.measures.base import total
from ray_audit.measures.registry import OURS, Measures, collected
from ray_audit.task import Task

MASKS, FRAMES = Kind(Task.DENSE), Kind(Task.FRAMES)


def mean_of(values):
    return values.mean(axis=1)


def sharpness(**changes):
    return score("sharpness", mean_of, "mean sharpness", "sharpness", "nat", "higher", **changes)


SHARPNESS = Family("Sharpness", (Quantity("sharpness", "sum of p squared"),), (sharpness(),))


def with_theirs(*families):
    return collected((f"package {i}", family) for i, family in enumerate(families))


def test_a_family_from_outside_stands_before_the_ranking():
    names = [column.name for column in with_theirs(SHARPNESS).columns(MASKS)]
    assert names[-2:] == ["sharpness", "suspicion"]
    assert names[:3] == ["sample_id", "shard", "frame_index"]


def test_names_that_are_declared_twice_are_refused_with_both_places():
    again = Family("Loss", (Quantity("loss", "another"),))
    with pytest.raises(MeasureError, match=r"quantity loss is declared twice.*package 0"):
        with_theirs(again)
    with pytest.raises(MeasureError, match=r"sharpness is declared twice.*package 0.*package 1"):
        with_theirs(SHARPNESS, Family("Again", scores=(sharpness(tasks=DENSE),)))
    label = Family("Label", scores=(score("label", mean_of, "a label", "loss", "1"),))
    with pytest.raises(MeasureError, match="column label is declared twice, by the table"):
        with_theirs(label)


@pytest.mark.parametrize("need", ["sharpnes", "score.suspicion", "sample.weather", "dataset.mean"])
def test_a_score_that_needs_what_nobody_declares_is_named(need):
    unknown = score("mine", mean_of, "mine", need, "1")
    with pytest.raises(MeasureError, match=f"package 0: score mine .*needs '{need}'"):
        with_theirs(Family("Mine", scores=(unknown,)))


@pytest.mark.parametrize("need", ["score.vog_z", "dataset.ranks", "probe_s"])
def test_what_is_known_of_a_dataset_stands_on_what_is_known_of_a_unit(need):
    state = DatasetQuantity("mine", "mine", (need,), mean_of, max)
    with pytest.raises(MeasureError, match=f"package 0: dataset mine .*needs '{need}'"):
        with_theirs(Family("Mine", dataset=(state,)))


def test_a_dataset_has_one_quantity_of_a_name_for_each_kind_of_labels():
    state = DatasetQuantity("noise", "mine", ("loss",), mean_of, max, tasks=DENSE)
    assert with_theirs(Family("Mine", dataset=(state,)))
    with pytest.raises(MeasureError, match=r"dataset noise \(class\) is declared twice.*package 0"):
        with_theirs(Family("Mine", dataset=(replace(state, tasks=ROWS),)))


def test_states_of_units_are_merged_from_the_first_or_from_an_empty_one():
    largest = DatasetQuantity("mine", "mine", ("loss",), mean_of, max)
    assert largest.merged(None, None) is None
    assert largest.merged(None, -2) == largest.merged(-2, None) == -2
    assert largest.merged(-2, 3) == 3
    assert replace(largest, empty=0).merged(None, -2) == 0


def test_a_score_of_labels_that_its_quantity_does_not_have_is_named():
    everywhere = score("mine", mean_of, "mine", "other", "1")
    with pytest.raises(MeasureError, match=r"score mine of class/clips/dense/frames labels needs"):
        with_theirs(Family("Mine", scores=(everywhere,)))
    assert with_theirs(Family("Mine", scores=(replace(everywhere, tasks=ROWS),)))


def test_pieces_lie_along_something_that_is_declared():
    lost = Quantity("mine", "pieces", axis="pieces", merge=None, along="nowhere")
    with pytest.raises(MeasureError, match="mine lies along an undeclared nowhere"):
        with_theirs(Family("Mine", (lost,)))


def test_words_that_mean_nothing_are_refused_where_they_stand():
    with pytest.raises(MeasureError, match="mine: when is 'always'; expected one of each, turn"):
        Quantity("mine", "x", when="always")
    with pytest.raises(MeasureError, match="mine: family is 'acme'; expected one of , csl, vog"):
        score("mine", mean_of, "x", "loss", "1", family="acme")
    with pytest.raises(MeasureError, match=r"mine is observed by a:b, .* expected axis 'rows'"):
        Quantity("mine", "x", axis="batch", observe="a:b")


@pytest.mark.parametrize("task", list(Task))
def test_what_is_computed_must_be_what_is_declared(task):
    declared = collected()
    names = declared.of(task, "each", "last")
    declared.check_observed(names, task, "each", "last")
    with pytest.raises(MeasureError, match="loss declared and not computed"):
        declared.check_observed(names - {"loss"}, task, "each", "last")
    with pytest.raises(MeasureError, match="sharpness computed and not declared"):
        declared.check_observed(names | {"sharpness"}, task, "each", "last")


def test_each_family_file_declares_a_family():
    folder = Path(OURS[0].__file__).parent
    machinery = {"__init__", "base", "fit", "registry", "ranking", "page", "versions"}
    found = {path.stem for path in folder.glob("*.py")} - machinery
    assert found == {module.__name__.rpartition(".")[2] for module in OURS}


def test_columns_follow_the_kind_of_labels_and_the_families_asked_for():
    all_of_masks = {column.name for column in measures().columns(MASKS)}
    assert {"softmin", "vog_by_class", "void_evidence"} <= all_of_masks
    assert "csl_segment" not in all_of_masks
    cheap = {c.name for c in measures().columns(Kind(Task.DENSE, frozenset(("vog",))))}
    assert {"csl", "early_loss", "num_labelled_px", "vog"} <= cheap
    assert not {"softmin", "clc"} & cheap
    of_frames = {column.name for column in measures().columns(FRAMES)}
    assert {"order_nll", "boundary_shift"} <= of_frames
    assert "softmin" not in of_frames


def test_the_spread_of_the_logits_gradient_has_no_direction():
    def direction(target):
        columns = measures().columns(Kind(Task.CLASS, target=target))
        return next(column.direction for column in columns if column.name == "vog_z")

    assert (direction("loss"), direction("logit")) == ("higher", "none")


def changed(declared, name, **changes):
    """The declarations with another form of one quantity or score."""
    families = []
    for origin, family in declared.families:
        quantities = [replace(q, **changes) if q.name == name else q for q in family.quantities]
        scores = [replace(s, **changes) if f"score.{s.name}" == name else s for s in family.scores]
        states = [
            replace(q, **changes) if f"dataset.{q.name}" == name else q for q in family.dataset
        ]
        family = Family(family.title, tuple(quantities), tuple(scores), tuple(states))
        families.append((origin, family))
    return Measures(tuple(families))


def test_a_quantitys_version_is_part_of_the_names_of_the_records_that_hold_it():
    ours = collected()
    raised = changed(ours, "void_sum", version=2)
    assert raised.record_identity(Task.DENSE) != ours.record_identity(Task.DENSE)
    assert raised.record_identity(Task.CLASS) == ours.record_identity(Task.CLASS)
    other_gap = changed(ours, "correct", gap=0.0)
    assert other_gap.record_identity(Task.CLASS) != ours.record_identity(Task.CLASS)


def test_a_scores_version_changes_the_runs_name_and_no_record():
    ours = collected()
    raised = changed(ours, "score.aum", version=2)
    for task in Task:
        assert raised.record_identity(task) == ours.record_identity(task)
        assert raised.score_identity(Kind(task)) != ours.score_identity(Kind(task))
        assert raised.ranking(task) == ours.ranking(task)
    assert with_theirs(SHARPNESS).score_identity(FRAMES) != ours.score_identity(FRAMES)


def test_a_version_of_the_dataset_changes_the_runs_name_and_no_record():
    ours = collected()
    raised = changed(ours, "dataset.order", version=2)
    assert raised.record_identity(Task.FRAMES) == ours.record_identity(Task.FRAMES)
    assert raised.score_identity(FRAMES) != ours.score_identity(FRAMES)
    assert raised.score_identity(MASKS) == ours.score_identity(MASKS)
    assert raised.behind(Task.FRAMES, "order_nll")["dataset.order"] == 2
    assert raised.versions()["dataset.order"] == 2


def test_prose_is_no_part_of_an_identity():
    ours = collected()
    column = replace(SHARPNESS.scores[0].columns[0], definition="said better", source="a book")
    better = Family(
        "Better", SHARPNESS.quantities, (replace(SHARPNESS.scores[0], columns=(column,)),)
    )
    assert with_theirs(better).score_identity(MASKS) == with_theirs(SHARPNESS).score_identity(MASKS)
    assert changed(ours, "loss", definition="x").record_identity(Task.CLASS) == (
        ours.record_identity(Task.CLASS)
    )


def test_the_ranking_is_another_where_a_score_under_it_is():
    raised = changed(collected(), "score.csl", version=2)
    assert raised.ranking(Task.FRAMES)["raised"] == {"score.csl": 2}
    assert raised.ranking(Task.CLASS)["raised"] == {}


def test_another_rule_of_weights_changes_the_runs_name_and_no_record(monkeypatch):
    ours = collected()
    before = {task: (ours.record_identity(task), ours.score_identity(Kind(task))) for task in Task}
    monkeypatch.setattr(fit, "RULE", fit.RULE + 1)
    for task, (of_records, of_scores) in before.items():
        assert ours.record_identity(task) == of_records
        assert ours.score_identity(Kind(task)) != of_scores
        assert ours.ranking(task)["rule"] == fit.RULE


def test_how_cuts_merge_is_part_of_a_runs_name_and_of_no_record():
    ours = collected()
    other = changed(ours, "correct", merge=total)
    assert other.record_identity(Task.CLASS) == ours.record_identity(Task.CLASS)
    assert other.score_identity(Kind(Task.CLASS)) != ours.score_identity(Kind(Task.CLASS))


def test_identities_are_the_same_in_every_process():
    code = (
        "from ray_audit.measures import *; from ray_audit.task import Task\n"
        "for task in Task: print(measures().identity(Kind(task)))"
    )
    said = []
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed}
        said.append(subprocess.check_output([sys.executable, "-c", code], env=environment))
    assert said[0] == said[1]
    for task in Task:
        assert measures().record_identity(task).encode() in said[0]
