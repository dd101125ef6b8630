"""VoG's moments of a crate, kept beside its records, so that a later night can continue them.

    OUTPUT/units/<unit_id>/<set_id>/<crate>-<digest>.moments

An npz file with an array a batch, under the batch's name: mean and sum of squared deviations of
the input gradient over the set's checkpoints, (2, R, ...) float32: 8 bytes a pixel a row. They are
written before the records are; the digest in the name is that of the bytes. A later night may cut
the unit into other crates, and finds its batches by their names.
"""

import hashlib
import io
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ray_audit import storage
from ray_audit.engine.ledger.crates import CrateFile, CrateName
from ray_audit.errors import StorageError
from ray_audit.samples import Batch

BYTES_PER_PX = 8


@dataclass(frozen=True)
class KeptMoments:
    """The moments of one unit that new checkpoints continue.

    Attributes:
        num_checkpoints: checkpoints that they span.
        uris: one a crate of that time.
    """

    num_checkpoints: int
    uris: tuple[str, ...]

    def attach(self, batch: Batch, name: str) -> Batch:
        """The batch carrying its moments, as if the earlier checkpoints had just run.

        Raises:
            StorageError: there are none of this batch, or they are damaged.
        """
        uri = self._uri_of(batch.index)
        arrays = {} if uri is None else _decode(uri)
        if name not in arrays:
            raise StorageError(
                "the earlier moments of VoG are of other samples: the shard was not read as it "
                "was then"
            )
        mean, m2 = arrays[name]
        count = np.array([self.num_checkpoints], np.int64)
        moments = {"vog/count": count, "vog/mean": mean, "vog/m2": m2}
        return batch.with_arrays(batch.arrays | moments)

    def _uri_of(self, index: int) -> str | None:
        named = ((uri, CrateFile.of(uri)) for uri in self.uris)
        return next((u for u, f in named if f and f.name.first <= index < f.name.stop), None)


def encode(batches: Iterable[tuple[str, Batch]]) -> bytes | None:
    """Bytes of the moments of some batches, by name; None where none carries any."""
    arrays = {
        name: np.stack([batch.arrays["vog/mean"], batch.arrays["vog/m2"]])
        for name, batch in batches
        if "vog/mean" in batch.arrays
    }
    if not arrays:
        return None
    sink = io.BytesIO()
    np.savez(sink, allow_pickle=False, **arrays)
    return sink.getvalue()


def name_of(crate: CrateName, content: bytes) -> str:
    """File name of a crate's moments."""
    return f"{crate}-{hashlib.sha256(content).hexdigest()[:12]}.moments"


@lru_cache(maxsize=1)  # batches come in order: one file at a time is enough
def _decode(uri: str) -> dict[str, np.ndarray]:
    """(2, R, ...) float32 by batch, checked against the digest in the name."""
    content = storage.read_bytes(uri)
    if not uri.endswith(f"-{hashlib.sha256(content).hexdigest()[:12]}.moments"):
        raise StorageError(f"{uri} is damaged: remove it, and VoG runs over all checkpoints again")
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def carried_on(before: Batch, after: Batch) -> Batch:
    """A batch without its payload that carries its moments on to where it is committed."""
    kept = {name: before.arrays[name] for name in ("vog/mean", "vog/m2") if name in before.arrays}
    return after.with_arrays(after.arrays | kept)
