"""What a backend must promise, whatever it runs on.

A backend runs the stages of `stages` over the work of a plan: `decode_unit` once per work unit,
`PoolWorker.process` once per crate and hop, `commit` once per crate. `LocalBackend` does so in this
process and is the oracle of the tests; `RayBackend` does so on a cluster.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from ray_audit.engine.backends.stages import StageSettings
from ray_audit.engine.backends.wire import Receipt
from ray_audit.engine.planning.layout import ClusterResources
from ray_audit.engine.planning.plan import Plan

Item = TypeVar("Item")
Result = TypeVar("Result")
Value = TypeVar("Value")
Value_co = TypeVar("Value_co", covariant=True)


class Held(Protocol[Value_co]):
    """What a call has left for later ones, where it was made; it may go to them with their item."""

    def value(self) -> Value_co | None:
        """It; None where it is lost, and has to be made again."""
        ...


@dataclass(frozen=True)
class Here(Generic[Value]):
    """What is held in this process."""

    held: Value

    def value(self) -> Value:
        """It."""
        return self.held


class Mapper(Protocol):
    """Runs a function on many items, somewhere: the part of a backend that reductions need."""

    def map(
        self,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        *,
        on_gpu: bool = False,
    ) -> Iterator[Result]:
        """Apply a function to each item; results in the items' order.

        A call may be repeated where its process died, so a function must give, and write, the
        same each time.

        Args:
            function: of one item.
            items: what it is applied to.
            on_gpu: each call gets `engine.num_gpus`, if there are any.

        Raises:
            RunError: a call failed for good.
            StalledError: no result came within `engine.stall_timeout_s`.
        """
        ...

    @property
    def held_bytes(self) -> int:
        """How much may be held of all calls of `map_holding` together."""
        ...

    def map_holding(
        self, function: Callable[[Item], tuple[Result, Value]], items: Iterable[Item]
    ) -> Iterator[tuple[Result, Held[Value]]]:
        """As `map`, of a function that gives two things: the second is held for later calls."""
        ...


class Backend(Mapper, Protocol):
    """What runs the stages of a plan.

    Promises that the rest of the engine relies on:

    - *Crates stay whole.* What `decode_unit` yields passes the hops of `plan.layout` in their
      order, one crate at a time, and is never joined with, split into or mixed with others.
      Units, crates of a unit and crates of different units may overtake each other.
    - *Death and restart.* A worker that dies is started again, with the same constructor
      arguments, and what it was at is repeated; `engine.ledger.attempts` counts the deaths of one
      piece of work outside the worker and gives it up at the third. Workers end their own process
      where a batch takes longer than their limit, because nothing else ends native code that
      hangs: a backend must take that for a death. One that shares the user's process (`local`)
      leaves behind what hangs (`supervisor`), and dies with what kills it.
    - *A restarted worker knows that it is one.* It marks each batch while it is under way, so
      that the batch of a crate that is deadly is found. Nothing hangs on which crate comes first.
    - *Resuming of generators.* A decode task that died is run again from its beginning, and what
      it yielded before is recognised by its number, not by its content: so `decode_unit` must
      yield the same in every run, and a backend must not commit an output twice under two names
      (a second commit under the same name writes the same bytes).
    - *Repetition is finite.* What dies for ever ends as a failure or as a `RunError`, never as a
      run that goes on without an end.
    - *A receipt for each commit*, handed over as it comes: counts, never samples. No receipt for
      longer than `engine.start_timeout_s` (the first) or `engine.stall_timeout_s`, and no sign of
      life of a worker that is busy with a long crate, is an error.
    """

    def resources(self) -> ClusterResources:
        """What there is to run on; asked before the plan is laid out."""
        ...

    def relay(self, plan: Plan, settings: StageSettings) -> Generator[Receipt, None, None]:
        """Do the plan's work; a receipt for each committed crate.

        Closing it early ends the work that is still under way.

        Raises:
            StalledError: nothing was committed for too long.
            RunError: the backend gave up.
        """
        ...
