"""What changed between the findings of two runs: new, fixed and recurring ones."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ray_audit import storage
from ray_audit.errors import StorageError
from ray_audit.schemas import DIFF, FINDINGS, SCHEMA_VERSION, arrow_schema
from ray_audit.tables.manifest import Manifest, run_ids, weights_in_words
from ray_audit.tables.overlap import box_iou, mask_iou, span_iou

LEAST_IOU = 0.5
_READ = tuple(column.name for column in DIFF if column in FINDINGS)
# Of the specification, besides `numeric`: what decides which findings there are. VoG ranks nothing
# and is in no finding, so that neither its options nor whether it is computed play a part.
_SETTINGS = ("protocol", "scores", "confident")
_RANKS_NOTHING = {"vog"}
Row = dict[str, Any]


@dataclass(frozen=True)
class Match:
    """A finding in one run, or in both.

    Attributes:
        before: its row in the earlier run, or None.
        after: its row in the later run, or None.
        iou: overlap, where that and not the id matched them.
    """

    before: Row | None
    after: Row | None
    iou: float | None = None

    @property
    def change(self) -> str:
        """New | recurring | fixed."""
        if self.before is None:
            return "new"
        return "fixed" if self.after is None else "recurring"


@dataclass(frozen=True)
class Diff:
    """Two runs compared.

    Attributes:
        run_a: the earlier.
        run_b: the later.
        changed_settings: settings that differ, a sentence each; the findings were then not
            compared.
        matches: new ones first, each kind of change by rank.
    """

    run_a: str
    run_b: str
    changed_settings: tuple[str, ...]
    matches: tuple[Match, ...]

    @property
    def is_comparable(self) -> bool:
        """Whether both runs asked the same question."""
        return not self.changed_settings

    def counts(self) -> dict[tuple[str, str], int]:
        """Findings by (kind, change)."""
        return Counter(((m.after or m.before or {})["kind"], m.change) for m in self.matches)

    def totals(self) -> dict[str, int]:
        """Findings by change."""
        totals = Counter(match.change for match in self.matches)
        return {change: totals[change] for change in ("new", "fixed", "recurring")}

    def summary(self) -> dict[str, Any]:
        """For programs: no rows, only counts."""
        by_kind: dict[str, dict[str, int]] = defaultdict(dict)
        for (kind, change), number in sorted(self.counts().items()):
            by_kind[kind][change] = number
        return {
            "run_a": self.run_a,
            "run_b": self.run_b,
            "comparable": self.is_comparable,
            "changed_settings": list(self.changed_settings),
            "counts": self.totals() if self.is_comparable else {},
            "by_kind": dict(by_kind),
        }

    def write(self, uri: str) -> None:
        """Write the table as one Parquet file."""
        with storage.open_write(uri) as stream:
            pq.write_table(self.table(), stream, compression="zstd")

    def table(self) -> pa.Table:
        """A row for each finding of either run, with the columns `DIFF`."""
        metadata = {
            "ray_audit.schema_version": SCHEMA_VERSION,
            "ray_audit.run_a": self.run_a,
            "ray_audit.run_b": self.run_b,
        }
        rows = [_row(match) for match in self.matches]
        return pa.Table.from_pylist(rows, schema=arrow_schema(list(DIFF), metadata))


def diff_runs(output: str, run_a: str, run_b: str) -> Diff:
    """Compare the findings of two runs of one output.

    Raises:
        StorageError: a run is not there, or not complete.
    """
    before, after = _manifest(output, run_a), _manifest(output, run_b)
    changed = tuple(changed_settings(before, after))
    if changed:
        return Diff(run_a, run_b, changed, ())
    rows_a, rows_b = _findings(output, before), _findings(output, after)
    return Diff(run_a, run_b, (), tuple(match_findings(rows_a, rows_b)))


def _manifest(output: str, run_id: str) -> Manifest:
    try:
        return Manifest.read(storage.join(output, "runs", run_id))
    except StorageError as error:
        known = ", ".join(run_ids(output)[-5:]) or "none"
        raise StorageError(
            f"{output} has no complete run {run_id!r} (latest runs: {known}): {error}"
        ) from error


def _findings(output: str, manifest: Manifest) -> list[Row]:
    if not manifest.tables.get("findings"):
        return []
    run_uri = storage.join(output, "runs", manifest.run_id)
    rows: list[Row] = manifest.table(run_uri, "findings", list(_READ)).to_pylist()
    return rows


def changed_settings(before: Manifest, after: Manifest) -> Iterator[str]:
    """Settings that make findings what they are, and are not the same in both runs."""
    shards = [_shards(manifest) for manifest in (before, after)]
    if shards[0] != shards[1]:
        yield f"the earlier run audited {shards[0]}, the later one {shards[1]}"
    flat_a, flat_b = _flat(_settings(before)), _flat(_settings(after))
    quantities = [flat.pop("quantities", None) for flat in (flat_a, flat_b)]
    if quantities[0] != quantities[1]:
        yield (
            "the records were made by different versions of ray_audit, or with other packages of "
            "measures"
        )
    rules = [(manifest.measures or {}).get("ranking", {}) for manifest in (before, after)]
    if rules[0] != rules[1]:
        yield f"the runs were ranked by different rules: {_rule(rules[0])}; then {_rule(rules[1])}"
    weights = [(manifest.ranking or {}).get("weights", {}) for manifest in (before, after)]
    if rules[0] == rules[1] and _apart(*weights) > _ALIKE:
        yield (
            "the checkpoints fit the labels differently, so that samples were ranked by other "
            f"weights: {weights_in_words(weights[0])}; then {weights_in_words(weights[1])}"
        )
    for name in sorted(flat_a.keys() | flat_b.keys()):
        if flat_a.get(name) != flat_b.get(name):
            yield f"{name} was {flat_a.get(name)!r} and is {flat_b.get(name)!r}"


def _shards(manifest: Manifest) -> str:
    if not manifest.is_trial:
        return "all shards"
    return f"the first {manifest.plan['num_shards']} alone (--limit)"


_ALIKE = 0.25
"""Share of the weights that may move from one score to another before it is worth a word."""


def _apart(before: Mapping[str, float], after: Mapping[str, float]) -> float:
    if not before or not after:
        return 0.0
    names = before.keys() | after.keys()
    return sum(abs(before.get(name, 0.0) - after.get(name, 0.0)) for name in names) / 2


def _rule(ranking: Mapping[str, Any]) -> str:
    if not ranking:
        return "by another version of ray_audit, which does not say how"
    weights = ", ".join(f"{weight:+g} {name}" for name, weight in ranking["weights"].items())
    raised = "".join(f", {name} {number}" for name, number in ranking["raised"].items())
    return f"{weights} (version {ranking['version']}{raised})"


def _settings(manifest: Manifest) -> dict[str, Any]:
    chosen = {name: manifest.specification.get(name) for name in _SETTINGS}
    scores = chosen["scores"]
    if isinstance(scores, list):
        chosen["scores"] = sorted(set(scores) - _RANKS_NOTHING)
    return {**manifest.numeric, **chosen}


def _flat(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{above}{name}.")
        else:
            flat[f"{above}{name}"] = value
    return flat


def match_findings(before: Iterable[Row], after: Iterable[Row]) -> list[Match]:
    """Match by id; what is left, one to one by the largest overlap from `LEAST_IOU` on.

    Only findings of one kind and given label, in one sample (segments: one shard), can overlap.
    """
    left = {row["finding_id"]: row for row in before}
    matches, unmatched = [], []
    for row in after:
        same = left.pop(row["finding_id"], None)
        if same is None:
            unmatched.append(row)
        else:
            matches.append(Match(same, row))
    for old, new, iou in _overlapping(left.values(), unmatched):
        matches.append(Match(old, new, iou))
        del left[old["finding_id"]]
        unmatched.remove(new)
    matches += [Match(None, row) for row in unmatched]
    matches += [Match(row, None) for row in left.values()]
    return sorted(matches, key=_place)


def _place(match: Match) -> tuple[int, int, str]:
    row = match.after or match.before or {}
    order = ("new", "fixed", "recurring").index(match.change)
    return order, row["rank"] or 0, row["finding_id"]


def _overlapping(before: Iterable[Row], after: Iterable[Row]) -> Iterator[tuple[Row, Row, float]]:
    groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in before:
        groups[_group(row)].append(row)
    pairs = []
    for new in after:
        for old in groups.get(_group(new), ()):
            iou = finding_iou(old, new)
            if iou >= LEAST_IOU:
                pairs.append((-iou, old["finding_id"], new["finding_id"], old, new))
    taken: set[tuple[str, str]] = set()
    for negative_iou, old_id, new_id, old, new in sorted(pairs, key=lambda pair: pair[:3]):
        if not {("old", old_id), ("new", new_id)} & taken:
            taken |= {("old", old_id), ("new", new_id)}
            yield old, new, -negative_iou


def _group(row: Row) -> tuple[str, ...]:
    is_segment = row["start_frame"] is not None and not row["mask_rle"]
    where = row["shard"] if is_segment else row["sample_id"]
    return where, row["kind"], row["given"]


def finding_iou(a: Row, b: Row) -> float:
    """Overlap of two findings: of their masks, else their frames, else their boxes; else 0."""
    if a["mask_rle"] and b["mask_rle"]:
        size_px = tuple(a["mask_size_px"])
        same_size = size_px == tuple(b["mask_size_px"])
        return mask_iou(a["mask_rle"], b["mask_rle"], size_px) if same_size else 0.0
    if a["start_frame"] is not None and b["start_frame"] is not None:
        spans = [(row["start_frame"], row["end_frame"]) for row in (a, b)]
        return span_iou(spans[0], spans[1])
    if a["box"] and b["box"]:
        return box_iou(tuple(a["box"]), tuple(b["box"]))
    return 0.0


def _row(match: Match) -> Row:
    shown = match.after or match.before or {}
    return {name: shown[name] for name in _READ} | {
        "change": match.change,
        "finding_id_before": match.before["finding_id"] if match.before else None,
        "suspicion_before": match.before["suspicion"] if match.before else None,
        "iou": match.iou,
    }
