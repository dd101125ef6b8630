"""The second pass of confident learning through the engine, against cleanlab."""

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from ray_audit.engine.run.audit import run_audit
from ray_audit.errors import RunError
from ray_audit.probes import prober
from tests.support.small_sets import class_folders, masked_images
from tests.support.tables import rows_of
from tests.support.tiny_models import PixelModel

NUM_IMAGES = 6
CHANGES = {"confident": "exact", "scores": ["csl", "softmin"]}


@pytest.fixture
def small(tmp_path):
    return relabelled(tmp_path)


def relabelled(tmp_path):
    """Images whose colour says the class, with a tenth of the pixels relabelled."""
    small = masked_images(tmp_path, NUM_IMAGES)
    rng = np.random.default_rng(0)
    for index in range(NUM_IMAGES):
        true = rng.integers(0, 3, (16, 16))
        pixels = 70 * np.eye(3)[true] + rng.integers(0, 120, (16, 16, 3))
        wrong = rng.random(true.shape) < 0.1
        given = np.where(wrong, (true + 1) % 3, true)
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / f"data/images/i{index}.png")
        Image.fromarray(given.astype(np.uint8)).save(tmp_path / f"data/masks/i{index}.png")
    for path in (tmp_path / "checkpoints").iterdir():
        weights = load_file(path)
        weights["head.weight"] = 8 * torch.eye(3).reshape(3, 3, 1, 1)
        weights["head.bias"] = torch.zeros(3)
        save_file(weights, path)
    return small


def predictions(small):
    model = PixelModel(3)
    last = sorted((small.folder / "checkpoints").iterdir())[-1]
    model.load_state_dict(load_file(last))
    p, labels = [], []
    for index in range(NUM_IMAGES):
        pixels = np.asarray(Image.open(small.folder / f"data/images/i{index}.png"))
        image = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
        with torch.inference_mode():
            p.append(torch.softmax(model(image), dim=1)[0].numpy())
        labels.append(np.asarray(Image.open(small.folder / f"data/masks/i{index}.png")))
    return np.stack(labels).astype(np.int64), np.stack(p)


def clc_of(outcome):
    return rows_of(outcome, "scores").sort_by("sample_id")["clc"].to_numpy()


def test_clc_is_that_of_the_flags_of_cleanlab(small):
    cleanlab = pytest.importorskip("cleanlab.segmentation.filter")
    labels, p = predictions(small)
    flags = cleanlab.find_label_issues(labels, p, n_jobs=1, verbose=False)
    result = clc_of(run_audit(small.config(**CHANGES), local=True))
    assert 0.02 < flags.mean() < 0.3
    np.testing.assert_allclose(result, 1 - flags.mean(axis=(1, 2)), atol=1e-9)


def test_tiles_and_the_histogram_form_agree_with_it(small):
    exact = clc_of(run_audit(small.config(**CHANGES), local=True))
    dataset = small.values["dataset"] | {"tile": {"size": 10, "overlap": 4}}
    tiled = clc_of(run_audit(small.config(**CHANGES, dataset=dataset), local=True))
    np.testing.assert_allclose(tiled, exact, atol=1e-9)
    histogram = run_audit(small.config(scores=["csl", "softmin"]), local=True)
    np.testing.assert_allclose(clc_of(histogram), exact, atol=0.02)


def test_a_second_run_counts_only_what_is_new(small):
    first = run_audit(small.config(**CHANGES), local=True, logical_date="2026-01-01")
    written = {name for name in small.files_written() if name.startswith("units/")}
    again = run_audit(small.config(**CHANGES), local=True, logical_date="2026-01-02")
    assert not again.reused
    assert {name for name in small.files_written() if name.startswith("units/")} == written
    np.testing.assert_array_equal(clc_of(again), clc_of(first))


def test_without_the_column_there_is_no_second_pass(small):
    outcome = run_audit(small.config(confident="exact", scores=["csl"]), local=True)
    assert "clc" not in rows_of(outcome, "scores").column_names
    assert len([n for n in small.files_written() if n.startswith("sets/")]) == 1


def test_a_sample_lost_in_the_second_pass_fails_the_run(small, monkeypatch):
    def broken(*_):
        raise ValueError("out of memory")

    monkeypatch.setattr(prober, "recount_pixels", broken)
    with pytest.raises(RunError, match=r"lost sample i0\.png and 5 others"):
        run_audit(small.config(**CHANGES), local=True)
    monkeypatch.undo()
    assert run_audit(small.config(**CHANGES), local=True).counts["scored"] == NUM_IMAGES


def test_a_tile_lost_in_the_second_pass_is_not_counted_as_right(small, monkeypatch):
    count, calls = prober.recount_pixels, []

    def broken_once(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise ValueError("out of memory")
        return count(*arguments)

    dataset = small.values["dataset"] | {"tile": {"size": 10, "overlap": 4}}
    changes = CHANGES | {"dataset": dataset, "engine": {"batch_size": 1}}
    monkeypatch.setattr(prober, "recount_pixels", broken_once)
    with pytest.raises(RunError, match=r"lost sample i0\.png and 0 others"):
        run_audit(small.config(**changes), local=True)
    assert len(calls) > NUM_IMAGES


def test_row_labels_need_no_second_pass(tmp_path):
    outcome = run_audit(class_folders(tmp_path).config(confident="exact"), local=True)
    assert "clc" not in rows_of(outcome, "scores").column_names
