"""What others would compute from the last checkpoint: cleanlab's label quality scores."""

from typing import Any

import numpy as np
import pandas as pd
import torch
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from cleanlab.segmentation.rank import get_label_quality_scores as get_mask_quality_scores
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor, nn

from benchmarks.quality.case import IGNORE, Case, Part

PREFIX = "cleanlab_"
"""Begins the name of every rival, and of no score of ours."""

_CLASS_METHODS = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")
_BATCH = 128


def rival_scores(case: Case, part: Part, model: nn.Module) -> tuple[pd.DataFrame, dict[str, float]]:
    """Rivals of one audit.

    Args:
        case: the dataset.
        part: what is audited.
        model: with the weights of the last checkpoint.

    Returns:
        Per sample `sample_id` and the rivals, all lower = more suspicious; and further numbers.
    """
    if case.true_masks is not None:
        return _dense(case, part, model)
    probabilities = [_probabilities(model, case, i) for i in _batched(case, part)]
    keys, labels = _labelled(case, part)
    pred_probs = np.concatenate(probabilities).astype(np.float64)
    kept = labels != IGNORE
    keys, labels, pred_probs = np.array(keys)[kept], labels[kept], pred_probs[kept]
    columns: dict[str, Any] = {"sample_id": keys}
    for method in _CLASS_METHODS:
        columns[PREFIX + method] = get_label_quality_scores(labels, pred_probs, method=method)
    flagged = find_label_issues(labels, pred_probs, n_jobs=1)
    columns[f"{PREFIX}issues"] = 1.0 - flagged
    return pd.DataFrame(columns), {}


def _batched(case: Case, part: Part) -> list[list[int]]:
    positions = part.audited.tolist()
    size = 1 if case.inputs[0].ndim != 3 else _BATCH
    return [positions[first : first + size] for first in range(0, len(positions), size)]


def _labelled(case: Case, part: Part) -> tuple[list[str], np.ndarray]:
    """Sample id and given label of each audited image or frame, in order."""
    keys: list[str] = []
    labels = []
    for i in part.audited.tolist():
        target = case.targets[i].numpy()
        keys += [f"{case.keys[i]}#{t}" for t in range(len(target))] if target.ndim else []
        keys += [] if target.ndim else [case.keys[i]]
        labels.append(np.atleast_1d(target))
    return keys, np.concatenate(labels)


@torch.inference_mode()
def _probabilities(model: nn.Module, case: Case, positions: list[int]) -> np.ndarray:
    """Softmax of some images (N, K), or (N, K, H, W), or of the frames of one sequence (T, K)."""
    inputs = [case.inputs[i] for i in positions]
    if inputs[0].ndim == 3:
        logits: Tensor = model(torch.stack(inputs))
        return logits.softmax(dim=1).numpy()
    (sequence,) = inputs
    return _sequence_logits(model, sequence, case.clip_frames).softmax(dim=1).numpy()


def _sequence_logits(model: nn.Module, sequence: Tensor, clip_frames: int | None) -> Tensor:
    """Logits (T, K), clip by clip; the last clip moves back to end with the sequence."""
    if clip_frames is None or len(sequence) <= clip_frames:
        logits: Tensor = model(sequence[None])[0]
        return logits
    found: list[Tensor] = []
    for start in range(0, len(sequence), clip_frames):
        first = min(start, len(sequence) - clip_frames)
        found.append(model(sequence[None, first : first + clip_frames])[0][start - first :])
    return torch.cat(found)


def _dense(case: Case, part: Part, model: nn.Module) -> tuple[pd.DataFrame, dict[str, float]]:
    pred_probs = np.concatenate([_probabilities(model, case, i) for i in _batched(case, part)])
    labels = torch.stack([case.targets[i] for i in part.audited.tolist()]).numpy()
    settings: dict[str, Any] = {"n_jobs": 1, "verbose": False}
    softmin, _ = get_mask_quality_scores(labels, pred_probs, method="softmin", **settings)
    issues, _ = get_mask_quality_scores(labels, pred_probs, method="num_pixel_issues", **settings)
    columns = {
        "sample_id": [case.keys[i] for i in part.audited.tolist()],
        f"{PREFIX}softmin": softmin,
        f"{PREFIX}num_pixel_issues": issues,
    }
    assert case.true_masks is not None
    return pd.DataFrame(columns), pixel_detection(pred_probs, labels, case.true_masks[part.audited])


def pixel_detection(
    pred_probs: np.ndarray, labels: np.ndarray, true_masks: np.ndarray
) -> dict[str, float]:
    """How well the final loss finds wrong pixels, not images.

    Args:
        pred_probs: (N, K, H, W).
        labels: (N, H, W) given.
        true_masks: (N, H, W).
    """
    is_wrong = (labels != true_masks).ravel()
    if not is_wrong.any():
        return {}
    given = np.take_along_axis(pred_probs, labels[:, None], axis=1).ravel()
    # The rank of the loss is that of the falling probability.
    return {
        "pixel_final_loss_auroc": float(roc_auc_score(is_wrong, -given)),
        "pixel_final_loss_auprc": float(average_precision_score(is_wrong, -given)),
    }
