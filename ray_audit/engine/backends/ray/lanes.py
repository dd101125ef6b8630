"""Large relays in lanes: processes of their own that each drive a part of the actors and units.

One driver moves some sixty crates a second from stage to stage. What a lane tells the driver is
receipts alone, those of a second together.
"""

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import replace
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ray_audit.engine.backends.ray.connection import cause
from ray_audit.engine.backends.wire import Receipt
from ray_audit.engine.planning.plan import Plan
from ray_audit.errors import RunError, StalledError

_BUNDLE_EVERY_S = 1.0
_LOOK_EVERY_S = 5.0
Relay = Callable[[Plan], Generator[Receipt, None, None]]


def split(plan: Plan) -> list[Plan]:
    """Parts of a plan, a lane each: every n-th unit, and as even a share of the actors."""
    layout = plan.layout
    assert layout is not None
    num = layout.num_lanes
    # A lane needs no list of what the others read.
    listing = replace(plan.inputs.listing, shards=())
    bare = replace(plan, inputs=replace(plan.inputs, listing=listing, units=()))
    lanes = []
    for index in range(num):
        own = replace(
            layout,
            actors_per_pool=_share(layout.actors_per_pool, num, index),
            num_decoders=max(1, _share(layout.num_decoders, num, index)),
        )
        lanes.append(replace(bare, work=plan.work[index::num], layout=own))
    return [lane for lane in lanes if lane.work]


def _share(number: int, num_lanes: int, index: int) -> int:
    return number // num_lanes + (index < number % num_lanes)


def in_lanes(plans: Iterable[Plan], relay: Relay) -> Generator[Receipt, None, None]:
    """Receipts of all lanes as they come.

    Args:
        plans: of the lanes.
        relay: what a lane does with its plan, in a process of its own.

    Raises:
        RunError: a lane gave up, or died.
        StalledError: one was silent for too long.
    """
    # Beside the driver: a lane on a worker would die with that node.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    actor = ray.remote(num_cpus=0, max_restarts=0, scheduling_strategy=here)(_Lane)
    lanes = [actor.remote(plan, relay) for plan in plans]
    streams = [lane.receipts.options(num_returns="streaming").remote() for lane in lanes]
    try:
        while streams:
            ready, _ = ray.wait(streams, timeout=_LOOK_EVERY_S)
            for stream in ready:
                try:
                    answer = ray.get(next(stream))
                except StopIteration:
                    streams.remove(stream)
                    continue
                except ray.exceptions.RayError as error:
                    raise RunError(
                        f"a process that drives a part of the actors died: {cause(error)}; run "
                        "again, and what was committed is reused"
                    ) from error
                yield from map(Receipt.from_json, _checked(answer))
    finally:
        for lane in lanes:
            ray.kill(lane)  # its actors end with it


def _checked(answer: dict[str, Any]) -> list[str]:
    if "error" in answer:
        raise {"StalledError": StalledError}.get(answer["kind"], RunError)(answer["error"])
    receipts: list[str] = answer["receipts"]
    return receipts


class _Lane:
    """The actor that drives a part."""

    def __init__(self, plan: Plan, relay: Relay) -> None:
        self._plan, self._relay = plan, relay

    def receipts(self) -> Iterator[dict[str, Any]]:
        """What was committed, in bundles; an error is a dict that says which."""
        bundle: list[str] = []
        sent_s = time.monotonic()
        try:
            for receipt in self._relay(self._plan):
                bundle.append(receipt.to_json())
                if time.monotonic() - sent_s >= _BUNDLE_EVERY_S:
                    yield {"receipts": bundle}
                    bundle, sent_s = [], time.monotonic()
            yield {"receipts": bundle}
        except RunError as error:
            yield {"receipts": bundle}
            yield {"kind": type(error).__name__, "error": str(error)}
