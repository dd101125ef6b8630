"""Arrays to the device and observations back: asynchronous on a GPU, and back once a batch."""

import time
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ray_audit.samples import order_in_memory

Observed = dict[str, Tensor | np.ndarray]
"""What one checkpoint says of a batch: still on the device, or known on the host already."""


def upload(array: np.ndarray, device: torch.device) -> Tensor:
    """A copy of `array` on the device; a GPU fetches it from pinned memory, and nobody waits.

    Its axes lie in memory as they do in `array`.
    """
    if device.type != "cuda":
        return torch.from_numpy(np.array(array)).to(device)
    axes = order_in_memory(array)
    stored = array.transpose(axes)
    dtype = torch.from_numpy(np.empty(0, array.dtype)).dtype
    pinned = torch.empty(stored.shape, dtype=dtype, pin_memory=True)
    pinned.numpy()[...] = stored
    on_device = pinned.to(device, non_blocking=True)
    return on_device.permute(*np.argsort(axes).tolist())


def lent(array: np.ndarray, device: torch.device) -> Tensor:
    """As `upload`, but on a CPU the memory of `array` itself: for who makes a copy, and only reads.

    What came out of an object store is read-only, and torch would not hold to that.
    """
    is_dense = array.transpose(order_in_memory(array)).flags.c_contiguous
    if device.type != "cpu" or not is_dense or not array.size:
        return upload(array, device)
    return torch.from_numpy(np.asarray(_Lent(array)))


class _Lent:
    """An array that torch takes without a warning that it might write into it."""

    def __init__(self, array: np.ndarray) -> None:
        self._owner = array
        place, _ = array.__array_interface__["data"]
        self.__array_interface__ = array.__array_interface__ | {"data": (place, False)}


def download(observed: Sequence[Mapping[str, Tensor | np.ndarray]]) -> list[dict[str, np.ndarray]]:
    """All that is on the device, at once: the host waits for it a single time."""
    devices = {v.device for arrays in observed for v in arrays.values() if torch.is_tensor(v)}
    on_host = [
        {k: _fetched(v) if torch.is_tensor(v) else v for k, v in arrays.items()}
        for arrays in observed
    ]
    for device in devices:
        if device.type == "cuda":
            torch.cuda.current_stream(device).synchronize()
    return [
        {k: v.numpy() if torch.is_tensor(v) else v for k, v in arrays.items()} for arrays in on_host
    ]


def _fetched(values: Tensor) -> Tensor:
    """On its way to the host; a GPU writes into pinned memory, else each copy is waited for."""
    if values.device.type != "cuda":
        return values.cpu()
    pinned = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    return pinned.copy_(values.detach(), non_blocking=True)


class Stopwatch:
    """Seconds between marks, by the clock of the device: marking does not wait for a GPU."""

    def __init__(self, device: torch.device) -> None:
        self._is_cuda = device.type == "cuda"
        self._marks: list[torch.cuda.Event] = []
        self._times: list[float] = []
        self.mark()

    def mark(self) -> None:
        """Remember the moment at which the device has done what was asked of it so far."""
        if not self._is_cuda:
            self._times.append(time.perf_counter())
            return
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        self._marks.append(event)

    def laps_s(self) -> list[float]:
        """Seconds from each mark to the next; only after `download`, which waits for the device."""
        if self._is_cuda:
            pairs = zip(self._marks, self._marks[1:], strict=False)
            return [event.elapsed_time(following) / 1000 for event, following in pairs]
        return np.diff(self._times).tolist()
