"""Which masks a task corrects: a work unit, with the intents of its images."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ray_audit.corrections.intents import Intent
from ray_audit.samples import Shard, WorkUnit
from ray_audit.sources.units import group_units


@dataclass(frozen=True)
class MaskOrder:
    """What one task does.

    Attributes:
        unit: what is read.
        by_shard: shard -> sample -> its intents; a flagged sample may have none.
        flagged: samples that the rule may change anywhere.
    """

    unit: WorkUnit
    by_shard: Mapping[str, Mapping[str, tuple[Intent, ...]]]
    flagged: frozenset[str]

    @property
    def intents(self) -> dict[str, tuple[Intent, ...]]:
        """By sample."""
        return {
            name: found for by_sample in self.by_shard.values() for name, found in by_sample.items()
        }


def mask_orders(
    shards: Sequence[Shard],
    intents: Iterable[Intent],
    flagged: Iterable[tuple[str, str]],
    only_affected: bool,
) -> Iterator[MaskOrder]:
    """One task per work unit.

    Args:
        shards: as listed.
        intents: of findings.
        flagged: shard and sample of images that the rule may change anywhere.
        only_affected: leave out units in which nothing may change, as a dry run does.
    """
    by_shard: dict[str, dict[str, tuple[Intent, ...]]] = {}
    for intent in intents:
        samples = by_shard.setdefault(intent.shard, {})
        samples[intent.sample_id] = (*samples.get(intent.sample_id, ()), intent)
    anywhere: dict[str, set[str]] = {}
    for shard, sample_id in flagged:
        anywhere.setdefault(shard, set()).add(sample_id)
        by_shard.setdefault(shard, {}).setdefault(sample_id, ())
    for unit in group_units(shards, "corrections"):
        keys = [shard.key for shard in unit.shards]
        mine = {key: by_shard[key] for key in keys if key in by_shard}
        if mine or not only_affected:
            names = frozenset(name for key in keys for name in anywhere.get(key, ()))
            yield MaskOrder(unit, mine, names)
