"""Tiled images through the engine: equal to the untiled oracle, and in bounded memory."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from ray_audit.engine.run.audit import run_audit
from tests.support.small_sets import SmallSet
from tests.support.tables import rows_of

SIDE = 10_000
LIMIT_BYTES = 4 * 2**30


def tiff_set(folder, side, seeds=(0,)):
    small = SmallSet(
        folder,
        {
            "kind": "images",
            "uri": f"{folder}/data/*.tiff",
            "labels": {"masks": f"{folder}/masks/{{stem}}.png"},
            "void": [255],
        },
        "PixelModel",
    )
    for seed in seeds:
        write_tiff(folder, seed, side)
    return small


def write_tiff(folder, seed, side):
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 3, (side // 25, side // 25), np.uint8)
    mask = np.kron(blocks, np.ones((25, 25), np.uint8))
    mask[: side // 10, : side // 5] = 255
    pixels = np.stack([mask * 60, mask[::-1] * 60, mask[:, ::-1] * 60], axis=-1).astype(np.uint8)
    (folder / "data").mkdir(exist_ok=True)
    (folder / "masks").mkdir(exist_ok=True)
    Image.fromarray(pixels).save(folder / f"data/{seed}.tiff", compression="tiff_lzw")
    Image.fromarray(mask).save(folder / f"masks/{seed}.png", compress_level=1)


@pytest.mark.parametrize(("size", "overlap"), [(64, 0), (48, 16), (33, 5)])
def test_tiles_give_the_scores_of_the_whole_image(tmp_path, size, overlap):
    small = tiff_set(tmp_path, 150, seeds=(0, 1))
    whole = rows_of(run_audit(small.config(), local=True), "scores")
    dataset = small.values["dataset"] | {"tile": {"size": size, "overlap": overlap}}
    tiled = rows_of(run_audit(small.config(dataset=dataset), local=True), "scores")
    assert tiled["sample_id"].equals(whole["sample_id"])
    for name in whole.column_names:
        expected, actual = whole[name].to_pylist(), tiled[name].to_pylist()
        if name.startswith("vog") or name == "csg":
            continue  # a tile's gradient is that of its own pixels' share of the mean
        numeric = isinstance(expected[0], float)
        assert actual == (pytest.approx(expected, rel=1e-5, abs=1e-7) if numeric else expected), (
            name
        )


AUDIT = """
import json, resource, sys
from ray_audit.config import AuditConfig
from ray_audit.engine.run.audit import run_audit
outcome = run_audit(AuditConfig.parse(json.loads(sys.argv[1])), local=True)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
table = outcome.manifest.table(outcome.run_uri, "scores")
print(json.dumps([peak, outcome.counts, table["num_labelled_px"].to_pylist()]))
"""


@pytest.mark.slow
def test_a_large_tiff_is_audited_in_bounded_memory(tmp_path):
    small = tiff_set(tmp_path, SIDE)
    values = small.values | {"scores": ["csl", "softmin"]}
    values["dataset"] = values["dataset"] | {"tile": {"size": 1000, "overlap": 32}}
    command = [sys.executable, "-c", AUDIT, json.dumps(values)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    peak_bytes, counts, num_labelled = json.loads(done.stdout.splitlines()[-1])
    assert counts["scored"] == 1
    assert num_labelled == [SIDE**2 - (SIDE // 10) * (SIDE // 5)]
    # The probabilities alone, held whole, would take 3 classes x 4 bytes x 3 checkpoints a pixel.
    assert peak_bytes < LIMIT_BYTES
