"""Scores of other packages come in by the entry point group `ray_audit.measures`."""

import os
import subprocess
import sys

import pyarrow.compute as pc
import pytest

from ray_audit.engine.run.audit import run_audit
from ray_audit.errors import MeasureError, RunError
from ray_audit.measures import measures
from ray_audit.measures.page import listed
from ray_audit.probes.likelihood import outside_observers
from ray_audit.tables.manifest import Manifest
from tests.functional.measures.packages import NAMES, install
from tests.support import small_sets

DATE = "2026-01-31"


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder of installed packages."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    measures.cache_clear()
    outside_observers.cache_clear()
    yield folder
    measures.cache_clear()
    outside_observers.cache_clear()


def audited(small, **changes):
    outcome = run_audit(small.config(**changes), local=True, logical_date=DATE)
    return outcome, Manifest.read(outcome.run_uri).table(outcome.run_uri, "scores")


def test_a_score_of_a_package_is_a_column_with_its_direction_and_its_line_in_the_list(
    site, tmp_path
):
    install(site, "acme_scores", NAMES["score"], ["acme = acme_scores:SPREAD"])
    _, scores = audited(small_sets.class_folders(tmp_path))
    field = scores.schema.field("loss_range")
    assert field.metadata[b"direction"] == b"higher"
    assert field.metadata[b"unit"] == b"nat"
    spread = scores["loss_range"].to_numpy()
    assert (spread > 0).all()
    assert (spread >= scores["loss_max"].to_numpy() - scores["csl"].to_numpy()).all()
    assert "| `loss_range` | largest less least loss | nat | higher |  |" in listed(measures())


@pytest.mark.parametrize("kind", ["class_folders", "masked_images", "labelled_videos"])
def test_a_quantity_of_a_package_is_observed_on_the_device_and_merged_like_ours(
    site, tmp_path, kind
):
    install(site, "acme_sharpness", NAMES["quantity"], ["acme = acme_sharpness:FAMILY"])
    small = getattr(small_sets, kind)(tmp_path)
    _, scores = audited(small)
    sharpness = scores["mean_sharpness"].to_numpy()
    assert ((sharpness > 1 / 3 - 1e-6) & (sharpness < 1 + 1e-6)).all()
    _, early = audited(small, adaptive={"budget": 0.7, "first": 0.3})
    assert pc.count(early["mean_sharpness"]).as_py() == early.num_rows


@pytest.mark.parametrize("kind", ["class_folders", "masked_images"])
def test_a_quantity_of_a_package_that_is_of_the_whole_dataset_is_folded_over_its_units(
    site, tmp_path, kind
):
    install(site, "acme_dataset", NAMES["dataset"], ["acme = acme_dataset:FAMILY"])
    _, scores = audited(getattr(small_sets, kind)(tmp_path))
    csl = scores["csl"].to_numpy()
    assert scores["csl_above_mean"].to_numpy() == pytest.approx(csl - csl.mean())
    assert "| `mean_csl` | count and sum of csl |" in listed(measures())


def test_a_package_of_scores_changes_the_runs_name_and_reuses_the_records(site, tmp_path):
    small = small_sets.class_folders(tmp_path)
    before, _ = audited(small)
    install(site, "acme_scores", NAMES["score"], ["acme = acme_scores:SPREAD"])
    measures.cache_clear()
    after, _ = audited(small)
    assert after.run_id != before.run_id
    named = "package acme_scores 1.2 (entry point acme = acme_scores:SPREAD)"
    assert after.manifest.measures["packages"] == [named]
    assert after.manifest.plan["num_new"] == 0


def test_a_package_of_quantities_makes_records_anew(site, tmp_path):
    small = small_sets.class_folders(tmp_path)
    before, _ = audited(small)
    install(site, "acme_sharpness", NAMES["quantity"], ["acme = acme_sharpness:FAMILY"])
    measures.cache_clear()
    outside_observers.cache_clear()
    after, scores = audited(small)
    assert after.manifest.plan["num_new"] == before.manifest.plan["num_new"] > 0
    assert scores["mean_sharpness"].null_count == 0


def test_an_entry_point_that_fails_to_import_is_named_with_its_package(site):
    install(site, "acme_broken", "import nowhere_to_be_found", ["acme = acme_broken:FAMILY"])
    with pytest.raises(MeasureError, match=r"acme_broken 1\.2 .*= acme_broken:FAMILY.*nowhere"):
        measures()


def test_an_entry_point_to_something_unknown_is_named_with_its_package(site):
    install(site, "acme_unknown", NAMES["score"], ["acme = acme_unknown:SPRED"])
    with pytest.raises(MeasureError, match=r"acme_unknown 1\.2 .*acme_unknown:SPRED.*SPRED"):
        measures()


def test_an_entry_point_to_no_measure_is_named_with_its_package(site):
    install(site, "acme_number", "NUMBER = 3", ["acme = acme_number:NUMBER"])
    with pytest.raises(MeasureError, match=r"acme_number 1\.2 .*is a int; expected a .*Family"):
        measures()


def test_two_entry_points_of_one_name_are_refused_with_both_packages(site):
    for package in ("acme_one", "acme_two"):
        install(site, package, NAMES["score"], [f"acme = {package}:SPREAD"])
    with pytest.raises(MeasureError, match=r"acme is declared twice.*acme_one 1\.2.*acme_two 1\.2"):
        measures()


def test_two_packages_with_one_column_are_refused_with_both_packages(site):
    for package in ("acme_one", "acme_two"):
        install(site, package, NAMES["score"], [f"{package} = {package}:SPREAD"])
    with pytest.raises(MeasureError, match=r"loss_range is declared twice.*acme_one.*acme_two"):
        measures()


def test_a_bad_package_is_told_before_anything_starts(site, tmp_path):
    small = small_sets.class_folders(tmp_path)
    install(site, "acme_broken", "import nowhere_to_be_found", ["acme = acme_broken:FAMILY"])
    spec = str(small.spec_file())
    command = [sys.executable, "-m", "ray_audit", "run", spec, "--local", "--date", DATE]
    path = os.pathsep.join([str(site), os.getcwd(), os.environ.get("PYTHONPATH", "")])
    ran = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path}
    )
    assert ran.returncode == 2
    assert "acme_broken" in " ".join(ran.stderr.split())
    assert small.files_written() == {}


def test_a_quantity_whose_function_is_not_there_stops_the_run_with_its_name(site, tmp_path):
    content = NAMES["quantity"].replace("PACKAGE:sharpness", "PACKAGE:sharpnes")
    install(site, "acme_typo", content, ["acme = acme_typo:FAMILY"])
    with pytest.raises(RunError, match=r"quantity sharpness is observed by 'acme_typo:sharpnes'"):
        audited(small_sets.class_folders(tmp_path))


def test_a_formula_that_gives_another_number_of_values_is_named(site, tmp_path):
    content = NAMES["score"].replace("loss.max(axis=1) - loss.min(axis=1)", "loss.max(axis=0)")
    install(site, "acme_shape", content, ["acme = acme_shape:SPREAD"])
    with pytest.raises(MeasureError, match=r"score loss_range gave arrays of \[3\] values"):
        audited(small_sets.class_folders(tmp_path))


def test_a_quantity_of_another_shape_stops_the_run_with_its_name(site, tmp_path):
    content = NAMES["quantity"].replace("p.square().sum(dim=1)", "p")
    install(site, "acme_wide", content, ["acme = acme_wide:FAMILY"])
    with pytest.raises(RunError, match=r"quantity sharpness was observed as \(12, 3\).*\(12,\)"):
        audited(small_sets.class_folders(tmp_path))


def test_a_quantity_that_nothing_observes_is_named_with_its_package(site):
    content = NAMES["quantity"].replace(', observe="PACKAGE:sharpness"', "")
    install(site, "acme_blind", content, ["acme = acme_blind:FAMILY"])
    with pytest.raises(MeasureError, match=r"acme_blind 1\.2 .*: nothing observes sharpness"):
        measures()
