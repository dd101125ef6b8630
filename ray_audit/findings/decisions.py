"""What reviewers decided of findings: rows, files of one reviewer each, and their merging."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any, Literal, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from ray_audit import parquet_io, storage
from ray_audit.errors import LabelError

Verdict = Literal["accept", "reject", "relabel", "withdraw"]

DECISIONS_SCHEMA = pa.schema(
    [
        ("finding_id", pa.string()),
        ("decision", pa.string()),
        ("label", pa.string()),  # the class to write; null where rejected
        ("reviewer", pa.string()),
        ("time", pa.string()),  # ISO 8601
    ]
)
_NAME = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Decision:
    """One reviewer's word on one finding.

    Attributes:
        finding_id: the finding.
        decision: `accept` the suggestion, `reject` the finding, `relabel` to another class, or
            `withdraw` what this reviewer said before.
        label: class name to write; None for `reject` and `withdraw`, and for `accept` of whatever
            is suggested.
        reviewer: who.
        time: when, ISO 8601.
    """

    finding_id: str
    decision: Verdict
    label: str | None
    reviewer: str
    time: str

    @classmethod
    def parse(cls, values: Any) -> "Decision":
        """Read one row as it came from a browser.

        Raises:
            LabelError: a key is missing or holds something else.
        """
        if not isinstance(values, dict):
            raise LabelError(
                f"decisions: expected an object a decision, got {type(values).__name__}"
            )
        texts = {name: values.get(name) for name in ("finding_id", "decision", "reviewer", "time")}
        wrong = [name for name, text in texts.items() if not isinstance(text, str) or not text]
        label = values.get("label")
        if wrong or not (label is None or isinstance(label, str)):
            raise LabelError(f"decisions: {', '.join(wrong) or 'label'} must be a text")
        if texts["decision"] not in get_args(Verdict):
            raise LabelError(
                f"decisions: {texts['decision']!r} is none of {', '.join(get_args(Verdict))}"
            )
        if texts["decision"] == "relabel" and not label:
            raise LabelError("decisions: relabel needs the class to write in `label`")
        try:
            datetime.fromisoformat(str(texts["time"])).timestamp()
        except (ValueError, OverflowError) as error:
            raise LabelError(f"decisions: {texts['time']!r} is no time (ISO 8601)") from error
        has_label = texts["decision"] in ("accept", "relabel")
        return cls(label=label if has_label else None, **texts)  # type: ignore[arg-type]


@dataclass(frozen=True)
class MergedDecisions:
    """Decisions of all reviewers.

    Attributes:
        agreed: finding id -> the decision that all who looked share.
        disputed: finding id -> the differing decisions.
    """

    agreed: dict[str, Decision]
    disputed: dict[str, tuple[Decision, ...]]


def merge(decisions: Iterable[Decision]) -> MergedDecisions:
    """Keep each reviewer's latest word, and what nobody contradicts."""
    by_finding: dict[str, list[Decision]] = {}
    for decision in standing(decisions):
        by_finding.setdefault(decision.finding_id, []).append(decision)
    agreed, disputed = {}, {}
    for finding_id, found in by_finding.items():
        if len({(item.decision, item.label) for item in found}) == 1:
            agreed[finding_id] = found[0]
        else:
            disputed[finding_id] = tuple(found)
    return MergedDecisions(agreed, disputed)


def standing(decisions: Iterable[Decision]) -> list[Decision]:
    """Each reviewer's latest word on each finding, without what was withdrawn."""
    latest: dict[tuple[str, str], Decision] = {}
    for decision in decisions:
        key = (decision.finding_id, decision.reviewer)
        previous = latest.get(key)
        if previous is None or _time(decision) >= _time(previous):
            latest[key] = decision
    return [decision for _, decision in sorted(latest.items()) if decision.decision != "withdraw"]


def later_than(decision: Decision, previous: Decision | None) -> Decision:
    """The decision, with a time after that of the one that it replaces.

    Clocks of two browsers differ, and one may be set back.
    """
    if previous is None or _time(decision) > _time(previous):
        return decision
    then = datetime.fromtimestamp(_time(previous), UTC) + timedelta(microseconds=1)
    return replace(decision, time=then.isoformat())


def _time(decision: Decision) -> float:
    return datetime.fromisoformat(decision.time).timestamp()


def read_decisions(uri: str) -> list[Decision]:
    """Read a downloaded JSON file, or a Parquet file that `review` wrote.

    Raises:
        StorageError: it cannot be read.
        LabelError: it is no file of decisions.
    """
    content = storage.read_bytes(uri)
    try:
        if uri.lower().endswith(".parquet"):
            rows: Any = parquet_io.parse(content).to_pylist()
        else:
            values = json.loads(content)
            rows = values.get("decisions") if isinstance(values, dict) else values
    except (ValueError, pa.ArrowInvalid) as error:
        raise LabelError(f"{uri}: neither JSON nor Parquet ({error})") from error
    if not isinstance(rows, list):
        raise LabelError(f"{uri}: expected a list under `decisions`")
    return [Decision.parse(row) for row in rows]


def saved_rows(run_uri: str) -> list[Decision]:
    """All decisions that reviewers saved in a run, withdrawals and what they replaced included."""
    folder = storage.join(run_uri, "decisions")
    uris = [item.uri for item in storage.list_prefix(folder) if item.uri.endswith(".parquet")]
    return [decision for uri in uris for decision in read_decisions(uri)]


def save_decisions(
    run_uri: str, reviewer: str, decisions: Sequence[Decision], session: str = ""
) -> str:
    """Write one reviewer's decisions, in place of the earlier file of that reviewer and session.

    Args:
        run_uri: the run's folder.
        reviewer: whose they are.
        decisions: all of the session, withdrawals included.
        session: name of who writes; two of one reviewer never write the same file.

    Returns:
        Where they lie.
    """
    name = _NAME.sub("_", reviewer)[:40].strip("._") or "reviewer"
    name = "-".join(filter(None, (name, storage.digest(reviewer)[:8], session)))
    rows = sorted((asdict(decision) for decision in decisions), key=lambda row: row["finding_id"])
    sink = BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=DECISIONS_SCHEMA), sink)
    uri = storage.join(run_uri, "decisions", f"{name}.parquet")
    storage.write_bytes(uri, sink.getvalue())
    return uri
