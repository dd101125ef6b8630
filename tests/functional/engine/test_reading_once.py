"""Each shard is read once for all checkpoints, and rough numbers are close."""

import pytest

from ray_audit.engine.run.audit import run_audit
from tests.support import small_sets

MAKERS = ("masked_images", "class_folders", "labelled_videos", "feature_sequences")


def audit(small, name, **changes):
    output = str(small.folder / f"out-{name}")
    return run_audit(small.config(output=output, **changes), local=True)


@pytest.mark.parametrize("maker", MAKERS)
def test_a_shard_is_read_once_however_many_checkpoints_there_are(maker, tmp_path):
    small = getattr(small_sets, maker)(tmp_path)
    many = audit(small, "many")
    only = str(tmp_path / "checkpoints/epoch_0.safetensors")
    single = run_audit(small.config(output=str(tmp_path / "out-one"), checkpoints=only), local=True)
    assert many.manifest.timing["bytes_read"] == single.manifest.timing["bytes_read"] > 0


def test_bf16_gives_scores_close_to_float32(tmp_path):
    small = small_sets.class_folders(tmp_path)
    exact = audit(small, "float32")
    rough = audit(small, "bf16", engine={"precision": "bf16"})
    losses = [
        outcome.manifest.table(outcome.run_uri, "scores").sort_by("sample_id")["csl"].to_pylist()
        for outcome in (exact, rough)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
    assert losses[1] != losses[0]
