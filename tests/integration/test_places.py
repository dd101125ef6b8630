"""Corrections and reports from and to a store."""

import json

import numpy as np
import pytest

from ray_audit import storage
from ray_audit.config import AuditConfig
from ray_audit.corrections.correct import correct
from ray_audit.corrections.options import CorrectionOptions
from ray_audit.engine.backends.local import LocalBackend
from ray_audit.engine.run.audit import run_audit
from ray_audit.errors import SpecificationError
from ray_audit.report.write_report import write_report
from ray_audit.tables.run_tables import RunTables
from tests.functional.report.test_review import document_of
from tests.support import knowing, small_sets
from tests.support.corrected import corrected, labels_at


def in_the_store(small, bucket):
    """The same set in a bucket, its audit too."""
    for name in ("data", "checkpoints", "labels.csv"):
        if (small.folder / name).exists():
            bucket.put(small.folder / name, name)
    text = json.dumps(small.values).replace(str(small.folder), bucket.uri)
    return AuditConfig.parse(json.loads(text))


def etags_in(bucket):
    return {item.uri: item.etag for item in storage.list_prefix(bucket.uri)}


@pytest.mark.parametrize("make", [knowing.masks, knowing.images])
def test_labels_in_a_store_are_corrected_into_it(tmp_path, bucket, make):
    made = make(tmp_path)
    small = made[0] if isinstance(made, tuple) else made
    here = corrected(small)
    outcome = run_audit(in_the_store(small, bucket), local=True, logical_date="2026-01-31")
    before = etags_in(bucket)
    tables = RunTables(outcome.run_uri, outcome.manifest)
    done = correct(tables, LocalBackend, f"{bucket.uri}/to", CorrectionOptions())
    assert (done.num_changed, done.pairs) == (here.num_changed, here.pairs)
    assert done.num_changed > 0
    ours, theirs = labels_at(done), labels_at(here)
    assert ours.keys() == theirs.keys()
    for key, labels in ours.items():
        np.testing.assert_array_equal(labels, theirs[key])
    dataset = AuditConfig.load(done.spec).dataset
    assert str(dataset.labels.masks or dataset.labels.images).startswith(f"{bucket.uri}/to/labels/")
    assert {uri: etag for uri, etag in etags_in(bucket).items() if uri in before} == before
    with pytest.raises(SpecificationError, match="is not empty"):
        correct(tables, LocalBackend, f"{bucket.uri}/to", CorrectionOptions())


@pytest.mark.parametrize("make", [small_sets.class_folders, small_sets.labelled_videos])
def test_pictures_come_from_s3_and_the_report_goes_there(tmp_path, bucket, make):
    small = make(tmp_path)
    uri = small.values["dataset"]["uri"].replace(str(tmp_path), bucket.uri)
    bucket.put(tmp_path / "data", "data")
    small.values["dataset"]["uri"] = uri
    small.values["output"] = f"{bucket.uri}/out"
    run_audit(small.config(), local=True)
    tables = RunTables.open(f"{bucket.uri}/out")
    done = write_report(tables, LocalBackend())
    assert done.notes == ()
    assert done.uri.startswith(bucket.uri)
    bundles = document_of(storage.read_bytes(done.uri).decode())["bundles"].values()
    pictures = [bundle["pictures"].get("image") or bundle["strips"] for bundle in bundles]
    assert pictures
    assert all(pictures)
