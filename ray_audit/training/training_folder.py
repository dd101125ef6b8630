"""Where training keeps its files: all beside the checkpoints that the specification names.

epoch_001.safetensors ...       weights, one file per epoch: what `checkpoints` matches
last.pt                         optimizer and settings: what a resumed training needs
records/epoch_001-0.parquet     per-sample records, one file per epoch and worker
corrected/epoch_007.parquet     labels that changed in an epoch
fold_0/ ... , folds.parquet     the same of each fold, and which sample is in which
held_out.json                   over all folds, how models agree with labels they never saw
"""

import io
import re
from dataclasses import dataclass
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from ray_audit import storage
from ray_audit.errors import CheckpointError, SpecificationError
from ray_audit.formats.places import absolute

_ESCAPED = re.compile(r"\[([*?\[])\]")
_SUFFIX = ".safetensors"


@dataclass(frozen=True)
class TrainingFolder:
    """A folder of checkpoints.

    Attributes:
        folder: URI, the same from every working directory.
        prefix: of a checkpoint's file name, before the number.
    """

    folder: str
    prefix: str

    @classmethod
    def of(cls, checkpoints: str | list[str]) -> "TrainingFolder":
        """The place that a pattern such as `dir/epoch_*.safetensors` names.

        Raises:
            SpecificationError: it is no such pattern.
        """
        pattern = checkpoints if isinstance(checkpoints, str) else ""
        folder, _, name = pattern.rpartition("/")
        prefix, star, suffix = name.partition("*")
        is_pattern = bool(star) and suffix == _SUFFIX and not storage.has_wildcard(prefix)
        if not is_pattern or storage.has_wildcard(_ESCAPED.sub("", folder)):
            raise SpecificationError(
                f"checkpoints: {checkpoints!r} does not say where training keeps an epoch's "
                "weights; expected a pattern with one * in the file name, such as "
                "dir/epoch_*.safetensors"
            )
        return cls(absolute(_ESCAPED.sub(r"\1", folder).removeprefix("file://")), prefix)

    @property
    def pattern(self) -> str:
        """The pattern that matches its checkpoints, as `checkpoints` takes it."""
        return storage.join(storage.escape_glob(self.folder), f"{self.prefix}*{_SUFFIX}")

    def fold(self, index: int) -> "TrainingFolder":
        """The place of one fold."""
        return TrainingFolder(self.at(f"fold_{index}"), self.prefix)

    def at(self, *names: str) -> str:
        """URI of a file beside the checkpoints."""
        return storage.join(self.folder, *names)

    def checkpoint(self, epoch: int) -> str:
        """URI of the weights after an epoch, from 1."""
        return self.at(f"{self.prefix}{epoch:03d}{_SUFFIX}")

    def has_checkpoints(self) -> bool:
        """Whether any file matches the pattern."""
        start = f"{self.folder}/{self.prefix}"
        uris = [item.uri for item in storage.list_prefix(self.folder)]
        return any(
            uri.startswith(start) and uri.endswith(_SUFFIX) and "/" not in uri[len(start) :]
            for uri in uris
        )

    def begin(self, state: dict[str, Any]) -> None:
        """Say whose the place is before the first epoch is kept in it."""
        self._write_last({"epoch": 0, **state})

    def save(self, epoch: int, weights: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Keep an epoch: its weights first, so that `last.pt` never names weights that are not."""
        # Copies, because the format refuses tensors that share memory.
        plain = {k: v.detach().cpu().contiguous().clone() for k, v in weights.items()}
        storage.write_bytes(self.checkpoint(epoch), safetensors.torch.save(plain))
        self._write_last({"epoch": epoch, **state})

    def _write_last(self, state: dict[str, Any]) -> None:
        content = io.BytesIO()
        torch.save(state, content)
        storage.write_bytes(self.at("last.pt"), content.getvalue())

    def last(self) -> dict[str, Any] | None:
        """What was saved with the latest epoch, or None.

        Raises:
            CheckpointError: the file is damaged, or holds more than numbers.
        """
        uri = self.at("last.pt")
        if not storage.exists(uri):
            return None
        content = io.BytesIO(storage.read_bytes(uri))
        try:
            state: dict[str, Any] = torch.load(content, map_location="cpu", weights_only=True)
        except Exception as error:  # a damaged pickle raises whatever its bytes happen to mean
            raise CheckpointError(
                f"{uri} cannot be read ({type(error).__name__}): remove it with the checkpoints "
                "beside it, and train anew"
            ) from error
        return state
