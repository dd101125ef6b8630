"""Counts of what is committed so far, from receipts alone."""

import time
from dataclasses import dataclass

from ray_audit.engine.backends.wire import Receipt
from ray_audit.engine.planning.plan import Plan


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        num_units: work units ended, of `num_units_total`.
        num_samples: rows committed; a tile or clip of a sample is a row.
        num_failed: labelled samples that failed.
        samples_per_s: rows that the pools did per second, from the first crate to the latest.
        num_batches: batches committed.
        probed_at_s: Unix time when the pools had done the crate last committed.
    """

    num_units: int
    num_units_total: int
    num_samples: int
    num_failed: int
    samples_per_s: float
    num_batches: int
    probed_at_s: float

    @property
    def fraction(self) -> float:
        """Share of the units that ended."""
        return self.num_units / max(1, self.num_units_total)


class ProgressCounter:
    """Adds up receipts.

    Args:
        plan: the plan that they belong to.
    """

    def __init__(self, plan: Plan) -> None:
        self._num_units_total = len(plan.work)
        self._num_units = 0
        self._num_samples = 0
        self._num_first = 0
        self._num_batches = 0
        self._num_bytes = 0
        self._num_decoded = 0
        self._num_lead_in = 0
        self._decode_s = 0.0
        self._probe_s = 0.0
        self._first_s: float | None = None
        self._last_s = 0.0
        self._started_s = time.time()
        self.num_failed = 0
        self.num_sound = 0
        self.notes: set[str] = set()
        self._failed: set[str] = set()
        self.num_expected = plan.num_expected

    def add(self, receipt: Receipt) -> Progress:
        """Count one receipt."""
        again = self._failed.intersection(receipt.failed)
        self._failed.update(receipt.failed)
        self.num_failed += receipt.num_failed - len(again)
        self._num_bytes += receipt.num_bytes
        self._num_decoded += receipt.num_decoded
        self._num_lead_in += receipt.num_lead_in
        self._decode_s += receipt.decode_s
        self._probe_s += sum(receipt.probe_s)
        self._num_units += receipt.ends_unit
        self.notes.update(receipt.notes)
        self.num_sound += receipt.num_samples
        if receipt.num_batches:
            # The pools' own clock: commits may lag behind and come in bursts.
            if self._first_s is None or receipt.probed_at_s < self._first_s:
                self._first_s, self._num_first = receipt.probed_at_s, receipt.num_samples
            self._last_s = max(self._last_s, receipt.probed_at_s)
            self._num_batches += receipt.num_batches
            self._num_samples += receipt.num_samples
        return Progress(
            self._num_units,
            self._num_units_total,
            self._num_samples,
            self.num_failed,
            self._rate(),
            self._num_batches,
            receipt.probed_at_s,
        )

    def _rate(self) -> float:
        if self._first_s is None or self._last_s <= self._first_s:
            return 0.0
        return (self._num_samples - self._num_first) / (self._last_s - self._first_s)

    def timing(self) -> dict[str, float | int]:
        """What the manifest keeps: seconds, bytes and rates."""
        start_up_s = 0.0 if self._first_s is None else self._first_s - self._started_s
        return {
            "start_up_s": round(start_up_s, 3),
            "samples_per_s": round(self._rate(), 3),
            "num_batches": self._num_batches,
            "bytes_read": self._num_bytes,
            "num_decoded": self._num_decoded,
            "num_lead_in": self._num_lead_in,
            "decode_s": round(self._decode_s, 3),
            "probe_s": round(self._probe_s, 3),
        }
