import numpy as np
import pytest

from ray_audit.engine.planning.plan import read_inputs
from ray_audit.engine.run.predict import Predictor
from ray_audit.errors import CheckpointError, SpecificationError, StorageError
from tests.support import small_sets

K = len(small_sets.CLASSES)


def opened(small, tmp_path, checkpoints=slice(None)):
    config, index = small.config(), tmp_path / "index"
    inputs = read_inputs(config, index, None, "2026-01-01")
    uris = tuple(checkpoint.uri for checkpoint in inputs.checkpoints[checkpoints])
    return inputs.units[0], Predictor(config, uris, str(index))


def test_only_wanted_samples_are_looked_at(tmp_path):
    unit, predictor = opened(small_sets.masked_images(tmp_path), tmp_path)
    key = unit.shards[1].key
    (result,) = predictor.predict(unit, {key})
    assert (result.sample_id, result.frame_index) == (key, None)
    assert result.p.shape == (K, *result.targets.shape)
    np.testing.assert_allclose(result.p.sum(axis=0), 1, rtol=1e-5)
    assert result.owned == (0, 0, *result.targets.shape)


def test_frames_come_with_their_own_pixels(tmp_path):
    unit, predictor = opened(small_sets.labelled_videos(tmp_path), tmp_path)
    key = unit.shards[0].key
    found = list(predictor.predict(unit, {f"{key}#3", f"{key}#7"}))
    assert [item.frame_index for item in found] == [3, 7]
    assert all(item.p.shape == (K,) and item.pixels.shape[0] == 3 for item in found)
    assert not np.array_equal(found[0].pixels, found[1].pixels)


def test_probabilities_are_averaged_over_checkpoints(tmp_path):
    small = small_sets.masked_images(tmp_path)
    unit, predictor = opened(small, tmp_path)
    expected = {unit.shards[0].key}
    (mean,) = predictor.predict(unit, expected)
    each = [
        next(opened(small, tmp_path, slice(i, i + 1))[1].predict(unit, expected)).p
        for i in range(small_sets.NUM_CHECKPOINTS)
    ]
    np.testing.assert_allclose(mean.p, np.mean(each, axis=0), rtol=1e-5)


def test_a_checkpoint_that_has_gone_is_named(tmp_path):
    config = small_sets.masked_images(tmp_path).config()
    with pytest.raises((CheckpointError, StorageError), match="gone"):
        Predictor(config, (str(tmp_path / "gone.safetensors"),), "")


def test_a_factory_that_hangs_is_left_behind_where_a_model_looks_again(tmp_path, monkeypatch):
    (tmp_path / "hanging.py").write_text("import time\ndef made(**kw): time.sleep(10**6)\n")
    monkeypatch.syspath_prepend(tmp_path)
    small = small_sets.masked_images(tmp_path)
    small.values["model"]["factory"] = "hanging:made"
    config = small.config(engine={"start_timeout_s": 0.2})
    with pytest.raises(SpecificationError, match=r"hanging:made did not end within engine\.start"):
        Predictor(config, ("any.safetensors",), "")
