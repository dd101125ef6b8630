"""Findings of the kind `missing_segment` held to segments that were planted, and to none at all.

    python -m benchmarks.quality.missing [--only poses,actions] [--seeds 1,2] [--render]

Of each cell one audit has a segment in half of its sequences that was given the class of one that
it touches (`inject --kinds missing`); in another all labels are right, and every finding of this
kind is a false alarm. A finding finds a planted segment if it names the class that is missing, and
their frames overlap by an IoU of at least a half.
"""

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import RESULTS, machine
from benchmarks.quality.case import Case, Part
from benchmarks.quality.command import parsed
from benchmarks.quality.measure import audited_run, train
from benchmarks.quality.recipes import SEQUENCES, Recipe
from benchmarks.quality.regimes import PROTOCOLS, REGIMES, SUBJECTS, recipe
from ray_audit.sample_ids import frame_id

RESULT = RESULTS / "quality-missing.json"
KIND = "missing_segment"
RATES = {"missing": 0.5, "right": 0.0}
"""Share of the sequences with a missing segment."""
SETS = {name: subject for name, subject in SUBJECTS.items() if subject.kind == SEQUENCES}
SEEDS = (1, 2)
_LEAST_IOU = 0.5
_COLUMNS = ["kind", "shard", "start_frame", "end_frame", "suggested"]

Segment = tuple[str, int, int, str]
"""Shard, first frame, frame behind the last one, class that it should have."""


def made(name: str, planted: str, regime: str, protocol: str) -> Recipe:
    """A cell of the matrix of rankings with these errors and no others."""
    subject = SETS[name]
    make = partial(subject.make, kinds=("missing",), rate=RATES[planted])
    return recipe(replace(subject, name=f"{name}_{planted}", make=make), regime, protocol)


def keep(name: str, planted: str, regime: str, protocol: str, seed: int, options: Any) -> None:
    """Measure one run, unless it is kept."""
    cell, subject = made(name, planted, regime, protocol), SETS[name]
    folder = (options.work / cell.name / f"seed{seed}").resolve()
    if (folder / "counts.json").exists() or (subject.needs_data and not options.data.is_dir()):
        return
    started = time.monotonic()
    case = cell.make(options.data, folder, seed)
    (part,) = case.parts
    checkpoints = train(case, part, cell.training, folder / part.name, seed)
    outcome = audited_run(cell, case, part, checkpoints[::-1][:: cell.every][::-1])
    rows = outcome.manifest.table(outcome.run_uri, "findings", _COLUMNS).to_pylist()
    found = [(row["kind"], _segment(row)) for row in rows]
    counts = counted(found, planted_segments(case, part)) | {"sequences": len(part.audited)}
    (folder / "counts.json").write_text(json.dumps(counts), encoding="utf-8")
    print(f"{cell.name} seed {seed}: {time.monotonic() - started:.0f} s {counts}", flush=True)


def _segment(row: dict[str, Any]) -> Segment:
    return row["shard"], row["start_frame"], row["end_frame"], row["suggested"]


def planted_segments(case: Case, part: Part) -> list[Segment]:
    """The span of wrong frames of each audited sequence that has one."""
    truth = {row["sample_id"]: row for row in case.truth.to_pylist()}
    segments = []
    for item in part.audited.tolist():
        key, num_frames = case.keys[item], len(case.targets[item])
        rows = [truth[frame_id(key, frame)] for frame in range(num_frames)]
        wrong = np.flatnonzero([row["is_error"] for row in rows])
        if len(wrong):
            true = case.dataset["classes"][rows[wrong[0]]["true_label"]]
            segments.append((key, int(wrong[0]), int(wrong[-1]) + 1, true))
    return segments


def counted(found: list[tuple[str, Segment]], planted: list[Segment]) -> dict[str, int]:
    """How many findings there are and are right, and how many planted segments they find."""
    ours = [segment for kind, segment in found if kind == KIND]
    every = [segment for _, segment in found]
    return {
        "findings": len(ours),
        "right": sum(any(_finds(one, segment) for segment in planted) for one in ours),
        "planted": len(planted),
        "found": sum(any(_finds(one, segment) for one in ours) for segment in planted),
        "found_by_any": sum(any(_finds(one, segment) for one in every) for segment in planted),
    }


def _finds(finding: Segment, planted: Segment) -> bool:
    (shard, start, end, seen), (key, first, stop, true) = finding, planted
    shared = max(0, min(end, stop) - max(start, first))
    either = (end - start) + (stop - first) - shared
    return shard == key and seen == true and shared >= _LEAST_IOU * either


def cells(work: Path, seeds: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    """Counts of each cell that is kept, summed over its seeds."""
    for name in SETS:
        for regime in REGIMES:
            for protocol in PROTOCOLS:
                counts = {
                    planted: _summed(work / made(name, planted, regime, protocol).name, seeds)
                    for planted in RATES
                }
                if all(counts.values()):
                    yield {"set": name, "regime": regime, "protocol": protocol} | counts


def _summed(folder: Path, seeds: tuple[int, ...]) -> dict[str, int]:
    files = [folder / f"seed{seed}" / "counts.json" for seed in seeds]
    found = [json.loads(file.read_text("utf-8")) for file in files if file.exists()]
    total: Counter[str] = Counter()
    for counts in found:
        total.update(counts)
    return {**total, "num_seeds": len(found)} if found else {}


_OPENING = """## Missing segments

Findings of the kind `missing_segment` against segments that `inject --kinds missing` gave the class
of one that they touch, one in half of the sequences, and on the same sets with right labels only,
where each is a false alarm. Precision: of the findings of this kind, those that name the missing
class with an overlap of at least .5. Recall: planted segments that these find; in brackets those
that a finding of any kind does. Sums over the seeds ({seeds}), of which a row has as many as it
says; sets and trainings are those of the [default ranking](#the-default-ranking)."""


def section(result: Path = RESULT) -> str:
    """The part of docs/quality.md; empty where nothing was measured."""
    if not result.exists():
        return ""
    content = json.loads(result.read_text(encoding="utf-8"))
    header = ("set", "training", "audited", "seeds", "planted", "findings", "precision", "recall")
    header = (*header, "false alarms, all labels right")
    lines = [_OPENING.format(seeds=", ".join(map(str, content["seeds"]))), ""]
    lines += [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    return "\n".join([*lines, *map(_row, content["cells"]), *_all(content["cells"])])


def _row(cell: dict[str, Any]) -> str:
    num_seeds = str(min(cell[planted]["num_seeds"] for planted in RATES))
    first = [cell["set"], cell["regime"], cell["protocol"], num_seeds]
    return f"| {' | '.join([*first, *_numbers(cell['missing'], cell['right'])])} |"


def _all(rows: list[dict[str, Any]]) -> list[str]:
    total = {planted: Counter[str]() for planted in RATES}
    for row in rows:
        for planted, counts in total.items():
            counts.update(row[planted])
    return [f"| all | | | | {' | '.join(_numbers(total['missing'], total['right']))} |"]


def _numbers(missing: dict[str, int], right: dict[str, int]) -> list[str]:
    return [
        str(missing["planted"]),
        str(missing["findings"]),
        _share(missing["right"], missing["findings"]),
        f"{_share(missing['found'], missing['planted'])} "
        f"({_share(missing['found_by_any'], missing['planted'])})",
        f"{right['findings']} in {right['sequences']} sequences",
    ]


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.2f}" if whole else "-"


def main() -> None:
    """Measure what is not kept, and write the result."""
    options = parsed("benchmarks.quality.missing", __doc__, SETS, SEEDS)
    for seed in [] if options.render else options.seeds:
        for name in options.only:
            for regime in REGIMES:
                for protocol in PROTOCOLS:
                    for planted in RATES:
                        keep(name, planted, regime, protocol, seed, options)
    rows = list(cells(options.work, options.seeds))
    content = {"machine": machine(), "seeds": options.seeds, "cells": rows}
    RESULT.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
