"""Names of crates, and which of them join to one whole decoding of a unit.

    <first>-<stop>-<before>-<after>[-end][.retry].parquet     records of batches first up to stop
    <first>-<stop>-<before>-<after>[-end]-<digest>.moments    VoG's moments of the same batches

`before` and `after` are digests of what all batches of the unit up to `first`, and up to `stop`,
hold. Crates join where one begins at the number and the digest at which another ends. So crates of
two decodings, one of which lost a sample on the way, are never taken for one, and crates of any
size that join are right. The one that ends the unit holds its tail too. A crate with failures that
may pass (a store that did not answer, a process out of memory) ends in `.retry.parquet`: it counts
in the run that wrote it, and is tried again by later ones.
"""

import re
from dataclasses import dataclass
from typing import Self

import pyarrow as pa

from ray_audit import storage

START = "0" * 12
"""Digest of what no batch holds."""
RETRY = ".retry.parquet"
_FILE = re.compile(
    r"/units/(?P<unit>[0-9a-f]+)/(?P<set>[0-9a-f]+)/"
    r"(?P<first>\d+)-(?P<stop>\d+)-(?P<before>[0-9a-f]{12})-(?P<after>[0-9a-f]{12})(?P<end>-end)?"
    r"(?P<kind>\.parquet|\.retry\.parquet|-[0-9a-f]{12}\.moments)$"
)


@dataclass(frozen=True, order=True)
class CrateName:
    """Which batches of its unit a crate holds.

    Attributes:
        first: index of the first.
        stop: end of them, exclusive.
        before: digest of what all batches up to `first` hold.
        after: digest of what all batches up to `stop` hold.
        is_end: whether the unit ends in it, so that it holds the tail too.
    """

    first: int
    stop: int
    before: str
    after: str
    is_end: bool = False

    def __str__(self) -> str:
        bounds = f"{self.first:06d}-{self.stop:06d}-{self.before}-{self.after}"
        return f"{bounds}-end" if self.is_end else bounds


@dataclass(frozen=True)
class SetFiles:
    """The committed files of one set of one unit.

    Attributes:
        crates: URIs of the records, in the order of batches; the last holds the tail.
        moments: URIs of the moments of VoG, likewise; None unless every batch has them.
    """

    crates: tuple[str, ...]
    moments: tuple[str, ...] | None = None

    @property
    def may_do_better(self) -> bool:
        """Whether it holds failures that another try may spare."""
        return any(is_retry(uri) for uri in self.crates)

    @property
    def num_batches(self) -> int:
        """Batches of the unit."""
        last = CrateFile.of(self.crates[-1])
        return 0 if last is None else last.name.stop


@dataclass(frozen=True)
class CrateFile:
    """A file of the ledger, known by its name.

    Attributes:
        unit_id: its unit.
        set_id: its set of records.
        name: its batches.
        uri: where it lies.
        is_moments: whether it holds moments of VoG; else records.
    """

    unit_id: str
    set_id: str
    name: CrateName
    uri: str
    is_moments: bool

    @classmethod
    def of(cls, uri: str) -> Self | None:
        """Read a name; None of files that are none of ours, or of another version."""
        found = _FILE.search(uri)
        if found is None:
            return None
        bounds = int(found["first"]), int(found["stop"])
        name = CrateName(*bounds, found["before"], found["after"], found["end"] is not None)
        is_moments = found["kind"].endswith(".moments")
        return cls(found["unit"], found["set"], name, uri, is_moments)


def is_retry(uri: str) -> bool:
    """Whether a crate's records hold failures that another try may spare."""
    return uri.endswith(RETRY)


def content_digest(samples: pa.Table) -> str:
    """Digest of what a batch holds: its samples and how much of each."""
    columns = [samples[name].to_pylist() for name in ("sample_id", "num_labelled")]
    return storage.digest(*columns)[:12]


def after_batch(before: str, content: str) -> str:
    """Digest of what all batches up to and with one hold, from that of those before it."""
    return storage.digest(before, content)[:12]


def batch_name(index: int, content: str) -> str:
    """Name of a batch within its unit: of markers and moments."""
    return f"{index:06d}-{content}"


@dataclass(frozen=True)
class _Way:
    """Crates that join from a unit's beginning, the last of them and those before it."""

    num_retries: int
    num_crates: int
    last: CrateName | None = None
    rest: "_Way | None" = None

    @property
    def cost(self) -> tuple[int, int]:
        return (self.num_retries, self.num_crates)

    def names(self) -> list[CrateName]:
        """Crates, in the order of batches."""
        found, way = [], self
        while way.last is not None and way.rest is not None:
            found.append(way.last)
            way = way.rest
        return found[::-1]


class FoundSet:
    """Files of one set of one unit, perhaps of several decodings and sizes of crates."""

    def __init__(self) -> None:
        self._uris: dict[CrateName, str] = {}
        self._moments: dict[CrateName, str] = {}

    def add(self, file: CrateFile) -> None:
        """Take a file; of two tries of one crate, the one without failures that may pass wins."""
        if file.is_moments:
            self._moments[file.name] = file.uri
        elif is_retry(self._uris.get(file.name, RETRY)):
            self._uris[file.name] = file.uri

    def whole(self) -> SetFiles | None:
        """Crates that join from the first batch to the tail.

        Of several such chains: one with the fewest failures that may pass, then with a good tail,
        then the one that got furthest.
        """
        ways = {(0, START): _Way(0, 0)}
        ends: list[_Way] = []
        for name in sorted(self._uris):  # by the first batch: what it joins to has been seen
            so_far = ways.get((name.first, name.before))
            if so_far is None:
                continue
            num_retries = so_far.num_retries + is_retry(self._uris[name])
            way = _Way(num_retries, so_far.num_crates + 1, name, so_far)
            if name.is_end:
                ends.append(way)
                continue
            known = ways.setdefault((name.stop, name.after), way)
            if way.cost < known.cost:
                ways[name.stop, name.after] = way
        best = min(ends, key=self._preference, default=None)
        return None if best is None else self._files(best.names())

    def _preference(self, way: _Way) -> tuple[int, bool, int, int, str]:
        assert way.last is not None
        has_bad_tail = is_retry(self._uris[way.last])
        return (way.num_retries, has_bad_tail, -way.last.stop, way.num_crates, str(way.last))

    def _files(self, names: list[CrateName]) -> SetFiles:
        full = [name for name in names if name.stop > name.first]
        moments = tuple(self._moments[name] for name in full if name in self._moments)
        has_moments = len(moments) == len(full)
        return SetFiles(tuple(self._uris[name] for name in names), moments if has_moments else None)
