"""A target that several want, or that an interrupted call left half full."""

import pytest

from ray_audit.config import AuditConfig
from ray_audit.corrections.correct import correct
from ray_audit.corrections.options import CorrectionOptions
from ray_audit.engine.backends.local import LocalBackend
from ray_audit.errors import SpecificationError
from ray_audit.tables.run_tables import RunTables
from tests.support import knowing
from tests.support.audits import audit
from tests.support.corrected import labels_at


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    small = knowing.masks(tmp_path_factory.mktemp("masks"))
    audit(small)
    return RunTables.open(str(small.out))


def corrected(tables, to, confidence=None, progress=lambda what, done, total: None):
    options = CorrectionOptions(confidence=confidence)
    return correct(tables, LocalBackend, str(to), options, progress=progress)


def stop_after_a_mask(what, done, total):
    if what == "correcting masks" and done == 1:
        raise KeyboardInterrupt


def test_what_was_interrupted_can_be_run_again_and_nothing_else(tables, tmp_path):
    to = tmp_path / "to"
    with pytest.raises(KeyboardInterrupt):
        corrected(tables, to, progress=stop_after_a_mask)
    assert list(to.rglob("*.png"))
    assert not (to / "spec.yaml").exists()
    with pytest.raises(SpecificationError, match="left unfinished"):
        corrected(tables, to, confidence=0.9)
    done, whole = corrected(tables, to), corrected(tables, tmp_path / "whole")
    assert done.pairs == whole.pairs
    ours, theirs = labels_at(done), labels_at(whole)
    assert {key: labels.tobytes() for key, labels in ours.items()} == {
        key: labels.tobytes() for key, labels in theirs.items()
    }
    names = {path.relative_to(to) for path in to.rglob("*")}
    assert names == {
        path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*")
    }
    assert AuditConfig.load(str(done.spec)).output == str(to / "audit")
    with pytest.raises(SpecificationError, match="is not empty"):
        corrected(tables, to)


def test_two_at_once_do_not_fill_one_folder(tables, tmp_path):
    to = tmp_path / "to"
    refused = []

    def second(what, done, total):
        if what == "correcting masks" and not refused:
            with pytest.raises(SpecificationError) as error:
                corrected(tables, to, confidence=0.999)
            refused.append(str(error.value))

    done = corrected(tables, to, progress=second)
    assert "is being filled" in refused[0]
    assert done.pairs == corrected(tables, tmp_path / "alone").pairs


def test_one_that_lost_its_folder_writes_no_specification(tables, tmp_path):
    to = tmp_path / "to"
    taken = []

    def take_over(what, done, total):
        if what == "correcting masks" and not taken:
            (claim,) = (to / ".claim").iterdir()
            (to / ".claim/000002.json").write_bytes(claim.read_bytes())
            taken.append(claim)

    with pytest.raises(SpecificationError, match="another process"):
        corrected(tables, to, progress=take_over)
    assert not (to / "spec.yaml").exists()
