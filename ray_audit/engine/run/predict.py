"""Probability maps of chosen samples: for reports and corrections, which look at few.

An audit keeps no map. Whoever needs one runs the checkpoints over the flagged samples again, on the
same cuts as the audit: the same clips, tiles and resizing.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from ray_audit.checkpoints.factory import build_model
from ray_audit.checkpoints.loading import load_weights
from ray_audit.config import AuditConfig, EngineConfig
from ray_audit.cuts.batching import batch_size_of
from ray_audit.cuts.unit import cut_unit
from ray_audit.engine.planning.numeric import precision
from ray_audit.probes.determinism import use_exact_float32
from ray_audit.probes.mask_clips import as_images
from ray_audit.probes.masks import owned_rects
from ray_audit.probes.prober import Prober, ProbeSettings
from ray_audit.samples import Batch, Tail, WorkUnit
from ray_audit.supervisor import step, stepwise

_Rect = tuple[int, int, int, int]


@dataclass(frozen=True)
class Predicted:
    """A sample, or a tile of one, with its probabilities.

    Attributes:
        sample_id: the sample.
        shard: its shard key.
        frame_index: of a frame, else None.
        pixels: (C, H, W) of the picture or frame as the cut holds it: uint8, uint16, or float32
            in [0, 1] where it was resized; (D,) features of a sequence's frame.
        targets: (H, W) given classes with `IGNORE` (dense), else a scalar.
        p: (K, H, W) at the mask's size, or (K,); float32, mean over the checkpoints.
        owned: y0, x0, y1, x1 within the cut that this tile owns; None but for dense labels.
        placement: y and x of the tile, height and width of the whole image; None for whole images.
    """

    sample_id: str
    shard: str
    frame_index: int | None
    pixels: np.ndarray
    targets: np.ndarray
    p: np.ndarray
    owned: tuple[int, int, int, int] | None = None
    placement: tuple[int, int, int, int] | None = None


def device_of(engine: EngineConfig) -> str:
    """`cuda` where this process may use a GPU: Ray shows a task those that it holds, or none."""
    return "cuda" if engine.num_gpus != 0 and torch.cuda.is_available() else "cpu"


class Predictor:
    """Some checkpoints of an audit, ready to look at samples again.

    Args:
        config: the specification of the audit.
        checkpoint_uris: whose probabilities are averaged.
        index_uri: label index of the audit, where labels are tables.
        device: `cpu` or `cuda`.

    Raises:
        CheckpointError: a checkpoint is not there any more, or cannot be read.
    """

    def __init__(
        self,
        config: AuditConfig,
        checkpoint_uris: tuple[str, ...],
        index_uri: str,
        device: str = "cpu",
    ) -> None:
        self._config = config
        self._index_uri = index_uri
        self._names = ", ".join(uri.rpartition("/")[2] for uri in checkpoint_uris)
        torch.set_num_threads(config.engine.threads_per_actor)
        use_exact_float32()
        self._prober = self._made(checkpoint_uris, torch.device(device))

    def _made(self, uris: tuple[str, ...], device: torch.device) -> Prober:
        config = self._config
        models = []
        for uri in uris:
            model = build_model(config.model, config.engine.start_timeout_s)
            load_weights(model, uri, config.model.weights)
            models.append(model.to(device))
        settings = ProbeSettings.of(config, None, precision(config), config.engine.compile)
        return Prober(models, settings, device)

    def predict(self, unit: WorkUnit, sample_ids: Collection[str]) -> Iterator[Predicted]:
        """Decode a unit and look at the named samples; batches without any are not run.

        Args:
            unit: the shards to read.
            sample_ids: sample ids.

        Yields:
            The named samples in the order of the data; those that cannot be read are left out.
        """
        for batch, rows in chosen_cuts(self._config, self._index_uri, unit, sample_ids):
            yield from self._looked_at(batch, rows)

    def _looked_at(self, batch: Batch, rows: np.ndarray) -> Iterator[Predicted]:
        step("looking again", f"checkpoint {self._names}", batch)
        p = self._prober.probabilities(batch)
        batch = as_images(batch)
        for row in rows.tolist():
            identity = batch.samples.slice(row, 1).to_pylist()[0]
            cut = identity["cut"]
            if batch.task.is_dense:
                yield _dense(batch, identity, cut, p[cut])
            else:
                yield _row(batch, identity, cut, p[row])


def chosen_cuts(
    config: AuditConfig, index_uri: str, unit: WorkUnit, sample_ids: Collection[str]
) -> Iterator[tuple[Batch, np.ndarray]]:
    """Batches of a unit as the audit cuts them, and in each the rows of the named samples."""
    items = cut_unit(
        unit,
        config.dataset,
        config.model.input,
        index_uri,
        batch_size_of(config.engine),
    )
    for item in stepwise(items, "decode", unit.files):
        if isinstance(item, Tail):
            continue
        chosen = np.isin(item.samples["sample_id"].to_pylist(), list(sample_ids))
        if chosen.any():
            yield item, np.flatnonzero(chosen)


def chosen_images(
    config: AuditConfig, index_uri: str, unit: WorkUnit, sample_ids: Collection[str]
) -> Iterator[tuple[Batch, np.ndarray]]:
    """As `chosen_cuts`, of masks, with the frames of clips one by one."""
    for batch, rows in chosen_cuts(config, index_uri, unit, sample_ids):
        yield as_images(batch), rows


def placed(batch: Batch, cut: int) -> tuple[_Rect, _Rect | None]:
    """What a cut of a dense batch owns, and where in its image it lies; None for whole images."""
    placement = batch.arrays.get("placement")
    return _four(owned_rects(batch)[cut]), None if placement is None else _four(placement[cut])


def _dense(batch: Batch, identity: dict[str, object], cut: int, p: np.ndarray) -> Predicted:
    owned, placement = placed(batch, cut)
    return Predicted(
        sample_id=str(identity["sample_id"]),
        shard=str(identity["shard"]),
        frame_index=None,
        pixels=batch.arrays["inputs"][cut],
        targets=batch.arrays["targets"][cut],
        p=p,
        owned=owned,
        placement=placement,
    )


def _four(values: np.ndarray) -> _Rect:
    y0, x0, y1, x1 = (int(value) for value in values)
    return y0, x0, y1, x1


def _row(batch: Batch, identity: dict[str, object], cut: int, p: np.ndarray) -> Predicted:
    pixels, targets = batch.arrays["inputs"][cut], batch.arrays["targets"][cut]
    frame_index = identity["frame_index"]
    if batch.task.is_sequence:
        position = int(str(identity["position"]))
        pixels, targets = pixels[position], targets[position]
    return Predicted(
        sample_id=str(identity["sample_id"]),
        shard=str(identity["shard"]),
        frame_index=None if frame_index is None else int(str(frame_index)),
        pixels=pixels,
        targets=np.asarray(targets),
        p=p,
    )
