"""What a notebook does with `import ray_audit`, on tiny datasets and without Ray."""

import inspect
import subprocess
import sys

import pyarrow as pa
import pytest

import ray_audit
from ray_audit import AuditConfig, SpecificationError, StorageError
from tests.support.small_sets import class_folders, masked_images

PUBLIC = {
    # verbs
    "init",
    "audit",
    "plan",
    "status",
    "open_run",
    "train",
    "inject",
    "correct",
    "export",
    "evaluate",
    # types
    "AuditConfig",
    "Run",
    # errors
    "RayAuditError",
    "SpecificationError",
    "LabelError",
    "CheckpointError",
    "PlanError",
    "StorageError",
    "RunError",
    "FailureBudgetError",
    "StalledError",
    "__version__",
}
DATE = "2026-01-31"


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return class_folders(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def run(images):
    return ray_audit.audit(images.config(), local=True, date=DATE)


def test_the_public_names_are_these():
    assert set(ray_audit.__all__) == PUBLIC
    assert ray_audit.__all__ == sorted(ray_audit.__all__)


def test_a_public_name_is_no_module_even_when_all_is_imported():
    walk = (
        "import importlib, pkgutil, ray_audit\n"
        "for one in pkgutil.walk_packages(ray_audit.__path__, 'ray_audit.'):\n"
        "    if not one.name.endswith('__main__'): importlib.import_module(one.name)\n"
        "from types import ModuleType\n"
        "print([n for n in ray_audit.__all__ if isinstance(getattr(ray_audit, n), ModuleType)])"
    )
    done = subprocess.run([sys.executable, "-c", walk], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", sorted(PUBLIC - {"__version__"}))
def test_every_public_name_is_documented(name):
    assert inspect.getdoc(getattr(ray_audit, name))


def test_opening_a_run_and_reading_it_needs_neither_ray_nor_torch(run):
    check = (
        f"import sys, ray_audit; run = ray_audit.open_run({run.output!r}); "
        "tables = run.scores(), run.findings(), run.trajectories(), run.class_stats(), run.errors()"
        "; assert not {'ray', 'torch', 'av'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", check], check=True)


def test_a_run_has_its_tables_as_arrow_and_as_pandas(run):
    assert run.counts["scored"] == run.scores().num_rows == 12
    assert run.trajectories().num_rows == 12
    assert isinstance(run.findings(), pa.Table)
    assert run.findings()["rank"].to_pylist() == sorted(run.findings()["rank"].to_pylist())
    assert set(run.class_stats()["class"].to_pylist()) == {"a", "b", "c"}
    assert run.errors().num_rows == run.filtered().num_rows == 0
    assert run.scores(["sample_id", "csl"]).to_pandas().columns.tolist() == ["sample_id", "csl"]
    assert run.scores().field("csl").metadata[b"direction"] == b"higher"


def test_a_run_says_in_a_line_what_it_is(run):
    assert repr(run).startswith(f"Run('{DATE}-")
    assert "12 of 12 samples scored" in repr(run)
    assert "\n" not in repr(run)
    assert len(repr(run)) < 300


def test_a_run_tells_its_place_and_what_to_know_of_it(run, images):
    assert run.uri == f"{images.out}/runs/{run.run_id}"
    assert (run.reused, run.duration_s > 0) == (False, True)
    assert run.notes == run.manifest.notes
    assert run.config.dataset.classes == ["a", "b", "c"]
    assert run.breached_gates == []


@pytest.mark.parametrize("form", ["config", "path", "text", "mapping"])
def test_a_specification_is_taken_in_every_form(form, run, images):
    given = {
        "config": images.config,
        "path": images.spec_file,
        "text": lambda: str(images.spec_file()),
        "mapping": lambda: images.values,
    }[form]()
    again = ray_audit.audit(given, local=True, date=DATE)
    assert (again.run_id, again.reused) == (run.run_id, True)


def test_what_is_no_specification_is_refused():
    with pytest.raises(SpecificationError, match="or a mapping; got int"):
        ray_audit.plan(7)
    with pytest.raises(SpecificationError, match="dataset: missing"):
        ray_audit.plan({"output": "o"})


def test_a_plan_says_what_is_new_and_writes_nothing(tmp_path):
    small = class_folders(tmp_path)
    plan = ray_audit.plan(small.config(), local=True, date=DATE)
    assert (plan.num_new > 0, plan.num_reused) == (True, 0)
    assert len(repr(plan)) < 300
    assert small.files_written() == {}


def test_a_run_is_opened_by_its_output_and_its_id(run, images):
    assert ray_audit.open_run(images.out).run_id == run.run_id
    assert ray_audit.open_run(str(images.out), run.run_id).uri == run.uri
    assert [item.run_id for item in ray_audit.status(images.out).runs] == [run.run_id]
    with pytest.raises(StorageError, match="has no complete run 'none'"):
        ray_audit.open_run(images.out, "none")


def test_an_empty_output_says_how_to_start(tmp_path):
    with pytest.raises(StorageError, match="has no complete run: start one"):
        ray_audit.open_run(tmp_path)


def test_a_report_is_written_where_it_is_asked_for(run, tmp_path):
    written = run.report(tmp_path / "page.html", local=True, num_findings=3, num_pictures=0)
    assert written.uri == str(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_bytes().startswith(b"<!")


def test_findings_are_exported(run, tmp_path):
    done = ray_audit.export(run.output, "csv", tmp_path / "csv", top=1)
    assert done.run_id == run.run_id
    assert [path.name for path in (tmp_path / "csv").iterdir()] == done.files
    assert run.export("csv", tmp_path / "again", top=1).num_findings == done.num_findings


def test_labels_are_corrected_and_counted_first(run, tmp_path):
    counted = run.correct(tmp_path / "new", dry_run=True, local=True, confidence=0.0)
    assert counted.spec is None
    assert not (tmp_path / "new").exists()
    done = ray_audit.correct(run.output, tmp_path / "new", local=True, confidence=0.0)
    assert done.num_changed == counted.num_changed
    assert AuditConfig.load(done.spec).dataset.classes == ["a", "b", "c"]


def test_known_errors_are_planted_and_found_by_the_door_alone(tmp_path):
    small = masked_images(tmp_path, num=8)
    planted = ray_audit.inject(small.config(), tmp_path / "planted", 0.5, seed=1)
    audited = ray_audit.audit(planted.spec, local=True)
    found = audited.evaluate(planted.truth, ["csl"])
    assert found.num_errors == planted.num_errors > 0
    assert ray_audit.evaluate(audited.output, planted.truth, scores=["csl"]) == found


def test_two_runs_are_compared_in_the_order_of_the_command_line(run, images):
    later = ray_audit.audit(images.config(), local=True, date="2026-02-01")
    changes = run.diff(later)
    assert (changes.run_a, changes.run_b) == (run.run_id, later.run_id)
    assert run.diff(later.run_id).totals() == changes.totals()
    assert changes.totals()["recurring"] == run.findings().num_rows


def test_runs_of_two_outputs_are_not_compared(run, tmp_path):
    other = ray_audit.audit(class_folders(tmp_path).config(), local=True, date=DATE)
    with pytest.raises(SpecificationError, match="runs of one output can be compared"):
        run.diff(other)


def test_a_model_is_trained(tmp_path):
    small = class_folders(tmp_path)
    seen = []
    config = small.config(training={"epochs": 2})
    trained = ray_audit.train(
        config, to=tmp_path / "model", local=True, progress=lambda fold, done: seen.append(done)
    )
    assert len(trained.models[0].checkpoints) == len(seen) == 2
    assert ray_audit.plan(trained.spec, local=True).num_new > 0


def test_a_review_is_served_and_ends(run):
    with run.review("ann") as server:
        assert server.address.startswith("http://127.0.0.1:")
