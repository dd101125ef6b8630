"""Checkpoints with equal bytes: each place counts for itself, whatever was committed before."""

import shutil

import numpy as np
import pytest
import torch

from ray_audit.engine.run.audit import run_audit
from tests.support.echoes import echoes, logits, repeated
from tests.support.tables import rows_of

TRUE = repeated([0, 1, 2], [10, 10, 10])
SEEN = logits(TRUE, 3, strength=1.0)


def audited(folder, scales, out="out", date="2026-01-31", **vog):
    """An audit of the checkpoints that are there; equal scales are equal bytes."""
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    config = echoes(folder, [TRUE], [SEEN], 3, scales, vog=vog, output=str(folder / out))
    found = run_audit(config, local=True, logical_date=date)
    return rows_of(found, "scores").sort_by("frame_index")


def vog_of(scales):
    """Population spread of the loss's input gradient over models that scale their input."""
    gradients = []
    for scale in scales:
        leaf = torch.tensor(SEEN, dtype=torch.float64, requires_grad=True)
        target = torch.tensor(TRUE)
        torch.nn.functional.cross_entropy(leaf * scale, target, reduction="sum").backward()
        gradients.append(leaf.grad.numpy())
    return np.stack(gradients).std(axis=0).mean(axis=1), (np.stack(gradients) ** 2).sum((0, 2))


@pytest.mark.parametrize(
    ("window", "inside"), [("early", (0.5, 1.0)), ("late", (2.0, 0.5)), ("all", None)]
)
def test_vog_spans_the_places_of_its_window_only(tmp_path, window, inside):
    scales = (0.5, 1.0, 2.0, 0.5)
    table = audited(tmp_path, scales, window=window)
    vog, csg = vog_of(scales if inside is None else inside)
    np.testing.assert_allclose(table["vog"].to_numpy(), vog, rtol=1e-4)
    np.testing.assert_allclose(table["csg"].to_numpy(), csg, rtol=1e-4)


@pytest.mark.parametrize(
    "window", ["late", *(pytest.param(w, marks=pytest.mark.slow) for w in ("early", "all"))]
)
@pytest.mark.parametrize("keep_moments", [False, True])
@pytest.mark.parametrize(
    "nights",
    [
        [(0.5, 1.0, 2.0), (0.5, 1.0, 2.0, 1.0)],
        [(0.5, 1.0, 2.0), (1.0, 0.5, 1.0, 2.0)],
        [(0.5, 1.0), (0.5, 1.0, 0.5, 1.0), (0.5, 1.0, 0.5, 1.0, 3.0)],
        [(1.0, 1.0), (1.0, 1.0, 1.0, 2.0)],
        [(0.5, 1.0, 2.0, 0.5), (0.5, 1.0, 2.0, 0.5, 2.0, 3.0)],
    ],
)
def test_a_later_night_gives_what_a_fresh_run_gives(tmp_path, window, keep_moments, nights):
    vog = {"window": window, "keep_moments": keep_moments}
    for day, scales in enumerate(nights, 1):
        table = audited(tmp_path, scales, date=f"2026-01-{day:02}", **vog)
    fresh = audited(tmp_path, nights[-1], out="fresh", date=f"2026-01-{len(nights):02}", **vog)
    assert table.column_names == fresh.column_names
    for name in fresh.column_names:
        values, expected = table[name].to_pylist(), fresh[name].to_pylist()
        if name in ("vog", "vog_z", "csg") and None not in expected:
            np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-6, err_msg=name)
        else:
            assert values == expected, name
