"""What a lane does that gives up half-way; workers import it by name."""

from ray_audit.engine.backends.wire import Receipt
from ray_audit.errors import StalledError


def gives_up(plan):
    yield Receipt(f"of {plan}", num_batches=1)
    raise StalledError("as the test wants")
