"""How busy one process keeps a device, with its three stages side by side and in turns.

A model that sleeps stands for the device, in which time the CPU is free. Input are frames of mp4;
the store is this machine's disk, with a wait at each object as a distant one has it. In turns means
that neither the next crate is decoded nor the last one committed while one is at the model.

    python -m benchmarks.overlap [--repeats 5] [--quick]
"""

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from benchmarks.harness import Figure, Report, parser, ratios
from benchmarks.sets import Workload, make_data
from benchmarks.sleeping import PASSES, PAUSE_S
from ray_audit import storage
from ray_audit.config import AuditConfig
from ray_audit.engine.backends import local
from ray_audit.engine.run.audit import run_audit

FRAMES_PER_VIDEO, PER_CLIP = 96, 16
STORE_S = 0.2


def _ahead_in_turn(items: Iterator[Any], waits: Callable[[], None]) -> Iterator[Any]:
    return items


def _behind_in_turn(
    items: Iterable[Any], finish: Callable[[Any], Any], waits: Callable[[], None]
) -> Iterator[Any]:
    return map(finish, items)


@contextmanager
def distant_store() -> Iterator[None]:
    """Each object takes its time."""
    write = storage.write_bytes

    def slow(*args: Any, **named: Any) -> Any:
        time.sleep(STORE_S)
        return write(*args, **named)

    with patch.object(storage, "write_bytes", slow):
        yield


@contextmanager
def in_turns() -> Iterator[None]:
    """The stages wait for one another."""
    with (
        patch.object(local, "one_ahead", _ahead_in_turn),
        patch.object(local, "one_behind", _behind_in_turn),
    ):
        yield


def busy_share(config: AuditConfig, num_samples: int, *contexts: Any) -> float:
    """Share of the time from the first forward pass to the last in which one was under way."""
    PASSES.clear()
    with tempfile.TemporaryDirectory() as output, ExitStack() as stack:
        for context in contexts:
            stack.enter_context(context)
        outcome = run_audit(config.model_copy(update={"output": output}), local=True)
    if outcome.counts["scored"] != num_samples:
        raise SystemExit(f"{outcome.counts}")
    of_run = PASSES[-num_samples // PER_CLIP :]  # those before looked at samples for the plan
    busy_s = sum(stop - start for start, stop in of_run)
    return busy_s / (of_run[-1][1] - of_run[0][0])


def measure(num_videos: int, repeats: int) -> Report:
    """Both ways on both stores, in turns."""
    num = num_videos * FRAMES_PER_VIDEO
    work = Workload(
        "overlap",
        "frames",
        num,
        (360, 640),
        10,
        {"factory": "benchmarks.sleeping:sleeping_clips", "kwargs": {"num_classes": 10}},
        1,
        (112, 112),
        (FRAMES_PER_VIDEO, PER_CLIP),
        extra={"scores": ["csl"], "engine": {"batch_size": 1}},
    )
    stores = {"disk": (), "a store that is far away": (distant_store,)}
    runs: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        config = make_data(work, Path(name))
        for _ in range(repeats):
            for store, more in stores.items():
                for how, turns in (("side by side", ()), ("in turns", (in_turns,))):
                    opened = [context() for context in (*more, *turns)]
                    runs.setdefault((store, how), []).append(busy_share(config, num, *opened))
    figures = []
    for store in stores:
        both = {how: runs[store, how] for how in ("side by side", "in turns")}
        figures += [
            Figure(f"{store}, {how}: time that the device is busy", "", tuple(shares))
            for how, shares in both.items()
        ]
        gains = ratios(both["side by side"], both["in turns"])
        figures.append(Figure(f"{store}: side by side / in turns", "", gains))
    notes = [
        f"{work.described}; {PAUSE_S * 1e3:g} ms a clip of {PER_CLIP} frames; the distant store "
        f"takes {STORE_S * 1e3:g} ms an object; every sample was scored",
    ]
    return Report("overlap", figures, notes)


def main() -> None:
    """Run and publish."""
    chosen = parser(__doc__).parse_args()
    torch.set_num_threads(1)
    num_videos, repeats = (3, 1) if chosen.quick else (16, chosen.repeats)
    measure(num_videos, repeats).publish(is_kept=not chosen.quick)


if __name__ == "__main__":
    main()
