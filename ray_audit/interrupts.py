"""Signals that end a command, as an exception that lets it clear up first."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """The process was asked to end: as Ctrl-C is, it is no `Exception`, and nothing swallows it.

    Args:
        number: of the signal.

    Attributes:
        number: of the signal.
        exit_code: what a shell says of a process that the signal ended.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"ended by {signal.Signals(number).name}")
        self.number = number
        self.exit_code = 128 + number


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Raise `Interrupted` in the main thread at SIGINT, SIGTERM and SIGHUP while the block runs.

    A second signal of a kind ends the process at once. What is ignored stays so (`nohup`).
    Elsewhere than in the main thread nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        raise Interrupted(number)

    kept = {number: signal.getsignal(number) for number in SIGNALS}
    for number, before in kept.items():
        if before is not signal.SIG_IGN:
            signal.signal(number, handle)
    try:
        yield
    finally:
        for number, before in kept.items():
            signal.signal(number, before)


@contextlib.contextmanager
def handlers_kept() -> Iterator[None]:
    """Undo what the block does to the handlers of these signals.

    Ray puts one of its own: findings/ray_init_takes_over_sigterm.sh shows it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        for number, before in kept.items():
            # Those that were never set by Python are the system's own: nothing waits for them.
            if before not in (None, signal.SIG_DFL):
                signal.signal(number, before)
