"""A run is data: what its manifest names is called where it is known or trusted, else not."""

import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

import ray_audit
from ray_audit.cli import app
from ray_audit.errors import SpecificationError
from ray_audit.report.mask_layers import mask_layers
from ray_audit.tables.run_tables import RunTables
from tests.support import knowing
from tests.support.audits import audit


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run of masks that somebody else made, whose manifest names a function of its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "theirs"))
    small = knowing.masks(tmp_path)
    audit(small)
    copy = tmp_path / "handed-on"
    shutil.copytree(small.out, copy)
    (manifest,) = copy.glob("runs/*/manifest.json")
    values = json.loads(manifest.read_text())
    marker = tmp_path / "marker"
    values["specification"]["model"] |= {"factory": "os:mkdir", "kwargs": {"path": str(marker)}}
    manifest.write_text(json.dumps(values))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "mine"))
    return small, copy, marker


def typed(*given):
    return CliRunner().invoke(app, [str(value) for value in given])


def test_looking_at_a_run_calls_nothing_that_it_names(run, tmp_path):
    _, copy, marker = run
    done = typed("report", copy, "--local", "--to", tmp_path / "report.html")
    assert done.exit_code == 0
    assert not marker.exists()
    text = (tmp_path / "report.html").read_text()
    assert "os:mkdir" in text
    assert "drawn from the regions that the run keeps, without its model" in text
    opened = ray_audit.open_run(copy)
    with opened.review("ann") as server:
        (name, *_) = server.review._by_bundle
        pictures = server.review.bundle(name)["pictures"]
    assert {"image", "given", "predicted", "doubt"} <= pictures.keys()
    for more in ([], ["--dry-run"]):
        done = typed("correct", copy, "--to", tmp_path / "to", "--local", *more)
        assert done.exit_code == 2
        assert "--trust" in done.output + done.stderr
    assert not marker.exists()
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize("tile", [None, 16])
def test_without_its_model_a_mask_is_shown_as_its_regions_tell(tmp_path, monkeypatch, tile):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "mine"))
    small = knowing.masks(tmp_path, tile=tile)
    tables = RunTables.open(str(small.out), audit(small).manifest.run_id)
    with_model = mask_layers(tables, "i1.png", "i1.png")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "other"))
    monkeypatch.setattr("ray_audit.report.mask_layers.Predictor", None)
    without = mask_layers(tables, "i1.png", "i1.png")
    assert (with_model.predicted != with_model.given).any()
    known = with_model.given >= 0
    np.testing.assert_array_equal(without.predicted[known], with_model.predicted[known])
    np.testing.assert_array_equal(without.given, with_model.given)
    np.testing.assert_array_equal(without.image, with_model.image)


def test_masks_are_shown_when_their_checkpoints_have_gone(tmp_path):
    small = knowing.masks(tmp_path)
    audit(small)
    for path in (tmp_path / "checkpoints").iterdir():
        path.unlink()
    with ray_audit.open_run(small.out).review("ann") as server:
        (name, *_) = server.review._by_bundle
        bundle = server.review.bundle(name)
    assert {"image", "given", "predicted"} <= bundle["pictures"].keys()
    assert "The prediction is that of the run's regions" in bundle["reason"]


def test_trust_calls_what_the_run_names(run, tmp_path):
    _, copy, marker = run
    typed("report", copy, "--local", "--to", tmp_path / "report.html", "--trust")
    assert marker.exists()


def test_a_local_specification_is_taken_in_the_place_of_the_runs(run, tmp_path):
    small, copy, marker = run
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps(small.config().model_dump(mode="json", exclude_unset=True)))
    done = typed("report", copy, "--local", "--to", tmp_path / "report.html", "--spec", path)
    assert done.exit_code == 0
    assert "There are no pictures" not in (tmp_path / "report.html").read_text()
    done = typed("correct", copy, "--to", tmp_path / "to", "--local", "--spec", path)
    assert done.exit_code == 0, done.output + done.stderr
    assert not marker.exists()


def test_an_audit_of_ones_own_is_looked_at_without_being_asked(run, tmp_path):
    small, *_ = run
    assert typed("correct", small.out, "--to", tmp_path / "a", "--local").exit_code == 2
    small.values["output"] = str(tmp_path / "again")
    audit(small)
    done = typed("correct", small.out, "--to", tmp_path / "a", "--local")
    assert done.exit_code == 0, done.output + done.stderr


def test_where_nothing_can_be_remembered_an_audit_runs_all_the_same(run, tmp_path, monkeypatch):
    small, *_ = run
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    small.values["output"] = str(tmp_path / "again")
    audit(small)
    with pytest.raises(SpecificationError, match="--spec FILE"):
        ray_audit.open_run(small.values["output"]).correct(tmp_path / "to", local=True)
