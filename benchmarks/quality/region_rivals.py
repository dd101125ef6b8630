"""What others propose as wrong components of masks, from the last checkpoint's probabilities.

Rottmann and Reese 2022 (arXiv 2207.06104) propose the predicted components of which the given mask
has nothing: ranked by their mean probability (`predicted`), or by a meta-classifier of components
that tells those that the mask confirms from those that it does not (`meta`). cleanlab flags pixels
(`pixels`): we take their connected components.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from cleanlab.segmentation.filter import find_label_issues
from scipy import ndimage
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ray_audit import rle
from ray_audit.evaluation.region_detection import ProposedRegion
from ray_audit.scores.components import connected_components
from ray_audit.scores.segmentation import smallest_region_px

CONFIRMED = (0.0, 0.25, 0.5)
"""Largest share of a predicted component that is given its class for it to be proposed. They use
the first; the others find outlines too, and each rival is shown with the best."""
_NUM_FOLDS = 5


@dataclass(frozen=True)
class SeenMasks:
    """What the last checkpoint sees in some images.

    Attributes:
        names: sample ids.
        p: (N, K, H, W) probabilities.
        given: (N, H, W) classes.
    """

    names: list[str]
    p: np.ndarray
    given: np.ndarray


@dataclass(frozen=True)
class _Component:
    name: str
    runs: rle.Runs
    confirmed: float
    statistics: np.ndarray


def proposals(seen: SeenMasks) -> dict[str, list[ProposedRegion]]:
    """What each rival proposes, under its name; of several settings each."""
    components = list(_predicted_components(seen))
    return _by_setting("predicted", components, _mean_probability(components)) | (
        _by_setting("meta", components, _meta_probability(components)) | {"pixels": _pixels(seen)}
    )


def _by_setting(
    rival: str, components: list[_Component], suspicion: np.ndarray
) -> dict[str, list[ProposedRegion]]:
    return {
        f"{rival}-{max_confirmed:g}": [
            ProposedRegion(component.name, float(value), component.runs)
            for component, value in zip(components, suspicion, strict=True)
            if component.confirmed <= max_confirmed
        ]
        for max_confirmed in CONFIRMED
    }


def _predicted_components(seen: SeenMasks) -> Iterator[_Component]:
    """Each with its statistics, inside and at the edge, its size and its class."""
    num_classes = seen.p.shape[1]
    for name, p, given in zip(seen.names, seen.p, seen.given, strict=True):
        predicted, ordered = p.argmax(0), np.sort(p, axis=0)
        top, margin = ordered[-1], ordered[-1] - ordered[-2]
        entropy = -(p * np.log(p + 1e-12)).sum(0)
        for pixels in _components(predicted):
            edge = pixels & ~ndimage.binary_erosion(pixels)
            label = int(predicted[pixels][0])
            statistics = [
                *(values[pixels].mean() for values in (top, entropy, margin)),
                *(values[edge].mean() for values in (top, entropy)),
                *(top[pixels].min(), top[pixels].std()),
                *(np.log(pixels.sum()), pixels.sum() / edge.sum()),
                *np.eye(num_classes)[label],
            ]
            confirmed = float((given[pixels] == label).mean())
            yield _Component(name, rle.runs_of(pixels), confirmed, np.array(statistics))


def _components(classes: np.ndarray) -> Iterator[np.ndarray]:
    numbers = connected_components(classes)
    sizes = np.bincount(numbers[numbers >= 0], minlength=1)
    for number in np.flatnonzero(sizes >= smallest_region_px(classes.size)):
        yield numbers == number


def _mean_probability(components: list[_Component]) -> np.ndarray:
    return np.array([component.statistics[0] for component in components])


def _meta_probability(components: list[_Component]) -> np.ndarray:
    """Cross-validated probability that the given mask confirms a component, images kept whole."""
    is_confirmed = np.array([component.confirmed > 0 for component in components])
    images = np.array([component.name for component in components])
    sides = (len(set(images[is_confirmed])), len(set(images[~is_confirmed])))
    if min(sides) < 2 * _NUM_FOLDS:  # too few to learn from: some fold may lack them
        return _mean_probability(components)
    found: np.ndarray = cross_val_predict(
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        np.stack([component.statistics for component in components]),
        is_confirmed,
        groups=images,
        cv=GroupKFold(_NUM_FOLDS),
        method="predict_proba",
    )
    return found[:, 1]


def _pixels(seen: SeenMasks) -> list[ProposedRegion]:
    flagged = find_label_issues(seen.given, seen.p, n_jobs=1, verbose=False)
    doubt = 1.0 - np.take_along_axis(seen.p, seen.given[:, None], axis=1)[:, 0]
    return [
        ProposedRegion(name, float(own[pixels].mean()), rle.runs_of(pixels))
        for name, mask, own in zip(seen.names, flagged, doubt, strict=True)
        for pixels in _components(np.where(mask, 0, -1))
    ]
