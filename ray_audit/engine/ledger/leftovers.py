"""What killed processes of this machine left in an output: markers, and files not written whole."""

import contextlib
from collections.abc import Iterator

from ray_audit import storage
from ray_audit.engine.ledger.attempts import Attempts
from ray_audit.engine.ledger.heartbeat import Heartbeat
from ray_audit.errors import RayAuditError


@contextlib.contextmanager
def leftovers_removed(output: str) -> Iterator[None]:
    """Remove leftovers before the workers of a run start, and again once they are gone.

    Workers live a little longer than a killed driver, and write in the meantime; those of a run
    that failed or was interrupted are killed in the middle of what they write. Leftovers are in
    nobody's way: that they cannot be removed fails no run.
    """
    some_died = False
    with contextlib.suppress(RayAuditError):
        some_died = Heartbeat.some_died_here(output)  # a run that is taken up takes its sign away
    _remove(output, some_died)
    try:
        yield
    except BaseException:
        some_died = True
        with contextlib.suppress(RayAuditError):
            Attempts.remove_own(output)
        raise
    finally:
        _remove(output, some_died)


def _remove(output: str, some_died: bool) -> None:
    with contextlib.suppress(RayAuditError):
        Attempts.remove_old(output)
        # Looking through all records takes a while, and is for nothing where no process was killed.
        if some_died:
            storage.remove_unfinished(output)
