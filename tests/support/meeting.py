"""An actor whose first two calls wait for each other."""

import threading

import pyarrow as pa

from ray_audit.engine.backends.ray.actor import PoolActor

_LIMIT_S = 60


class MeetingActor(PoolActor):
    """Its first call goes on only once a second one has begun."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self._num_calls = 0
        self._both_here = threading.Event()

    def __call__(self, table: pa.Table) -> pa.Table:
        self._num_calls += 1
        if self._num_calls == 2:
            self._both_here.set()
        if not self._both_here.wait(_LIMIT_S):
            raise AssertionError("the second call waits for the first")
        return super().__call__(table)
