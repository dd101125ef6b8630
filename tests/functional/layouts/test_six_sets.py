"""The datasets of the four methods, as published: run, report, correct and export, as typed."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from ray_audit.cli import app
from ray_audit.config import AuditConfig
from tests.functional.layouts.six_sets import METHODS, OTHERS, WRONG, specification
from tests.support.published import labels_of


def typed(*arguments):
    done = CliRunner().invoke(app, [*map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.stdout


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in OTHERS]


@pytest.mark.parametrize("name", [*METHODS, *SLOW])
def test_a_wrong_label_is_found_shown_exported_and_corrected(tmp_path, name):
    method = (METHODS | OTHERS)[name]
    true, given = method.build(tmp_path / "set")
    spec = specification(tmp_path, method)
    same(labels_of(AuditConfig.load(spec).dataset), given)

    done = json.loads(typed("run", spec, "--local", "--json"))
    assert done["counts"]["scored"] == len(true)
    assert done["counts"]["failed"] == 0
    assert done["top"]
    page = tmp_path / "report.html"
    typed("report", tmp_path / "out", "--local", "--to", page)
    assert page.stat().st_size > 10_000
    typed("export", tmp_path / "out", "--format", "csv", "--to", tmp_path / "exported")
    (findings,) = (tmp_path / "exported").iterdir()
    wrong = {key.rpartition("#")[0] or key for key in true if np.any(true[key] != given[key])}
    assert len(wrong) == 1, WRONG
    assert wrong.pop() in findings.read_text().splitlines()[1]  # the first finding

    typed("correct", tmp_path / "out", "--to", tmp_path / "corrected", "--local")
    corrected = AuditConfig.load(tmp_path / "corrected/spec.yaml").dataset
    after = labels_of(corrected)
    assert sum(np.sum(after[key] != true[key]) for key in true) == 0
    same(labels_of(AuditConfig.load(spec).dataset), given)  # the given labels stay


def same(found, expected):
    assert sorted(found) == sorted(expected)
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, key)
