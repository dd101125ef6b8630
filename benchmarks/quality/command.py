"""What a command that measures subjects by seeds is told."""

import argparse
from collections.abc import Iterable
from pathlib import Path

_ROOT = Path(__file__).parents[2]


def parsed(
    prog: str, doc: str | None, subjects: Iterable[str], seeds: tuple[int, ...]
) -> argparse.Namespace:
    """`only`: names, `seeds`: numbers, `data` and `work`: folders, `render`: measure nothing."""
    parser = argparse.ArgumentParser(prog=prog, description=doc)
    parser.add_argument("--only", type=_names, default=list(subjects))
    parser.add_argument("--seeds", type=_numbers, default=seeds)
    parser.add_argument("--data", type=Path, default=_ROOT.parent / "shared" / "data")
    parser.add_argument("--work", type=Path, default=_ROOT / "benchmarks" / ".quality")
    parser.add_argument("--render", action="store_true", help="only write the result")
    return parser.parse_args()


def _names(text: str) -> list[str]:
    return text.split(",")


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))
