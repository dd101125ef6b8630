"""A few samples through decoding, labels and the model, before any pool starts.

What is wrong with all of a dataset shows at its first sample: a model that takes other inputs,
answers that are no logits, label values that mean something else. Single samples that are bad are
left to the run, which counts them.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice

import numpy as np
import torch
from torch import nn

from ray_audit import storage
from ray_audit.checkpoints.factory import started_within
from ray_audit.checkpoints.loading import load_weights
from ray_audit.config import AuditConfig
from ray_audit.cuts.unit import cut_unit
from ray_audit.engine.planning.numeric import numeric_settings
from ray_audit.engine.planning.plan import Inputs
from ray_audit.engine.planning.seen import Seen, SeenAnswer
from ray_audit.engine.run.counted_from import amounts_in_time, class_notes, time_notes
from ray_audit.engine.run.input_hints import input_hint
from ray_audit.engine.run.mask_notes import mask_notes
from ray_audit.engine.run.published import check_published
from ray_audit.errors import SpecificationError, StorageError
from ray_audit.formats.labels.classes import ClassNames, named_otherwise
from ray_audit.formats.registry import known_format
from ray_audit.printable import plural
from ray_audit.probes.look import Look
from ray_audit.probes.prepare import with_axes
from ray_audit.probes.prober import Prober, ProbeSettings
from ray_audit.samples import IGNORE, Batch, ShardFailure, Tail, WorkUnit

VOID = "not labelled"
_NUM_SPREAD = 8
_MAX_UNIT_BYTES = 256 * 2**20  # of units besides the first: a look must stay cheap
_LEAST_VOID_FRACTION = 0.01
_ROUNDING = 1e-2  # of models of half precision, and with room
_ABOUT_THIS_MACHINE = re.compile(r"cuda|gpu|triton|not implemented|half|bfloat16", re.IGNORECASE)


def look_at_samples(inputs: Inputs, model: nn.Module, index_uri: str) -> Seen:
    """Take a sample of the first unit through the first and last checkpoint, labels of a few more.

    Args:
        inputs: what is audited.
        model: of the factory; its weights are replaced.
        index_uri: folder of the label index.

    Raises:
        SpecificationError: no run with this specification could be right.
        CheckpointError: a checkpoint does not fit the model.
    """
    config = inputs.config
    _check_class_names(inputs)
    check_published(inputs)
    batches, failures, reasons, is_whole = _looked_at(inputs, index_uri)
    labels, labels_of = _labels_in(batches, config), f"{len(batches)} sample(s)"
    amounts, num_files = amounts_in_time(inputs, index_uri)
    if num_files:
        # The first clip of each file says little of its labels.
        labels, labels_of = _by_name(amounts, config), f"{num_files} file(s)"
    notes = [*mask_notes(inputs), *_label_notes(batches, labels, config)]
    named = [name for name in labels if name != VOID]
    notes += [
        *time_notes(inputs, index_uri),
        *class_notes(inputs, named, num_files or len(batches)),
    ]
    num_tried = len(batches) + len(failures)
    if not batches:
        if failures:
            nothing = why = f"all {num_tried} samples that were tried failed: {_first(failures)}"
        else:
            why, is_all = _nothing_to_see(reasons, inputs)
            nothing = why if is_all else ""
        seen = (*notes, why)
        return Seen(num_tried, labels=labels, labels_of=labels_of, notes=seen, nothing=nothing)
    failed = ""
    if failures:
        failed = f"{plural(_num_lost(failures), 'sample')} failed, such as {_first(failures)}"
        notes.append(failed)
    first, answers = batches[0], list[SeenAnswer]()
    look: Look | None = None
    for checkpoint in dict.fromkeys((inputs.checkpoints[0], inputs.checkpoints[-1])):
        load_weights(model, checkpoint.uri, config.model.weights)
        where = f"sample {_name(first)} at checkpoint {checkpoint.name}"
        found = _look(first, where, model, config)
        if isinstance(found, str):
            notes.append(found)
            break
        look = found
        if checkpoint == inputs.checkpoints[0]:
            for other in _of_other_channels(batches):
                _look(other, f"sample {_name(other)}, beside {_name(first)}", model, config)
        answers.append(SeenAnswer(checkpoint.name, look.answer_shape, look.answer_range))
    return Seen(
        num_tried,
        () if look is None else look.input_shapes,
        (0.0, 0.0) if look is None else look.input_range,
        labels,
        labels_of,
        tuple(answers),
        (*notes, *_answer_notes(answers, config)),
        failed=failed,
        num_failed=_num_lost(failures) if config.dataset.kind == "images" else 0,
        num_all=len(batches) + _num_lost(failures) if is_whole else _num_files(inputs),
    )


def check_seen(seen: Seen, inputs: Inputs) -> None:
    """Refuse a dataset of which nothing could be read, nothing has a label, or too much is lost.

    Args:
        seen: what the look has shown.
        inputs: what is audited.

    Raises:
        SpecificationError: all samples that were tried failed, or all there are are left out, or
            more failed than the budget allows.
    """
    if seen.nothing:
        raise SpecificationError(f"dataset: {seen.nothing}")
    if seen.num_all is not None and inputs.config.failures.exceeded(seen.num_failed, seen.num_all):
        raise SpecificationError(
            f"dataset: of {plural(seen.num_all, 'sample')} more fail than `failures` allows: "
            f"{seen.failed}"
        )


def _num_files(inputs: Inputs) -> int | None:
    """How many samples there are, where each file is one."""
    dataset, shards = inputs.config.dataset, inputs.listing.shards
    if dataset.kind != "images" or dataset.volume is not None:
        return None
    return None if any(known_format(s.key).holds_several for s in shards[:1]) else len(shards)


def _nothing_to_see(reasons: Counter[str], inputs: Inputs) -> tuple[str, bool]:
    """A sentence where all that was looked at is filtered, and whether that is all there is."""
    labels = inputs.config.dataset.labels
    each = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
    said = f"{plural(reasons.total(), 'sample')} that were looked at are left out ({each})"
    others = len(inputs.units) - len(_spread(inputs.units))
    if others:
        return f"the {said}; {plural(others, 'unit')} of data were not looked at", False
    why = (
        f"all {said}, and there are no others: nothing would be scored. Check that labels."
        f"{labels.form} names these files and what lies in them, and what dataset.void takes"
    )
    return why, True


def _looked_at(
    inputs: Inputs, index_uri: str
) -> tuple[list[Batch], list[ShardFailure], Counter[str], bool]:
    """The first batch of units that are spread over the dataset, and what was lost before it.

    Returns:
        Batches, failures, how many samples were filtered, by their reasons; whether that is all
        of the dataset.
    """
    batches: list[Batch] = []
    failures: list[ShardFailure] = []
    reasons, num_whole = Counter[str](), 0
    units = _spread(inputs.units)
    # Images are read in groups: a small dataset is one of them, and one mask tells little.
    num_each = max(1, _NUM_SPREAD // len(units)) if inputs.config.dataset.kind == "images" else 1
    for unit in units:
        for item in islice(_items(unit, inputs.config, index_uri), num_each):
            if isinstance(item, Tail):
                failures += item.failures
                num_whole += 1
                reasons.update(item.filtered["reason"].to_pylist())
            else:
                batches.append(item)
    return batches, failures, reasons, num_whole == len(inputs.units)


def _items(unit: WorkUnit, config: AuditConfig, index_uri: str) -> Iterator[Batch | Tail]:
    return cut_unit(unit, config.dataset, config.model.input, index_uri, max_batch=1)


def _spread(units: Sequence[WorkUnit]) -> list[WorkUnit]:
    places = dict.fromkeys(np.linspace(0, len(units) - 1, _NUM_SPREAD).astype(int).tolist())
    chosen = [units[place] for place in places]
    sizes = [sum(shard.size_bytes for shard in unit.shards) for unit in chosen]
    return [
        unit
        for place, (unit, size) in enumerate(zip(chosen, sizes, strict=True))
        if place == 0 or size <= _MAX_UNIT_BYTES
    ]


def _look(batch: Batch, where: str, model: nn.Module, config: AuditConfig) -> Look | str:
    """What the model does with a batch; a sentence where only this machine cannot tell.

    Raises:
        SpecificationError: it cannot be right with any sample.
    """
    settings = ProbeSettings.of(config, None, precision="float32", compiles=False)
    prober = Prober([model], settings, torch.device("cpu"))
    try:
        look = started_within(
            config.engine.start_timeout_s, "the model", lambda: prober.look(batch)
        )
    except ValueError as error:
        hint = input_hint(error, model, batch, config)
        raise SpecificationError(f"the model does not fit {where}: {error}{hint}") from error
    except SpecificationError as error:  # it took too long, which others may not find
        return f"{where}: {error}"
    except (Exception, SystemExit) as error:  # a user's model may raise anything
        said = f"{type(error).__name__}: {error}"
        if _ABOUT_THIS_MACHINE.search(said):
            return f"the model fails on {where}, on this machine: {said}"
        shape = with_axes(batch.arrays["inputs"].shape)
        raise SpecificationError(
            f"the model fails on {where}, inputs {shape}: {said}"
            f"{input_hint(error, model, batch, config)}"
        ) from error
    if look.sums_to_one and config.model.answers == "logits":
        raise SpecificationError(
            f"the model's answers to {where} lie in 0 to 1 and sum to 1 over the classes: they are "
            "probabilities, and the audit would take a softmax of them once more. Give "
            "model.answers: probabilities, or leave the softmax out of the model"
        )
    _check_declared(look, where, config.model.answers)
    return look


def _check_declared(look: Look, where: str, answers: str) -> None:
    """Hold answers against what `model.answers` says that they are.

    Raises:
        SpecificationError: no probability is such a number, or no logarithm of one.
    """
    low, high = look.answer_range
    least, what = {
        "probabilities": (0.0, "probabilities lie in 0 to 1"),
        "log_probabilities": (-np.inf, "logarithms of probabilities lie below 0"),
    }.get(answers, (-np.inf, ""))
    greatest = 1.0 if answers == "probabilities" else 0.0
    if what and (low < least - _ROUNDING or high > greatest + _ROUNDING):
        raise SpecificationError(
            f"the model's answers to {where} lie in {low:.4g} to {high:.4g}, but model.answers is "
            f"{answers}, and {what}: leave model.answers out where they are logits, or give "
            "sigmoid where each class has a logit of its own"
        )


def _answer_notes(answers: Sequence[SeenAnswer], config: AuditConfig) -> Iterator[str]:
    ranges = [answer.range for answer in answers]
    is_within = all(lowest >= 0 and highest <= 1 for lowest, highest in ranges)
    if ranges and is_within and config.model.answers == "logits":
        yield (
            "the model's answers lie in 0 to 1: where they are probabilities, give model.answers: "
            "probabilities; where each class has a sigmoid of its own, leave it out of the model "
            "and give model.answers: sigmoid"
        )


def _of_other_channels(batches: Sequence[Batch]) -> list[Batch]:
    """One batch of each number of channels that differs from the first batch's."""
    found: dict[int, Batch] = {}
    for batch in batches:
        inputs = batch.arrays["inputs"]
        if inputs.ndim > 3:
            found.setdefault(inputs.shape[-3], batch)
    return list(found.values())[1:]


def _labels_in(batches: Sequence[Batch], config: AuditConfig) -> dict[str, int]:
    counts = Counter[int]()
    for batch in batches:
        values, nums = np.unique(batch.arrays["targets"], return_counts=True)
        counts.update(dict(zip(values.tolist(), nums.tolist(), strict=True)))
    return _by_name(counts, config)


def _by_name(counts: Mapping[int, int], config: AuditConfig) -> dict[str, int]:
    names = config.dataset.classes
    return {VOID if i == IGNORE else names[i]: counts[i] for i in sorted(counts)}


def _label_notes(
    batches: Sequence[Batch], labels: dict[str, int], config: AuditConfig
) -> list[str]:
    """What the labels say of `void` and `classes`.

    Raises:
        SpecificationError: `void` leaves nothing but background.
    """
    dataset, notes = config.dataset, list[str]()
    num_void, total = labels.get(VOID, 0), sum(labels.values())
    found = [name for name in labels if name != VOID]
    is_masks = dataset.task.is_dense and dataset.labels.values is None
    if is_masks and len(dataset.classes) > 1 and found == dataset.classes[:1]:
        each = [(batch.arrays["targets"] == IGNORE).any() for batch in batches]
        if all(each) and num_void > _LEAST_VOID_FRACTION * total:
            raise SpecificationError(
                f"dataset.void {dataset.void} leaves only {found[0]!r} in all {len(batches)} masks "
                f"that were looked at, and {num_void} of {total} pixels are not labelled: if a "
                "void value is a class, say so in labels.values, such as "
                f"{{0: {found[0]}, 255: {dataset.classes[1]}}}"
            )
    classes = ClassNames.of(dataset)
    taken = [dataset.classes[index] for index in classes.void_classes]
    if taken and is_masks:
        notes.append(
            f"dataset.void takes all labels of class {', '.join(map(repr, taken))}: if the files "
            "count classes from 1, give labels.first_value: 1"
        )
    return notes


def _check_class_names(inputs: Inputs) -> None:
    """Hold the class names that a file has against those that are given.

    Raises:
        SpecificationError: its integers mean other classes.
    """
    dataset, labels = inputs.config.dataset, inputs.config.dataset.labels
    first = inputs.listing.shards[0]
    form = known_format(first.key)
    if labels.values is not None or labels.form not in form.forms:
        return
    names: list[str] = []
    try:
        names = form.class_names(first, labels)
    except Exception as error:  # a damaged file says what is wrong where it is read
        if isinstance(error, StorageError) and error.may_pass:
            raise
    where = f"{labels.column or labels.arrays!r} of {first.key}"
    wrong = named_otherwise(names, dataset, where)
    if wrong is not None:
        raise SpecificationError(str(wrong))


def _num_lost(failures: Sequence[ShardFailure]) -> int:
    return sum(failure.num_samples for failure in failures)


def _first(failures: Sequence[ShardFailure]) -> str:
    failure = failures[0]
    what = "its label" if failure.stage == "labels" else "the sample"
    return (
        f"{failure.sample_id or failure.shard} ({what}, {failure.error_class}): {failure.message}"
    )


def _name(batch: Batch) -> str:
    return str(batch.samples["sample_id"][0].as_py())


def remember_notes(config: AuditConfig, seen: Seen) -> None:
    """Keep what a look at samples said for later nights, which do not look again."""
    content = json.dumps({"notes": seen.notes}).encode()
    storage.write_bytes(_notes_uri(config), content)


def seen_before(config: AuditConfig) -> Seen:
    """What the look at samples said before the first records of these settings."""
    with suppress(StorageError, ValueError):  # an older version kept none
        kept = json.loads(storage.read_bytes(_notes_uri(config)))
        return Seen(notes=tuple(kept["notes"]))
    return Seen()


def _notes_uri(config: AuditConfig) -> str:
    return storage.join(config.output, "seen", f"{storage.digest(numeric_settings(config))}.json")
