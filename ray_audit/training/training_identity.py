"""What makes two trainings the same: all that changes their weights.

A training goes on only where each part is what it was. Where files lie is none of them, since data
may move; nor are keys at their default, so that a key that comes later changes nothing.
"""

from dataclasses import asdict, dataclass
from typing import Any

from ray_audit import storage
from ray_audit.checkpoints.model_identity import identity_of, identity_of_factory
from ray_audit.config import AuditConfig
from ray_audit.formats.labels.classes import with_values
from ray_audit.formats.registry import known_format
from ray_audit.sources import Listing

_CHANGES_NO_WEIGHT = {"records", "num_gpus", "cache_mib"}
# Of a split the listing knows the lines; into which parts a long video is cut changes nothing.
_BESIDE_DATA = {"uri": True, "split": True, "labels": True, "clip": {"slice_frames"}}
_PLACES = ("frames", "segments", "videos", "images", "masks", "panoptic")


@dataclass(frozen=True)
class TrainingIdentity:
    """Digests of what a training is made of.

    Attributes:
        parts: what -> its digest.
        earlier: the one digest that was kept before there were parts: it knew neither how labels
            are read nor the code of model and loss.
    """

    parts: dict[str, str]
    earlier: str

    @property
    def state(self) -> dict[str, Any]:
        """What is kept with the weights, as plain values."""
        return asdict(self)

    def changed_since(self, state: dict[str, Any]) -> list[str]:
        """The parts that differ from those that were kept."""
        if self.is_earlier(state):
            return [] if state.get("settings") == self.earlier else ["settings or data"]
        kept: dict[str, str] = state["identity"]["parts"]
        names = [*self.parts, *(name for name in kept if name not in self.parts)]
        return [name for name in names if kept.get(name) != self.parts.get(name)]

    @staticmethod
    def is_earlier(state: dict[str, Any]) -> bool:
        """Whether what was kept knows no parts."""
        return "identity" not in state


def training_identity(
    config: AuditConfig, listing: Listing
) -> tuple[TrainingIdentity, tuple[str, ...]]:
    """Of a specification and the files and labels that it names; and what could not be read.

    Raises:
        SpecificationError: the file of `labels.values` is wrong.
    """
    training = config.training
    model = identity_of(config.model)
    parts = {
        "dataset": _digest(config.dataset, exclude=_BESIDE_DATA),
        "labels": _labels_digest(config, listing),
        "files and their labels": storage.digest(_versions(listing), listing.labels_digest),
        "model": _digest(config.model),
        "the model's code or files": storage.digest(*model.parts),
        "training": _digest(training, exclude=_free(training.schedule)),
    }
    notes = model.notes
    if training.loss is not None:
        loss = identity_of_factory(training.loss, training.loss_kwargs, "training.loss_kwargs")
        parts["the loss's code or files"] = storage.digest(*loss.parts)
        notes += loss.notes
    return TrainingIdentity(parts, _earlier_digest(config, listing)), notes


def _digest(section: Any, exclude: Any = None) -> str:
    return storage.digest(section.model_dump(mode="json", exclude_defaults=True, exclude=exclude))


def _free(schedule: str) -> set[str]:
    """Keys of `training` that may change: at a constant rate, more epochs go on after fewer."""
    return _CHANGES_NO_WEIGHT | ({"epochs"} if schedule == "constant" else set())


def _labels_digest(config: AuditConfig, listing: Listing) -> str:
    """How labels are read; where they lie only if that is in the data: files are digested."""
    labels = with_values(config).dataset.labels
    is_inside = labels.form in known_format(listing.shards[0].key).forms
    return storage.digest(labels.form, _digest(labels, exclude=None if is_inside else {*_PLACES}))


def _versions(listing: Listing) -> list[tuple[Any, ...]]:
    shards = listing.shards
    return [(s.key, s.size_bytes, s.etag, s.label_digest, s.class_index) for s in shards]


def _earlier_digest(config: AuditConfig, listing: Listing) -> str:
    training = config.training.model_dump(mode="json", exclude=_free(config.training.schedule))
    dataset = config.dataset.model_dump(mode="json", exclude={"uri", "labels"})
    model = config.model.model_dump(mode="json")
    return storage.digest(dataset, model, training, storage.digest(*_versions(listing)))
