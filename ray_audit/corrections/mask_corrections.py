"""Corrects the masks of one work unit: a task of the engine, which holds one mask at a time."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ray_audit import rle
from ray_audit.config import AuditConfig
from ray_audit.corrections.corrections_table import CorrectionRow, row_of
from ray_audit.corrections.intents import MOVED_KINDS, Intent, Rule, sentence
from ray_audit.corrections.mask_orders import MaskOrder
from ray_audit.corrections.proposals import (
    MaskRule,
    Pair,
    PixelTally,
    Proposal,
    propose,
    region_in,
)
from ray_audit.corrections.write_labels import write_masks
from ray_audit.engine.run.predict import Predicted, Predictor, device_of
from ray_audit.errors import SampleError
from ray_audit.formats.accounting import UnitAccounting
from ray_audit.formats.base import Stored
from ray_audit.formats.drawn_masks import StoredMasks
from ray_audit.formats.job import UnitContext
from ray_audit.formats.label_changes import MaskOf
from ray_audit.formats.labels.classes import ClassNames
from ray_audit.formats.pixels.encoding import read_labels, stored_values, targets_of
from ray_audit.formats.registry import known_format
from ray_audit.formats.stacks.open_stack import has_stacks, open_stack
from ray_audit.sample_ids import Owner
from ray_audit.samples import IGNORE, Shard, WorkUnit


@dataclass(frozen=True)
class MaskWork:
    """What all tasks share.

    Attributes:
        config: the specification of the run.
        index_uri: label index of the run.
        rule: how pixels change; None where only decisions are applied.
        steps: URIs of the checkpoints that each predictor of the rule averages.
        max_changed_fraction: what the rule may change of an image, 0-1; None for everything.
        to_uri: where the masks go; None to write nothing.
    """

    config: AuditConfig
    index_uri: str
    rule: MaskRule | None
    steps: tuple[tuple[str, ...], ...]
    max_changed_fraction: float | None
    to_uri: str | None


def correct_masks(work: MaskWork, order: MaskOrder) -> list[CorrectionRow]:
    """Write the masks of a unit; what became of its intents and of its flagged images.

    Raises:
        LabelError: a new mask does not fit the format of the old one.
        CheckpointError: a checkpoint cannot be read.
        StorageError: something cannot be read or written.
    """
    proposals = _proposals(work, order)
    rows: list[CorrectionRow] = []
    for shard in order.unit.shards:
        masks = _MaskLoader(work, shard, order.by_shard.get(shard.key, {}), proposals)
        masks.write()
        rows += masks.rows
    return rows


def _proposals(work: MaskWork, order: MaskOrder) -> dict[str, Proposal]:
    intents = order.intents
    open_ = {name for name, of_sample in intents.items() if any(map(_is_open, of_sample))}
    sample_ids = open_ | order.flagged
    if work.rule is None or not sample_ids:
        return {}
    return propose(predicted_of(work, order.unit, sample_ids), intents, work.rule)


def predicted_of(
    work: MaskWork, unit: WorkUnit, sample_ids: Collection[str]
) -> Iterator[tuple[Predicted, ...]]:
    """Whole images or tiles of a unit, each as every predictor of the rule sees it."""
    device = device_of(work.config.engine)
    predictors = [Predictor(work.config, uris, work.index_uri, device) for uris in work.steps]
    predicted = (predictor.predict(unit, sample_ids) for predictor in predictors)
    return zip(*predicted, strict=True)


def _is_open(intent: Intent) -> bool:
    """Whether the checkpoints have to say what becomes of it."""
    return intent.outcome is None and not intent.is_decided


class _MaskLoader:
    """The masks of one shard.

    Args:
        work: shared by all.
        shard: an image with its mask, or a container of several.
        wanted: intents by sample; a sample may have none of its own.
        proposals: what the rule would change, by sample.
    """

    def __init__(
        self,
        work: MaskWork,
        shard: Shard,
        intents: Mapping[str, Sequence[Intent]],
        proposals: Mapping[str, Proposal],
    ) -> None:
        self.rows: list[CorrectionRow] = []
        self._seen: set[str] = set()
        self._work = work
        self._shard = shard
        self._intents = intents
        self._proposals = proposals
        self._classes = ClassNames.of(work.config.dataset)
        self._stored = self._stored_masks()

    def write(self) -> None:
        """Write the shard's masks, or in a dry run only find out what would be written."""
        if self._work.to_uri is not None:
            mask: MaskOf | None = self._mask if self._intents else None
            self._name_left_out(
                write_masks(
                    self._work.config.dataset, self._shard, mask, self._work.to_uri, self._as_it_is
                )
            )
        elif self._intents:
            for sample_id, read in self._stored:
                if sample_id in self._intents:
                    self._new_mask(sample_id, read)
        for sample_id in self._intents.keys() - self._seen:
            self._leave(self._intents[sample_id], "its mask is not there any more")

    def _name_left_out(self, left_out: Mapping[str, str]) -> None:
        """A row for each member that is not in the copy, or one for the whole shard."""
        key = self._shard.key
        if key in left_out:  # what was decided about its masks was not written
            self.rows.clear()
            self._seen |= self._intents.keys()
            for intents in self._intents.values():
                self._leave(intents, left_out[key])
        names = [key] if key in left_out else left_out
        for name in names:
            intent = Intent(name, key, "", None, "findings", "unmatched", None, "")
            self.rows.append(
                row_of(intent, "unmatched", evidence=f"left out of the copy: {left_out[name]}")
            )

    def _mask(self, owner: Owner) -> np.ndarray | None:
        sample_id = owner.key
        if sample_id not in self._intents:
            return None
        read = next(read for name, read in self._stored if name == sample_id)
        return self._new_mask(sample_id, read)

    def _as_it_is(self, owner: Owner) -> np.ndarray:
        return next(read for name, read in self._stored_masks() if name == owner.key)()

    def _stored_masks(self) -> Iterator[tuple[str, Callable[[], np.ndarray]]]:
        """What reads the masks of the shard, in its order, which is the writers' too."""
        form, dataset = known_format(self._shard.key), self._work.config.dataset
        tally = UnitAccounting("corrections")
        if self._shard.label_uri is not None and has_stacks(dataset, self._shard):
            with open_stack(self._shard, dataset, tally) as stack:
                for frame in stack.frames.tolist():
                    yield Owner(self._shard.key, str(frame)).key, partial(stack.mask, frame)
        elif "masks" not in form.forms:
            if self._shard.label_uri is not None:
                yield self._shard.key, self._file_mask
        else:
            job = UnitContext(dataset, None, self._work.index_uri, tally)
            for item in form.read((self._shard,), job):
                if item.mask is not None:
                    yield item.sample_id, self._reader(item.mask)

    def _file_mask(self) -> np.ndarray:
        dataset = self._work.config.dataset
        stored = StoredMasks(dataset, self._work.index_uri, [self._shard]).stored(self._shard)
        assert stored is not None  # as it has a label
        return read_labels(stored, dataset, self._classes)

    def _reader(self, stored: Stored) -> Callable[[], np.ndarray]:
        return partial(read_labels, stored, self._work.config.dataset, self._classes)

    def _new_mask(self, sample_id: str, read: Callable[[], np.ndarray]) -> np.ndarray | None:
        intents = self._intents[sample_id]
        self._seen.add(sample_id)
        try:
            mask = read()
            targets = targets_of(mask, self._classes)
        except SampleError as error:
            self._leave(intents, str(error))
            return None
        after = targets.copy()
        for intent in intents:
            if intent.is_decided:
                self.rows.append(self._decide(intent, targets, after))
        self._propose(sample_id, intents, after)
        changed = after != targets
        if not changed.any():
            return None
        return stored_values(mask, after, self._classes)

    def _leave(self, intents: Sequence[Intent], why: str) -> None:
        self.rows += [
            row_of(intent, intent.outcome or "unmatched", evidence=None if intent.outcome else why)
            for intent in intents
        ]

    def _decide(self, intent: Intent, targets: np.ndarray, after: np.ndarray) -> CorrectionRow:
        """Apply a reviewer's decision: to the pixels of the region that have its given class."""
        if intent.outcome is not None:
            return row_of(intent, intent.outcome)
        if intent.mask_rle is None or intent.mask_size_px != targets.shape:
            return row_of(intent, "unmatched", evidence="its region is not one of this mask")
        region = region_in(intent, (0, 0, *targets.shape))
        names = self._classes.classes
        given = names.index(intent.given) if intent.given in names else IGNORE
        new = names.index(str(intent.suggested))
        to_new = region & (targets == given)
        # Accepted as it stands, a region of two classes gets each where the other was.
        is_pair = intent.kind in MOVED_KINDS and intent.p_suggested is not None
        to_given = region & (targets == new) & (is_pair and given != IGNORE)
        after[to_new] = new
        after[to_given] = given
        num = int(np.count_nonzero(to_new | to_given)) if new != given else 0
        if not num:
            return row_of(intent, "unmatched", evidence="no pixel there has the given class")
        return row_of(intent, "changed", num)

    def _propose(self, sample_id: str, intents: Sequence[Intent], after: np.ndarray) -> None:
        """Apply what the rule would change, unless it is too much; a row for each intent."""
        undecided = {
            n: candidate for n, candidate in enumerate(intents) if not candidate.is_decided
        }
        proposal = self._proposals.get(sample_id)
        if proposal is None:
            self._leave(list(undecided.values()), "its image cannot be read any more")
            return
        max_changed = self._work.max_changed_fraction
        why = None if max_changed is None else proposal.extent.refusal(max_changed)
        if why is None:
            _draw(proposal, after)
        if any(position < 0 for position, *_ in proposal.tallies):
            undecided[-1] = self._whole(sample_id)
        for position, intent in undecided.items():
            self.rows += self._rows_of(position, intent, proposal.tallies, why)

    def _whole(self, sample_id: str) -> Intent:
        """Stands for an image that the rule may change anywhere."""
        by: Rule = "flagged" if self._rule.kind == "images" else "adele"
        return Intent(sample_id, self._shard.key, "", None, by, None, None, "a flagged image")

    @property
    def _rule(self) -> MaskRule:
        assert self._work.rule is not None  # there is a proposal
        return self._work.rule

    def _rows_of(
        self, position: int, intent: Intent, tallies: Mapping[Pair, PixelTally], why: str | None
    ) -> Iterator[CorrectionRow]:
        """A row for each pair of classes, or one that says why there is none."""
        mine = {pair: count for pair, count in sorted(tallies.items()) if pair[0] == position}
        if intent.outcome is not None or not mine:
            said = "no labelled pixel there is confident enough"
            yield row_of(intent, intent.outcome or "kept", evidence=f"{intent.evidence}; {said}")
            return
        gate, names = self._rule.gate, self._classes.classes
        for (_, before, after), tally in mine.items():
            p_given, p_new = tally.sum_p_given / tally.num, tally.sum_p_new / tally.num
            said = (
                f"{intent.evidence}; {tally.num} px with {sentence(p_given, p_new)}, each above "
                f"{gate.confidence:g}{' among the other classes' if gate.memorised else ''}"
            )
            of_pair = replace(
                intent,
                given=names[before],
                suggested=names[after],
                p_given=p_given,
                p_suggested=p_new,
                confidence=p_new,
            )
            if why is None:
                yield row_of(of_pair, "changed", tally.num, tally.num_harmed, said)
            else:
                yield row_of(of_pair, "refused", evidence=f"{why} ({said})")


def _draw(proposal: Proposal, after: np.ndarray) -> None:
    """Write the runs of a proposal into a mask."""
    flat = after.T.copy().reshape(-1)  # runs go down the columns
    for label, pieces in proposal.runs.items():
        for start, stop in rle.union(pieces).tolist():
            flat[start:stop] = label
    after[...] = flat.reshape(after.shape[::-1]).T
