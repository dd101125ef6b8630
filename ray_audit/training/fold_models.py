"""Models for out-of-sample audits: each of K is trained on all folds but one, and audits that one.

Which fold a sample is in follows from its name alone (`ray_audit.sources.fold_shards`), so a
specification of a fold needs no list of samples, and a sample that comes later is one that the
model of its fold has never seen.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from ray_audit import storage
from ray_audit.config import AuditConfig, FoldConfig
from ray_audit.errors import SpecificationError
from ray_audit.folds import fold_of
from ray_audit.sources import Listing
from ray_audit.sources.fold_shards import sample_keys
from ray_audit.training.training_folder import TrainingFolder

FOLD_SCHEMA = pa.schema([("key", pa.string()), ("fold", pa.int32())])


def fold_parts(
    config: AuditConfig, place: TrainingFolder
) -> dict[int | None, tuple[AuditConfig, TrainingFolder]]:
    """The trainings: fold -> its specification and place; None -> the whole.

    A fold's dataset is everything but the fold.

    Raises:
        SpecificationError: the dataset is a fold already.
    """
    training = config.training
    if training.folds is None:
        return {None: (config, place)}
    if config.dataset.fold is not None:
        raise SpecificationError("training.folds: the dataset is a fold already (dataset.fold)")
    parts: dict[int | None, tuple[AuditConfig, TrainingFolder]] = {}
    for index in range(training.folds):
        fold = _fold(config, index).model_copy(update={"part": "rest"})
        dataset = config.dataset.model_copy(update={"fold": fold})
        cache_mib = training.cache_mib - _cache_of_fold(config)
        update = {
            "dataset": dataset,
            "training": training.model_copy(update={"cache_mib": cache_mib}),
        }
        parts[index] = config.model_copy(update=update), place.fold(index)
    return parts


def _cache_of_fold(config: AuditConfig) -> int:
    """MiB of `cache_mib` for what is held out: about its share of the data."""
    training = config.training
    assert training.folds is not None
    return training.cache_mib // training.folds


def _fold(config: AuditConfig, index: int) -> FoldConfig:
    training = config.training
    assert training.folds is not None
    return FoldConfig(
        num=training.folds, index=index, seed=training.seed, group=training.fold_group
    )


def held_out_of(config: AuditConfig) -> AuditConfig:
    """The fold that a training of `fold_parts` leaves out."""
    fold = config.dataset.fold
    assert fold is not None
    dataset = config.dataset.model_copy(
        update={"fold": fold.model_copy(update={"part": "held_out"})}
    )
    training = config.training.model_copy(update={"cache_mib": _cache_of_fold(config)})
    return config.model_copy(update={"dataset": dataset, "training": training})


def write_fold_map(
    config: AuditConfig, place: TrainingFolder, listing: Listing, index_dir: Path
) -> str:
    """Write `folds.parquet`: `key` of a shard (or shard#name within one) and its `fold`.

    Raises:
        SpecificationError: a fold would be empty.
    """
    fold = _fold(config, 0)
    labelled = [shard for shard in listing.shards if shard.label_digest]
    keys = list(sample_keys(labelled, config.dataset, str(index_dir)))
    folds = [fold_of(key, fold) for key in keys]
    sizes = Counter(folds)
    empty = [index for index in range(fold.num) if not sizes[index]]
    if empty:
        raise SpecificationError(
            f"training.folds: fold {empty[0]} of {fold.num} has none of the {len(keys)} files or "
            "sequences: ask for fewer folds, or take another training.seed (names are drawn by "
            "hash, so that new ones move no other)"
        )
    uri = place.at("folds.parquet")
    with storage.open_write(uri) as sink:
        pq.write_table(pa.table({"key": keys, "fold": folds}, FOLD_SCHEMA), sink)
    return uri


def write_fold_specification(config: AuditConfig, place: TrainingFolder) -> str:
    """Write `audit.yaml` into a fold's place: it audits the fold with the models that never saw it.

    Args:
        config: of the training: its dataset is all but the fold.
        place: of the fold.
    """
    fold = config.dataset.fold
    assert fold is not None
    values: dict[str, Any] = config.model_dump(mode="json", exclude_unset=True)
    values["dataset"]["fold"] = fold.model_dump(mode="json") | {"part": "held_out"}
    values |= {
        "name": f"{config.name}-fold-{fold.index}",
        "checkpoints": place.pattern,
        "protocol": "held_out",
        "output": storage.join(config.output, f"fold_{fold.index}"),
    }
    values.pop("training", None)
    AuditConfig.parse(values, source="the specification of a fold")
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    uri = place.at("audit.yaml")
    storage.write_bytes(uri, text.encode())
    return uri


def held_out_parts(config: AuditConfig) -> list[AuditConfig]:
    """A specification a fold, as its training left it, otherwise as the whole's says.

    The folds are read, not derived: with another seed or group a model would audit what it has
    been trained on.

    Raises:
        SpecificationError: there are no folds, or not all of them.
    """
    place = TrainingFolder.of(config.checkpoints)
    first = _trained_fold(place.fold(0))
    parts = []
    for index in range(first.num):
        of_fold = place.fold(index)
        fold = _trained_fold(of_fold)
        if fold != first.model_copy(update={"index": index}):
            raise SpecificationError(
                f"{of_fold.at('audit.yaml')} is of other folds than those beside it: train anew"
            )
        update = {
            "name": f"{config.name}-fold-{index}",
            "dataset": config.dataset.model_copy(update={"fold": fold}),
            "checkpoints": of_fold.pattern,
            "protocol": "held_out",
            "output": storage.join(config.output, f"fold_{index}"),
        }
        parts.append(config.model_copy(update=update))
    return parts


def _trained_fold(place: TrainingFolder) -> FoldConfig:
    uri = place.at("audit.yaml")
    if not storage.exists(uri):
        raise SpecificationError(f"--folds: there is no {uri}; train with `--folds K` first")
    fold = AuditConfig.load(uri).dataset.fold
    if fold is None:
        raise SpecificationError(f"--folds: {uri} names no fold; train with `--folds K` first")
    return fold
