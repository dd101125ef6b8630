"""From intents to the changes that the writers take: images and videos, frames of sequences."""

from collections.abc import Sequence

import numpy as np

from ray_audit.corrections.corrections_table import CorrectionRow, harm, row_of
from ray_audit.corrections.frame_corrections import correct_frames
from ray_audit.corrections.intents import Intent
from ray_audit.formats.label_changes import FrameChange, LabelChanges, Progress
from ray_audit.formats.labels.given import GivenLabels
from ray_audit.sample_ids import Owner

Corrected = tuple[LabelChanges, list[CorrectionRow]]


def correct_classes(
    intents: Sequence[Intent], classes: Sequence[str], owners: dict[str, Owner]
) -> Corrected:
    """New classes of images, or of videos with one label.

    Args:
        intents: of the samples; the first word on a sample counts, a reviewer's before a rule's.
        classes: names in index order.
        owners: what the label of each sample belongs to.
    """
    changes: dict[Owner, int] = {}
    rows = []
    decided: set[str] = set()
    for intent in sorted(intents, key=lambda candidate: not candidate.is_decided):
        if intent.sample_id in decided:
            continue
        decided.add(intent.sample_id)
        owner = owners.get(intent.sample_id)
        if intent.outcome is not None or owner is None or intent.suggested == intent.given:
            rows.append(row_of(intent, intent.outcome or "unmatched"))
            continue
        changes[owner] = classes.index(str(intent.suggested))
        harmed = None
        if intent.by != "decisions" and intent.p_given is not None:
            harmed = harm(intent.p_given, intent.p_suggested or 0.0, 1)
        rows.append(row_of(intent, "changed", 1, harmed))
    return LabelChanges(classes=changes), rows


def correct_sequences(
    intents: Sequence[Intent],
    classes: Sequence[str],
    given: GivenLabels,
    max_changed_fraction: float | None,
    progress: Progress,
) -> Corrected:
    """New labels of frames, one video or sequence after another."""
    by_owner: dict[str, list[Intent]] = {}
    for intent in intents:
        by_owner.setdefault(intent.shard, []).append(intent)
    owners = {owner.key: owner for owner in given.sequence_owners()}
    changes: dict[Owner, FrameChange] = {}
    rows: list[CorrectionRow] = []
    for num_done, (name, mine) in enumerate(by_owner.items()):
        progress("correcting videos", num_done, len(by_owner))
        if name not in owners:  # its labels cannot be read any more
            why = given.left_out.get(name) or given.left_out.get(name.rpartition("#")[0])
            rows += [row_of(intent, intent.outcome or "unmatched", evidence=why) for intent in mine]
            continue
        frames, labels = given.sequence(owners[name])
        stored = given.label_rows(owners[name], frames)
        made = correct_frames(frames, labels, mine, classes, max_changed_fraction, stored)
        rows += made.rows
        differs = np.flatnonzero(made.labels != labels)
        if len(differs):
            changes[owners[name]] = FrameChange(frames[differs], made.labels[differs])
    return LabelChanges(frames=changes, times=given.times, left_out=given.left_out), rows
