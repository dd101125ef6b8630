"""What a correction says of the labels that are wrong before it and after it."""

from dataclasses import replace

import pytest

from ray_audit.corrections.correct import correct
from ray_audit.corrections.options import CorrectionOptions
from ray_audit.corrections.wrong_labels import wrong_labels
from ray_audit.engine.backends.local import LocalBackend
from ray_audit.engine.run.fold_run import run_folds
from ray_audit.tables.run_tables import RunTables
from ray_audit.training.fold_models import held_out_parts
from tests.functional.engine.test_adaptive import adaptive, prepared
from tests.functional.training.test_fold_models import trained_folds
from tests.support import knowing
from tests.support.audits import audit
from tests.support.corrected import corrected


def audited(folder, protocol="training", **options):
    small, *_ = knowing.images(folder, **options)
    small.values["protocol"] = protocol
    audit(small)
    return small


def test_a_held_out_audit_gives_a_number_that_is_true(tmp_path):
    small = audited(tmp_path, "held_out")  # 2 of 12 labels are wrong, and both are mended
    wrong = corrected(small, dry_run=True).wrong
    assert wrong.before == pytest.approx(2 / 12, rel=0.2)
    assert wrong.afterwards < 0.01
    assert wrong.low <= wrong.afterwards <= wrong.high
    assert f"about {wrong.before:.1%} now" in wrong.sentence
    assert "lower bound" not in wrong.sentence


def test_checkpoints_that_were_trained_on_the_labels_give_a_lower_bound(tmp_path):
    wrong = corrected(audited(tmp_path), dry_run=True).wrong
    assert wrong.is_lower_bound
    assert (wrong.low, wrong.high) == (None, None)
    assert wrong.before == pytest.approx(2 / 12, rel=0.2)
    assert f"{wrong.before:.1%} are counted now" in wrong.sentence
    assert "as a lower bound" in wrong.sentence
    assert "--folds" in wrong.sentence


def test_the_share_after_an_adaptive_audit_is_that_of_all_samples(tmp_path):
    outcome = adaptive(prepared("class_folders", tmp_path), "adaptive")
    tables = RunTables(outcome.run_uri, outcome.manifest)
    rows = tables.whole("class_stats").to_pylist()
    num_passed = [sum(r["num_given"] for r in rows if r["checkpoint"] == n) for n in (0, 5)]
    assert num_passed[0] < num_passed[1] == 12
    wrong = wrong_labels(tables, 0, 0.0)
    assert wrong.before == pytest.approx(tables.manifest.estimate["fraction"])


def test_pixels_count_each(tmp_path):
    wrong = corrected(knowing.masks(tmp_path), dry_run=True).wrong
    num_wrong = sum((knowing.true_mask(i) == 1)[:-1].sum() for i in (1, 4))
    assert wrong.before == pytest.approx(num_wrong / (6 * 23 * 24), rel=0.2)
    assert wrong.afterwards < wrong.before / 10


@pytest.mark.parametrize(("verdict", "said"), [("early", "learnt wrong"), ("final", "hardly tell")])
def test_the_verdict_says_why_it_is_too_low(tmp_path, verdict, said):
    tables = RunTables.open(str(audited(tmp_path).out))
    memorisation = {**tables.manifest.memorisation, "verdict": verdict}
    manifest = replace(tables.manifest, memorisation=memorisation)
    assert said in wrong_labels(replace(tables, manifest=manifest), 2, 0.1).sentence


def test_what_is_harmed_is_wrong_afterwards(tmp_path):
    tables = RunTables.open(str(audited(tmp_path).out))
    before = wrong_labels(tables, 0, 0.0).before
    assert wrong_labels(tables, 0, 0.0).afterwards == before
    assert wrong_labels(tables, 2, 1.0).afterwards == pytest.approx(before)
    assert wrong_labels(tables, 6, 1.0).afterwards == pytest.approx(1 / 12)  # mended more than seen


def test_a_run_without_an_estimate_gives_none(tmp_path):
    small = audited(tmp_path)
    tables = RunTables.open(str(small.out))
    bare = replace(tables, manifest=replace(tables.manifest, estimate={}))
    options = CorrectionOptions()
    done = correct(bare, LocalBackend, str(small.folder / "to"), options, dry_run=True)
    assert done.wrong is None


def test_folds_give_a_number_within_a_fifth_of_the_truth(tmp_path):
    small, *_ = knowing.images(tmp_path, num=30)  # 2 of them are wrong
    trained_folds(small, epochs=4, learning_rate=0.3, schedule="constant")
    config = small.config()
    run_folds(config, held_out_parts(config), local=True)
    wrong = corrected(small, dry_run=True).wrong
    assert not wrong.is_lower_bound
    assert wrong.before == pytest.approx(2 / 30, rel=0.2)
    assert wrong.low <= wrong.afterwards < 0.02
