"""The small runs whose tables are kept: one of each kind of dataset and of audit."""

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from ray_audit.engine.run.audit import run_audit
from ray_audit.engine.run.fold_run import run_folds
from ray_audit.tables.manifest import Manifest
from ray_audit.training.fold_models import held_out_parts
from ray_audit.training.train import train
from tests.support import small_sets, tiny_models

DATE = "2026-01-31"


def _audited(small, **changes):
    return run_audit(small.config(**changes), local=True, logical_date=DATE)


def _one_more_checkpoint(small, epoch=small_sets.NUM_CHECKPOINTS):
    model = small.values["model"]
    make = getattr(tiny_models, model["factory"].partition(":")[2])
    small.write_weights(epoch, make(**model["kwargs"]))


def images_with_classes(folder):
    return _audited(small_sets.class_folders(folder))


def images_with_masks(folder):
    return _audited(small_sets.masked_images(folder))


def _shapes(folder):
    """Images whose colour says the class; some shapes are missing, swapped or not labelled."""
    small = small_sets.masked_images(folder)
    rng = np.random.default_rng(0)
    for index in range(6):
        true = np.zeros((48, 64), np.uint8)
        true[6:22, 8:30] = 1
        true[26:42, 30 + index : 56] = 2
        given = true.copy()
        if index == 1:
            given[26:42, 31:56] = 0
        if index == 2:
            given[6:22, 8:30] = 2
        if index == 3:
            given[26:42, 33:56] = 255
        if index == 4:
            given[6:22, 8:14] = 0
        pixels = 70 * np.eye(3)[true] + rng.integers(0, 120, (*true.shape, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"data/images/i{index}.png")
        Image.fromarray(given).save(folder / f"data/masks/i{index}.png")
    for epoch, path in enumerate(sorted((folder / "checkpoints").iterdir())):
        weights = load_file(path)
        weights["head.weight"] = (3 + 3 * epoch) * torch.eye(3).reshape(3, 3, 1, 1)
        weights["head.bias"] = torch.zeros(3)
        save_file(weights, path)
    return small


def masks_with_wrong_regions(folder):
    return _audited(_shapes(folder))


def tiles_with_wrong_regions(folder):
    small = _shapes(folder)
    small.values["dataset"]["tile"] = {"size": 32, "overlap": 8}
    return _audited(small)


def tiled_masks(folder):
    small = small_sets.masked_images(folder)
    small.values["dataset"]["tile"] = {"size": 12, "overlap": 4}
    return _audited(small)


def video_frames(folder):
    return _audited(small_sets.labelled_videos(folder))


def segments_in_seconds(folder):
    """Boundaries well between the middles of two pictures, so that no rounding decides."""
    small = small_sets.labelled_videos(folder)
    rows = [
        {"video": f"v{index}.mp4", "start_s": start, "end_s": end, "label": label}
        for index in range(3)
        for start, end, label in ((0.0, 0.19, "a"), (0.19, 0.31, "b"), (0.35, 0.48, "c"))
    ]
    segments = small_sets.table(folder / "data/segments.csv", rows)
    small.values["dataset"]["labels"] = {"segments": str(segments)}
    return _audited(small)


def sequences(folder):
    return _audited(small_sets.feature_sequences(folder, lengths=(9, 14, 11)))


def folds(folder):
    small = small_sets.class_folders(folder)
    for path in (folder / "checkpoints").iterdir():
        path.unlink()
    small.values |= {
        "checkpoints": str(folder / "checkpoints/epoch_*.safetensors"),
        "training": {"epochs": 2, "batch_size": 4, "folds": 3, "records": True, "seed": 0},
    }
    train(small.config(), local=True)
    config = small.config()
    return run_folds(config, held_out_parts(config), local=True, logical_date=DATE)


def _adaptive(small):
    for epoch in range(small_sets.NUM_CHECKPOINTS, 6):
        _one_more_checkpoint(small, epoch)
    return _audited(small, adaptive={"budget": 0.5, "first": 0.3})


def adaptive_images(folder):
    return _adaptive(small_sets.class_folders(folder))


def adaptive_masks(folder):
    return _adaptive(small_sets.masked_images(folder))


def adaptive_videos(folder):
    return _adaptive(small_sets.labelled_videos(folder))


def kept_moments(folder):
    """A night, and the next with one checkpoint more."""
    small = small_sets.masked_images(folder)
    keep = {"vog": {"keep_moments": True}}
    _audited(small, **keep)
    _one_more_checkpoint(small)
    return _audited(small, **keep)


def confident_exact(folder):
    small = small_sets.masked_images(folder)
    return _audited(small, confident="exact", scores=["csl", "softmin"])


RUNS = {
    run.__name__: run
    for run in (
        images_with_classes,
        images_with_masks,
        masks_with_wrong_regions,
        tiles_with_wrong_regions,
        tiled_masks,
        video_frames,
        segments_in_seconds,
        sequences,
        folds,
        adaptive_images,
        adaptive_masks,
        adaptive_videos,
        kept_moments,
        confident_exact,
    )
}


def tables_of(outcome):
    """Every table of a run by name, as the contract calls them identical, and in a fixed order."""
    manifest = Manifest.read(outcome.run_uri)
    return {
        name: _in_order(manifest.table(outcome.run_uri, name))
        for name in sorted(manifest.tables)
        if manifest.tables[name]
    }


_KEYS = ("sample_id", "shard", "frame_index", "checkpoint", "class", "given", "predicted")
_KEYS += ("region", "start_frame", "finding_id", "stage")


def _in_order(table):
    """Without what differs between two runs of the same inputs: attempts, and the files' names."""
    table = table.replace_schema_metadata(None)
    if "attempts" in table.column_names:
        table = table.drop_columns(["attempts"])
    keys = [(name, "ascending") for name in _KEYS if name in table.column_names]
    return table.sort_by(keys)
