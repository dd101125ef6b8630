"""What the default leaves alone where the checkpoints are no better than the labels.

A gate on probabilities says how sure a model is, not how good: one that errs more often than the
labels makes them worse wherever it is sure. How often it errs is what it disagrees with, less what
is estimated to be wrong. Where that is more, a finding must show more than that the model is sure.
"""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from ray_audit.corrections.intents import Gate
from ray_audit.corrections.memorised import masks_apart
from ray_audit.tables.run_tables import RunTables
from ray_audit.tables.trajectories import losses_of

LEAST_P_OF_SEGMENTS = 0.3
"""Mean p(suggested) of a segment: below, the checkpoints speak for none of the two classes."""
_BY_PRIOR = 0.5


@dataclass(frozen=True)
class Errors:
    """How often labels and checkpoints are wrong, shares of all labels, 0-1.

    Attributes:
        disagree: labels that the last checkpoint does not predict.
        wrong: labels that are estimated to be wrong.
    """

    disagree: float
    wrong: float

    @property
    def are_worse(self) -> bool:
        """Whether checkpoints are wrong more often than labels."""
        return self.disagree - self.wrong > self.wrong

    @property
    def are_many(self) -> bool:
        """Whether checkpoints are wrong at least half as often as labels."""
        return self.disagree - self.wrong > self.wrong / 2


def errors_of(tables: RunTables) -> Errors | None:
    """Of a run; None where it does not say."""
    accuracy = tables.manifest.memorisation.get("train_accuracy")
    wrong = tables.manifest.estimate.get("fraction")
    if accuracy is None or wrong is None:
        return None
    return Errors(1 - float(accuracy), float(wrong))


def harmless(gate: Gate, tables: RunTables) -> tuple[Gate, list[str]]:
    """The gate as the default has it, and why.

    Args:
        gate: as the rule `findings` has it.
        tables: of the run.

    Returns:
        The same where checkpoints are better than labels. Else one label of an image must be more
        probably wrong than right, with the estimated share of wrong labels as the prior (labels
        that checkpoints never saw are weighed so in any case: see `unseen_labels`); regions
        must lie in masks whose losses form a group apart; boundaries of segments stay, and a
        segment's suggested class must have a mean probability of its own.
    """
    errors = errors_of(tables)
    if tables.task.has_one_label and tables.manifest.protocol == "held_out":
        return _weighed(gate, errors, tables)
    if errors is None or gate.memorised or not errors.are_worse:
        return gate, []
    why = (
        f"The last checkpoint disagrees with {errors.disagree:.1%} of the labels, of which "
        f"{errors.wrong:.1%} of all seem wrong: it errs more often than they do, and would harm "
        "more than it mends"
    )
    plain = "--rule findings goes by the checkpoints nevertheless"
    if tables.task.is_dense:
        samples, reason = _images_apart(tables)
        only = f"only findings in the {len(samples)} masks with losses of their own are applied"
        return replace(gate, samples=samples), [f"{why}; {only} ({reason}); {plain}"]
    if tables.task.has_one_label:
        only = "a label changes only if it is more probably wrong than right, as few as are"
        made = replace(gate, prior=errors.wrong, confidence=_BY_PRIOR)
        return made, [f"{why}; {only}; {plain}"]
    only = (
        "boundaries stay, parts of segments too, and segments with p(suggested) up to "
        f"{LEAST_P_OF_SEGMENTS:g}"
    )
    kinds = frozenset({"mislabel", "disorder"})
    return replace(gate, kinds=kinds, least_p=LEAST_P_OF_SEGMENTS), [f"{why}; {only}; {plain}"]


def _weighed(gate: Gate, errors: Errors | None, tables: RunTables) -> tuple[Gate, list[str]]:
    """Checkpoints that never saw the labels predict labels, mistakes among them.

    Of weak ones the estimate holds errors of their own. Where they err more often than labels, the
    low end of its interval counts; where no label need be wrong, as that end is none, but they err
    half as often, what is halfway between both.
    """
    estimate = tables.manifest.estimate
    share = estimate.get("fraction")
    if share is None:
        return gate, []
    said = f"{share:.1%} of all labels seem wrong"
    low = estimate.get("low") or 0.0
    if errors is not None and errors.are_worse:
        share *= low / max(estimate["num_wrong"], 1e-9)
        said += f", but the checkpoint errs more often than they do: taken are {share:.1%}"
    elif errors is not None and errors.are_many and low < 1:
        share /= 2
        said += f", but none need be: taken are {share:.1%}"
    note = (
        "The checkpoints never saw the labels: one changes where the last checkpoint is sure of "
        "another class, and that is more probably right by how often each class is given as "
        f"another ({said}); --rule findings goes by the gate alone"
    )
    # Whatever the losses look like, labels that were never seen were not learnt.
    made = replace(
        gate,
        memorised=False,
        weighed_by=share,
        sureness=gate.confidence,
        confidence=_BY_PRIOR,
    )
    return made, [note]


def _images_apart(tables: RunTables) -> tuple[frozenset[str], str]:
    """Samples whose losses form a group apart, and the reason."""
    apart = masks_apart(tables)
    names: set[str] = set()
    if apart.share.fraction:
        for scores, losses in tables.parts("scores", "trajectories"):
            is_apart: np.ndarray = apart.holds(losses_of(tables.read(losses, ["loss"])))
            part = tables.read(scores, ["sample_id"]).filter(pa.array(is_apart))
            names.update(part["sample_id"].to_pylist())
    return frozenset(names), apart.share.reason
