"""VoG's moments of a batch, kept beside its records, so that a later night can continue them.

    OUTPUT/units/<unit_id>/<set_id>/<index>-<content>-<digest>.moments

Mean and sum of squared deviations of the input gradient over the set's checkpoints, as one npy
array (2, R, ...) float32: 8 bytes a pixel a row. They are written before the records are, and
found by the name of the batch; the digest in the name is that of the bytes.
"""

import hashlib
import io
import re
from dataclasses import dataclass

import numpy as np

from ray_audit import storage
from ray_audit.errors import StorageError
from ray_audit.samples import Batch

MOMENTS = re.compile(r"(?P<part>\d+-[0-9a-f]{12})-(?P<digest>[0-9a-f]{12})\.moments$")
BYTES_PER_PX = 8


@dataclass(frozen=True)
class KeptMoments:
    """The moments of one unit that new checkpoints continue.

    Attributes:
        num_checkpoints: checkpoints that they span.
        uris: one a batch.
    """

    num_checkpoints: int
    uris: tuple[str, ...]

    def attach(self, batch: Batch, part_name: str) -> Batch:
        """The batch carrying its moments, as if the earlier checkpoints had just run.

        Raises:
            StorageError: there are none of this batch, or they are damaged.
        """
        named = {found["part"]: uri for uri in self.uris if (found := MOMENTS.search(uri))}
        if part_name not in named:
            raise StorageError(
                "the earlier moments of VoG are of other samples: the shard was not read as it "
                "was then"
            )
        mean, m2 = _decode(named[part_name])
        count = np.array([self.num_checkpoints], np.int64)
        moments = {"vog/count": count, "vog/mean": mean, "vog/m2": m2}
        return batch.with_arrays(batch.arrays | moments)


def encode(batch: Batch) -> bytes | None:
    """Bytes of a batch's moments; None where it carries none."""
    if "vog/mean" not in batch.arrays:
        return None
    sink = io.BytesIO()
    np.save(sink, np.stack([batch.arrays["vog/mean"], batch.arrays["vog/m2"]]), allow_pickle=False)
    return sink.getvalue()


def name_of(part_name: str, content: bytes) -> str:
    """File name of a batch's moments."""
    return f"{part_name}-{hashlib.sha256(content).hexdigest()[:12]}.moments"


def _decode(uri: str) -> np.ndarray:
    """(2, R, ...) float32, checked against the digest in the name."""
    content = storage.read_bytes(uri)
    if not uri.endswith(f"-{hashlib.sha256(content).hexdigest()[:12]}.moments"):
        raise StorageError(f"{uri} is damaged: remove it, and VoG runs over all checkpoints again")
    values: np.ndarray = np.load(io.BytesIO(content), allow_pickle=False)
    return values


def carried_on(before: Batch, after: Batch) -> Batch:
    """A batch without its payload that carries its moments on to where it is committed."""
    kept = {name: before.arrays[name] for name in ("vog/mean", "vog/m2") if name in before.arrays}
    return after.with_arrays(after.arrays | kept)
