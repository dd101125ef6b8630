"""Measure what is not measured yet, and write the page.

python -m benchmarks.correction [--only SET[/KIND[/PERCENT[/SEED]]],...] [--methods A,B] [--render]
"""

import argparse
import json
import os
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.correction.methods import METHODS, ON_REQUEST, Bench, methods_for
from benchmarks.correction.page import page
from benchmarks.correction.problems import CONDITIONS, MAKERS, NEEDS_NO_DATA, Condition
from benchmarks.harness import RESULTS, machine

_ROOT = Path(__file__).parents[2]
_CLEAN = "clean"  # the same for all kinds and amounts of errors


def main() -> None:
    arguments = _arguments()
    results = Results(arguments.results / "correction.json")
    if not arguments.render:
        for condition in CONDITIONS:
            requested = arguments.only or [condition.set]
            if any(f"{condition.name}/".startswith(f"{prefix}/") for prefix in requested):
                measure(condition, arguments, results)
    arguments.page.write_text(page(results.content), encoding="utf-8")
    print(f"page: {arguments.page}")


class Results:
    """The result file: condition -> method -> numbers; written after every method."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.content: dict[str, Any] = {"conditions": {}}
        self._read()

    def _read(self) -> None:
        """Take in what others measured beside this process."""
        if self._path.exists():
            self.content = json.loads(self._path.read_text(encoding="utf-8"))

    def has(self, condition: Condition, method: str) -> bool:
        """Whether a method has been measured."""
        self._read()
        return method in self.content["conditions"].get(condition.name, {})

    def put(self, condition: Condition, method: str, found: dict[str, Any]) -> None:
        """Keep what a method gave."""
        self._read()
        today = datetime.now(UTC).strftime("%Y-%m-%d")
        self.content |= {"machine": machine(), "date": today}
        self.content["conditions"].setdefault(condition.name, {})[method] = found
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(_dumped(self.content), encoding="utf-8")
        os.replace(temporary, self._path)


def _dumped(content: dict[str, Any]) -> str:
    """JSON with a line a method, so that a diff can be read."""
    facts = [f"{json.dumps(key)}: {json.dumps(content[key])}" for key in ("date", "machine")]
    conditions = []
    for name, methods in sorted(content["conditions"].items()):
        rows = [
            f"  {json.dumps(method)}: {json.dumps(result)}" for method, result in methods.items()
        ]
        conditions.append("\n".join([f"{json.dumps(name)}: {{", ",\n".join(rows), "}"]))
    facts.append("\n".join(['"conditions": {', ",\n".join(conditions), "}"]))
    return "\n".join(["{", ",\n".join(facts), "}", ""])


def measure(condition: Condition, arguments: argparse.Namespace, results: Results) -> None:
    """Run the methods of one condition that have no result yet."""
    data = arguments.data / condition.set.removesuffix("_by_folds")
    if condition.set not in NEEDS_NO_DATA and not data.is_dir():
        print(f"{condition.name}: skipped, there is no {data}", flush=True)
        return
    folder = (arguments.work / condition.name).resolve()
    bench: Bench | None = None
    by_default = [method for method in METHODS if method not in ON_REQUEST]
    for method in arguments.methods or by_default:
        cell = condition
        if method == _CLEAN:
            cell = Condition(condition.set, "none", 0, condition.seed)
        if results.has(cell, method):
            continue
        if bench is None:
            if not arguments.keep:
                shutil.rmtree(folder, ignore_errors=True)
            problem = MAKERS[condition.set](arguments.data, folder, condition)
            bench = Bench(condition, problem, folder)
        if method not in methods_for(bench.problem):
            continue
        started = time.monotonic()
        found = METHODS[method](bench).as_json() | {"duration_s": round(time.monotonic() - started)}
        results.put(cell, method, found)
        print(f"{cell.name} {method}: {json.dumps(found)}", flush=True)
    if bench is not None and not arguments.keep:
        shutil.rmtree(folder)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.correction", description=__doc__)
    parser.add_argument("--only", type=_names, default=[], help="beginnings of conditions")
    parser.add_argument("--methods", type=_names, default=[], help=f"some of {', '.join(METHODS)}")
    parser.add_argument("--data", type=Path, default=_ROOT.parent / "shared" / "data")
    parser.add_argument("--work", type=Path, default=_ROOT / "benchmarks" / ".correction")
    parser.add_argument(
        "--keep", action="store_true", help="keep checkpoints, and take those that are there"
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=_ROOT / "docs" / "correction-quality.md")
    parser.add_argument("--render", action="store_true", help="only write the page")
    return parser.parse_args()


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


if __name__ == "__main__":
    main()
