"""Who fills a folder: claimed before its first file, so that two at once never mix their files.

A claim is an object that is created only where there is none, `FOLDER/.claim/<number>.json`. Its
holder shows that it lives; one that has been silent for long enough was interrupted, and whoever
asks for the same thing takes the next number and does it again. No clock is compared with another
machine's.
"""

import contextlib
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Self

from ray_audit import storage
from ray_audit.errors import AlreadyThereError, SpecificationError, StorageError

TTL_S = 30.0
_BEATS_PER_TTL = 6
_POLLS_PER_TTL = 12
_FOLDER = ".claim"


@dataclass(frozen=True)
class ClaimState:
    """What the object holds.

    Attributes:
        holder: random name of who holds it.
        purpose: what is done there, a word or number each.
        beat: grows while the holder lives.
        ended: whether it gave up.
    """

    holder: str
    purpose: dict[str, str]
    beat: int = 0
    ended: bool = False

    @classmethod
    def read(cls, uri: str) -> Self | None:
        """What is there; None where it is gone.

        Raises:
            StorageError: the store cannot be read.
        """
        if not storage.exists(uri):
            return None
        with contextlib.suppress(ValueError, TypeError):
            return cls(**json.loads(storage.read_bytes(uri)))
        return cls("", {})

    @property
    def content(self) -> bytes:
        """As it is stored."""
        return json.dumps(asdict(self), sort_keys=True).encode()


def files_in(folder: str) -> tuple[bool, bool]:
    """Whether a folder holds a claim, and whether it holds anything else."""
    prefix = "/" + _FOLDER + "/"
    uris = [item.uri for item in storage.list_prefix(folder)]
    claims = [uri for uri in uris if prefix in uri]
    return bool(claims), len(claims) < len(uris)


@dataclass
class Claim:
    """One party's claim on a folder.

    Attributes:
        folder: that is filled.
        purpose: what is done there; the same may be done again after an interruption.
        may_be_filled: whether other files may be there when it is taken.
        outlives_failure: whether what is left unfinished stays claimed; not where the files tell.
        ttl_s: silence after which a holder counts as interrupted.
        clock_s, sleep: replaced in tests.
    """

    folder: str
    purpose: Mapping[str, str]
    may_be_filled: bool = False
    outlives_failure: bool = True
    ttl_s: float = TTL_S
    clock_s: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _number: int = field(init=False, default=0)
    _mine: ClaimState = field(init=False)

    def __post_init__(self) -> None:
        self._mine = ClaimState(uuid.uuid4().hex, dict(self.purpose))

    def take(self) -> None:
        """Make the folder ours.

        Raises:
            SpecificationError: another fills it, or left something else unfinished there.
        """
        last = self._last()
        if last:
            self._wait_for_silence(last)
        self._number = last + 1
        try:
            storage.create_bytes(self._uri(self._number), self._mine.content)
        except AlreadyThereError as error:
            raise SpecificationError(self._taken()) from error
        if not (last or self.may_be_filled) and files_in(self.folder)[1]:
            storage.remove(self._uri(self._number))
            raise SpecificationError(f"{self.folder} was filled by another meanwhile")

    def check(self) -> None:
        """Make sure that nobody has taken the folder over.

        Raises:
            SpecificationError: it is another's.
        """
        if self._last() != self._number:
            raise SpecificationError(self._taken())

    @contextlib.contextmanager
    def held(self) -> Iterator[Self]:
        """Take it, and show that its holder lives while the block runs.

        What the block leaves unfinished can be done again at once; what it ends well is claimed no
        more.
        """
        self.take()
        ended = threading.Event()
        thread = threading.Thread(target=self._beat, args=(ended,), name="claim", daemon=True)
        thread.start()
        is_done = False
        try:
            yield self
            is_done = True
        finally:
            ended.set()
            thread.join()
            with contextlib.suppress(StorageError):
                self._release(is_done)

    def _release(self, is_done: bool) -> None:
        if self._last() != self._number:
            return
        if is_done or not self.outlives_failure:
            storage.remove_prefix(storage.join(self.folder, _FOLDER))
        elif not files_in(self.folder)[1]:
            storage.remove_prefix(self.folder)  # refused before its first file
        else:
            self._mine = replace(self._mine, ended=True)
            storage.write_bytes(self._uri(self._number), self._mine.content)

    def _beat(self, ended: threading.Event) -> None:
        while not ended.wait(self.ttl_s / _BEATS_PER_TTL):
            self._mine = replace(self._mine, beat=self._mine.beat + 1)
            with contextlib.suppress(StorageError):
                storage.write_bytes(self._uri(self._number), self._mine.content)

    def _wait_for_silence(self, number: int) -> None:
        state = ClaimState.read(self._uri(number))
        if state is not None and state.purpose != dict(self.purpose):
            raise SpecificationError(
                f"{self.folder} is being filled, or was left unfinished, by: "
                f"{_listed(state.purpose)}. Asked for was: {_listed(self.purpose)}. Choose a new "
                "folder, or run the former again"
            )
        start_s = self.clock_s()
        while state is not None and not state.ended and self.clock_s() - start_s <= self.ttl_s:
            self.sleep(self.ttl_s / _POLLS_PER_TTL)
            now = ClaimState.read(self._uri(number))
            if now is None or (now != state and not now.ended):
                raise SpecificationError(self._taken())
            state = now

    def _last(self) -> int:
        names = storage.list_prefix(storage.join(self.folder, _FOLDER))
        stems = [item.uri.rpartition("/")[2].removesuffix(".json") for item in names]
        return max((int(stem) for stem in stems if stem.isdecimal()), default=0)

    def _uri(self, number: int) -> str:
        return storage.join(self.folder, _FOLDER, f"{number:06}.json")

    def _taken(self) -> str:
        return (
            f"{self.folder} is being filled by another process that was asked for the same: wait "
            "for it, or choose a new folder"
        )


def _listed(purpose: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in purpose.items() if value)
