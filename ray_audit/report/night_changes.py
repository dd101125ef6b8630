"""Night to night: what changed since an earlier run, and findings per kind over the last nights."""

import contextlib
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from ray_audit import storage
from ray_audit.errors import StorageError
from ray_audit.tables.diff import Diff, changed_settings, diff_runs
from ray_audit.tables.manifest import Manifest, complete_runs
from ray_audit.tables.run_tables import RunTables

NUM_NIGHTS = 14
_NUM_FIXED = 500
_FIXED = ("kind", "shard", "sample_id", "start_frame", "end_frame", "given", "suggested", "rank")


def make_changes(tables: RunTables, against: str | None = None) -> dict[str, Any] | None:
    """What the page says of the nights before; None where there are none.

    Args:
        tables: of the run.
        against: an earlier run; by default the one of all shards that was published last, of the
            last date before that has one.

    Returns:
        `nights` (run_id, total and by_kind, oldest first, this run last), `against`, `settings`
        (why the two were not compared), `totals` and `by_kind` by change, `fixed` (rows, first
        ranks first), and `of_finding`: finding id -> `new` or `recurring`.

    Raises:
        StorageError: `against` is no complete run.
    """
    output = tables.run_uri.rpartition("/runs/")[0]
    nights = _earlier_nights(output, tables.manifest)
    before = against or (nights[-1].run_id if nights else None)
    if before is None:
        return None
    diff = diff_runs(output, before, tables.manifest.run_id)
    alike = [night for night in nights if not any(changed_settings(night, tables.manifest))]
    return {
        "nights": [_night(manifest) for manifest in [*alike[-NUM_NIGHTS + 1 :], tables.manifest]],
        "against": before,
        "settings": list(diff.changed_settings),
        "totals": diff.totals(),
        "by_kind": diff.summary()["by_kind"],
        "fixed": _fixed(diff),
        "of_finding": {
            match.after["finding_id"]: match.change
            for match in diff.matches
            if match.after is not None
        },
    }


def _earlier_nights(output: str, manifest: Manifest) -> list[Manifest]:
    """Of each earlier date the run published last, oldest first, `NUM_NIGHTS` dates at most."""
    nights: list[Manifest] = []
    stored = complete_runs(output)
    earlier = (run_id for run_id in stored if _date(run_id) < _date(manifest.run_id))
    for _, of_date in groupby(sorted(earlier, reverse=True), _date):
        whole = [run for run in _readable(output, of_date) if not run.is_trial]
        if whole:
            nights.append(max(whole, key=lambda r: r.published_s or stored[r.run_id] or 0.0))
        if len(nights) == NUM_NIGHTS:
            break
    return nights[::-1]


def _readable(output: str, run_ids: Iterable[str]) -> Iterator[Manifest]:
    for run_id in run_ids:
        with contextlib.suppress(StorageError):  # it is being cleared away
            yield Manifest.read(storage.join(output, "runs", run_id))


def _date(run_id: str) -> str:
    return run_id.rpartition("-")[0]


def _night(manifest: Manifest) -> dict[str, Any]:
    found = manifest.findings
    return {"run_id": manifest.run_id, "total": found["total"], "by_kind": found["by_kind"]}


def _fixed(diff: Diff) -> list[dict[str, Any]]:
    gone = [
        match.before for match in diff.matches if match.after is None and match.before is not None
    ]
    return [{name: row[name] for name in _FIXED} for row in gone[:_NUM_FIXED]]
