"""Small sets, audited and corrected, and what became of their labels."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from ray_audit.config import AuditConfig
from ray_audit.corrections.correct import correct
from ray_audit.corrections.options import CorrectionOptions
from ray_audit.engine.backends.local import LocalBackend
from ray_audit.findings.decisions import Decision
from ray_audit.tables.run_tables import RunTables
from tests.support.audits import audit
from tests.support.knowing import SURE
from tests.support.label_sets import all_labels

SURE_P = float(np.exp(SURE) / (np.exp(SURE) + 2))
REST_P = (1 - SURE_P) / 2


def corrected(small, to="to", decisions=(), dry_run=False, **options):
    if not (small.out / "runs").exists():
        audit(small)
    tables = RunTables.open(str(small.out))
    target = str(small.folder / to)
    return correct(
        tables, LocalBackend, target, CorrectionOptions(**options), decisions, dry_run=dry_run
    )


def labels_at(done):
    return all_labels(AuditConfig.load(done.spec).dataset)


def labels_of(small):
    return all_labels(small.config().dataset)


def rows_at(done):
    return pq.read_table(done.table).to_pylist()


def findings_of(small):
    audit(small)
    return RunTables.open(str(small.out)).findings().to_pylist()


def decided(finding, decision="accept", label=None, reviewer="ann", time="2026-02-01T10:00:00"):
    return Decision(finding["finding_id"], decision, label, reviewer, time)


def masks_at(done, form):
    folder = Path(done.to_uri)
    if form == "files":
        paths = sorted((folder / "labels").rglob("*.png"))
        images = [Image.open(path) for path in paths]
        assert {image.mode for image in images} == {"P"}
        return [np.asarray(image) for image in images]
    if form == "parquet":
        cells = pq.read_table(folder / "data/p.parquet")["mask"].to_pylist()
    else:
        with tarfile.open(folder / "data/t.tar") as file:
            members = [m for m in file.getmembers() if m.name.endswith(".mask.png")]
            cells = [file.extractfile(member).read() for member in members]
    return [np.asarray(Image.open(io.BytesIO(cell))) for cell in cells]
