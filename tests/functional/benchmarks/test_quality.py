import json

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks.quality.case import Training, class_weights, folds
from benchmarks.quality.frames import pose_case
from benchmarks.quality.masks import phantom_case
from benchmarks.quality.measure import measure
from benchmarks.quality.models import frame_mlp, sequence_transformer
from benchmarks.quality.page import page
from benchmarks.quality.ranking import kept_rows, merged, result
from benchmarks.quality.ranking_page import section
from benchmarks.quality.recipes import DENSE, HELD_OUT, RECIPES, TRAINING, Recipe
from benchmarks.quality.regimes import FITTED, SUBJECTS, looked_at, recipe
from benchmarks.quality.results import read, record
from benchmarks.quality.rivals import pixel_detection
from benchmarks.quality.targets import TARGETS, Number, Target
from ray_audit.measures.fit import RULE

torch.set_num_threads(1)


def tiny(protocol, num_folds):
    def make(data, folder, seed):
        return phantom_case(
            folder, seed, rate=0.25, num_images=24, size_px=32, num_folds=num_folds, width=4
        )

    training = Training(2, 3e-3, 8, is_flipped=True, is_weighted=True)
    return Recipe(
        "phantoms-20-training", "phantoms", DENSE, protocol, "24 of 32 px", make, training
    )


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quality")
    recipe = tiny(TRAINING, 0)
    first = measure(recipe, 0, folder, folder)
    again = measure(recipe, 0, folder, folder)
    results = folder / "results"
    record(results, recipe, 0, first)
    record(results, recipe, 1, again)
    return first, again, results


def test_the_pipeline_gives_every_score_and_rival_for_every_sample(found):
    first, _, _ = found
    overall = {row.score: row for row in first.detections if row.kind == "all"}
    expected = {"csl", "softmin", "softmin_interior", "vog", "suspicion", "cleanlab_softmin"}
    assert expected <= set(overall)
    assert {row.num_errors for row in overall.values()} == {6}
    assert len(first.samples) == first.samples["sample_id"].nunique() == 24


def test_our_soft_minimum_ranks_as_cleanlabs(found):
    samples = found[0].samples
    assert samples["softmin"].to_numpy() == pytest.approx(samples["cleanlab_softmin"], abs=1e-4)


def test_a_second_run_keeps_the_training_and_gives_the_same(found):
    first, again, _ = found
    pd.testing.assert_frame_equal(first.samples, again.samples)
    assert again.extras["train_s"] < first.extras["train_s"]


def test_the_result_file_summarises_the_seeds(found):
    entry = read(found[2])["phantoms-20-training"]
    csl = [entry["seeds"][seed]["scores"]["csl"]["kinds"]["all"]["auroc"] for seed in "01"]
    assert entry["summary"]["csl"]["all"]["auroc"]["mean"] == pytest.approx(np.mean(csl), abs=1e-4)
    assert json.loads(next(found[2].glob("*.json")).read_text())["set"] == "phantoms"


def test_the_page_has_a_row_a_score_and_names_what_was_not_run(found):
    text = page(read(found[2]), "## The default ranking", "## What was learnt\n\nNothing.")
    for part in ("## Masks", "| `csl` |", "| `cleanlab_softmin` |", "## Targets", "not yet run"):
        assert part in text
    assert "## The default ranking" in text
    assert "`cifar10n-C2` (seed 0, 1)" in text
    assert f"wrong. `suspicion` by rule {RULE}. Training" in text


def test_a_recipe_of_which_a_seed_is_older_names_no_rule(found):
    entries = read(found[2])
    for seed in list(entries["phantoms-20-training"]["seeds"].values())[:1]:
        del seed["rule"]
    assert "by rule" not in page(entries, "", "## What was learnt")


def put_run(work, seed, csl):
    folder = work / f"digits-fitted-training/seed{seed}"
    folder.mkdir(parents=True)
    samples = pd.DataFrame({"sample_id": list("abcd"), "is_error": [True, False, False, False]})
    samples["csl"], samples["suspicion"] = csl, [2.0, 1.0, 3.0, 0.0]
    samples["cleanlab_self_confidence"] = [0.1, 0.4, 0.3, 0.2]
    samples.to_parquet(folder / "samples.parquet")
    directions = {"csl": "higher", "suspicion": "higher", "cleanlab_self_confidence": "lower"}
    (folder / "directions.json").write_text(json.dumps(directions))


def test_the_ranking_is_held_to_the_best_score_and_to_rivals(tmp_path):
    for seed, csl in ((10, [3.0, 1.0, 2.0, 0.0]), (11, [3.0, 1.0, 4.0, 0.0])):
        put_run(tmp_path / "work", seed, csl)
    content = result(tmp_path / "work", [])
    (row,), (cell,) = content["rows"], content["cells"]
    assert row["auprc"] == {"csl": 0.75, "suspicion": 0.5, "cleanlab_self_confidence": 1.0}
    assert row["seeds"] == [10, 11]
    assert cell["against"] == row["against"]
    path = tmp_path / "quality-regimes.json"
    path.write_text(json.dumps(content))
    text = section(path)
    assert "| digits | fitted | training | 10, 11 | **0.500** | `csl` 0.750 | -0.250 (" in text
    assert "| classes | fitted | training | digits (2) | **0.500** | `csl` 0.750 | -0.250 (" in text
    assert "| `self_confidence` 1.000 | -0.500 (" in text
    assert "**Held in 0 of 1 cells**" in text
    assert "**Held in 0 of 1 rows**" in text
    assert "Of the 1 rows with intervals 0 hold" in text
    assert "1 earlier" not in text
    assert read(tmp_path) == {}


def test_seeds_that_the_rule_was_chosen_on_are_not_shown(tmp_path):
    for seed in (1, 24):
        put_run(tmp_path, seed, [3.0, 1.0, 2.0, 0.0])
    assert [item.row["seeds"] for item in kept_rows(tmp_path)] == [[24]]
    assert 11 in looked_at(DENSE, "fitted", HELD_OUT)
    assert 13 not in looked_at(DENSE, "barely", TRAINING)
    assert 13 in looked_at(DENSE, "barely", HELD_OUT)


def test_a_row_without_samples_keeps_its_cell_without_an_interval(tmp_path):
    put_run(tmp_path, 24, [3.0, 1.0, 2.0, 0.0])
    (kept,) = kept_rows(tmp_path)
    earlier = kept.row | {"set": "cifar", "num_seeds": 2}
    del earlier["seeds"], earlier["against"]
    content = result(tmp_path, [earlier])
    assert [row["set"] for row in content["rows"]] == ["cifar", "digits"]
    assert "against" not in content["cells"][0]
    path = tmp_path / "quality-regimes.json"
    path.write_text(json.dumps(content))
    text = section(path)
    assert "| cifar | fitted | training | 2 earlier | **0.500** |" in text
    assert "*Earlier*: measured by the rule of then" in text


def test_a_row_is_replaced_by_as_many_seeds_only():
    def row(regime, num_seeds, value):
        place = {"set": "digits", "regime": regime, "protocol": "training"}
        return place | {"num_seeds": num_seeds, "value": value}

    earlier = [row("memorised", 2, "old"), row("barely", 2, "old")]
    now = [row("fitted", 1, "new"), row("barely", 2, "new"), row("memorised", 1, "new")]
    kept = [(found["regime"], found["value"]) for found in merged(earlier, now)]
    assert kept == [("barely", "new"), ("fitted", "new"), ("memorised", "old")]


@pytest.mark.parametrize("subject", ["phantoms", "slices", "actions"])
@pytest.mark.parametrize("is_held_out", [False, True])
def test_a_set_of_the_matrix_trains_on_all_or_on_the_other_half(tmp_path, subject, is_held_out):
    made = recipe(SUBJECTS[subject], FITTED, HELD_OUT if is_held_out else TRAINING)
    case = made.make(tmp_path, tmp_path, 0)
    (part,) = case.parts
    shared = set(part.trained.tolist()) & set(part.audited.tolist())
    assert bool(shared) != is_held_out
    wrong = [row["is_error"] for row in case.truth.to_pylist()]
    assert 0 < sum(wrong) < len(wrong)


def test_folds_audit_every_item_once_by_a_model_that_never_saw_it(tmp_path):
    found = measure(tiny(HELD_OUT, 2), 0, tmp_path, tmp_path)
    assert found.samples["sample_id"].is_unique
    assert len(found.samples) == 24
    for trained, audited in folds(10, 3, 0):
        assert sorted([*trained, *audited]) == list(range(10))


def test_sequences_are_standardised_padded_and_audited(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {}
    for i in range(6):
        labels = np.repeat(np.arange(9), 4 + i)
        arrays[f"{i:04d}"] = rng.normal(labels[:, None, None], 0.3, (len(labels), 2, 2))
        arrays[f"{i:04d}_label"] = labels
        arrays[f"{i:04d}_frame"] = np.arange(len(labels))
    (tmp_path / "golf_poses").mkdir()
    np.savez(tmp_path / "golf_poses/sequences.npz", **arrays)

    def make(data, folder, seed):
        factory = "ray_audit.training.models:tcn"
        return pose_case(data, folder, seed, factory=factory, is_held_out=False)

    recipe = Recipe("p", "golf_poses", "sequences", TRAINING, "", make, Training(2, 1e-3, 4))
    found = measure(recipe, 0, tmp_path, tmp_path)
    assert len(found.samples) == sum(len(arrays[f"{i:04d}_label"]) for i in range(6))
    assert {"order_nll", "cleanlab_self_confidence"} <= set(found.directions)


@pytest.mark.parametrize("factory", [frame_mlp, sequence_transformer])
def test_models_answer_a_row_a_frame(factory):
    assert factory(9, 12)(torch.zeros(2, 7, 12)).shape == (2, 7, 9)


def test_rare_classes_weigh_more():
    case = phantom_case_of_one_class_ratio()
    weights = class_weights(case, np.arange(2))
    assert weights[:2] == pytest.approx([2 / 3, 4 / 3])
    assert weights[2] == 0


def phantom_case_of_one_class_ratio():
    class Two:
        num_classes = 3
        targets = (torch.tensor([0, 0, 0, 0]), torch.tensor([1]))

    return Two()


def test_pixels_of_low_probability_are_the_wrong_ones():
    pred_probs = np.array([[[[0.9, 0.2]], [[0.1, 0.8]]]])
    labels, true = np.array([[[0, 0]]]), np.array([[[0, 1]]])
    assert pixel_detection(pred_probs, labels, true)["pixel_final_loss_auroc"] == 1


def test_targets_name_recipes_that_exist_and_say_what_they_ask():
    assert {target.recipe for target in TARGETS} <= set(RECIPES)
    entry = {"summary": {"csl": {"all": {"auroc": {"mean": 0.9}}}}, "seeds": {}}
    target = Target("x", Number("csl"), 0.85)
    assert target.measured({"x": entry}) == 0.9
    assert target.is_met(0.8496)
    assert not target.is_met(0.8494)
    assert target.text == "`csl` AUROC at least 0.85"
