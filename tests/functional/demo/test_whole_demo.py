"""The demo finds the errors that it planted."""

import pytest

from ray_audit.demo.demo import run_demo
from ray_audit.evaluation.detection import ALL_KINDS

pytestmark = [pytest.mark.slow]


def test_the_default_ranking_finds_the_planted_errors(tmp_path):
    found = run_demo(tmp_path, local=True)
    for name in ("videos", "masks"):
        (overall,) = [
            row for row in found[name] if (row.score, row.kind) == ("suspicion", ALL_KINDS)
        ]
        assert overall.auroc > 0.9, name
        assert overall.num_errors > 0
