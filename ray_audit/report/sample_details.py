"""What the report shows of single samples: loss trajectories, class bands, timelines of videos."""

import base64
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ray_audit.scores.fit_profile import carried_back
from ray_audit.tables.run_tables import RunTables

_BAND_SAMPLES = 20_000
_MAX_TIMELINE_FRAMES = 4000
_LABEL_LINES = ("label", "predicted", "suggested", "csl", "order_nll")
_MASK_LINES = ("csl", "softmin")
_QUANTILES = {"low": 0.1, "middle": 0.5, "high": 0.9}


def _losses(trajectories: pa.Table) -> np.ndarray:
    """(N, E) float32 of a part; what a sample did not reach is drawn as what it reached next."""
    column = trajectories["loss"].combine_chunks()
    flat: np.ndarray = column.flatten().to_numpy(zero_copy_only=False)
    losses = flat.reshape(-1, column.type.list_size)
    return carried_back(losses, ~np.isnan(losses)) if column.flatten().null_count else losses


def class_bands(tables: RunTables) -> dict[str, dict[str, list[float]]]:
    """Quantiles of the loss at each checkpoint per given class, from the first samples of a run.

    A mask has no one class: of masks there is one band, under the empty name, of all images.
    """
    is_dense = tables.task.is_dense
    labels: list[np.ndarray] = []
    losses: list[np.ndarray] = []
    num = 0
    for scores, trajectories in tables.parts("scores", "trajectories"):
        names = tables.read(scores, ["label_name"])["label_name"].to_pylist()
        labels.append(np.array([""] * len(names) if is_dense else names, dtype=object))
        losses.append(_losses(tables.read(trajectories, ["loss"])))
        num += len(names)
        if num >= _BAND_SAMPLES:
            break
    if not num:
        return {}
    label, loss = np.concatenate(labels), np.concatenate(losses)
    return {
        str(name): {
            which: np.quantile(loss[label == name], q, axis=0).round(4).tolist()
            for which, q in _QUANTILES.items()
        }
        for name in sorted(set(label.tolist()))
    }


def finding_losses(tables: RunTables, findings: pa.Table) -> list[list[float] | None]:
    """Loss trajectory of each finding: of its image, or the mean over the frames of its segment."""
    finding_rows = findings.select(["shard", "sample_id", "start_frame", "end_frame"]).to_pylist()
    found: list[list[float] | None] = [None] * len(finding_rows)
    by_shard: dict[str, list[int]] = {}
    for index, finding in enumerate(finding_rows):
        by_shard.setdefault(finding["shard"], []).append(index)
    for rows, losses in _parts_of(tables, findings, ["sample_id", "shard", "frame_index"]):
        for shard, here in _rows_by_shard(rows).items():
            place = _Placed(rows.take(pa.array(here)))
            for index in by_shard.get(shard, []):
                inside = here[place.of(finding_rows[index])]
                if len(inside):
                    mean = losses[inside].mean(axis=0).astype(float)
                    found[index] = mean.round(4).tolist()
    return found


class _Placed:
    """Which rows of one shard belong to a finding."""

    def __init__(self, rows: pa.Table) -> None:
        self._frames = rows["frame_index"].to_numpy(zero_copy_only=False)
        self._by_sample: dict[str, list[int]] = {}
        for index, sample_id in enumerate(rows["sample_id"].to_pylist()):
            self._by_sample.setdefault(sample_id, []).append(index)

    def of(self, finding: dict[str, Any]) -> np.ndarray:
        """Their positions."""
        if finding["start_frame"] is None:
            return np.array(self._by_sample.get(finding["sample_id"], []), np.int64)
        after = self._frames >= finding["start_frame"]
        return np.flatnonzero(after & (self._frames < finding["end_frame"]))


def _rows_by_shard(rows: pa.Table) -> dict[str, np.ndarray]:
    """Row numbers of each shard, in order."""
    codes = rows["shard"].combine_chunks().dictionary_encode()
    order = np.argsort(codes.indices.to_numpy(), kind="stable")
    counts = np.bincount(codes.indices.to_numpy(), minlength=len(codes.dictionary))
    pieces = np.split(order, np.cumsum(counts)[:-1])
    return dict(zip(codes.dictionary.to_pylist(), pieces, strict=True))


def _parts_of(
    tables: RunTables, findings: pa.Table, columns: list[str]
) -> Iterator[tuple[pa.Table, np.ndarray]]:
    """Rows of the findings' shards with their losses, part by part."""
    shards = findings["shard"].combine_chunks().unique()
    numbers = {i for shard in shards.to_pylist() for i in tables.parts_by_shard.get(shard, [])}
    for index, (scores, trajectories) in enumerate(tables.parts("scores", "trajectories")):
        if index in numbers:
            rows = tables.read(scores, columns)
            chosen = pc.is_in(rows["shard"], value_set=shards)
            losses = _losses(tables.read(trajectories, ["loss"]))
            yield rows.filter(chosen), losses[chosen.to_numpy(zero_copy_only=False)]


def timelines(tables: RunTables, findings: pa.Table) -> dict[str, dict[str, Any]]:
    """What the page draws of each video that has findings, by shard.

    Of masks too, where samples are frames of videos or slices of volumes. Labels (but of masks),
    CSL, order and soft-min per frame from the first to the last scored frame (-1 and null where
    there is none), thinned to 4000 frames; losses by checkpoint and frame as bytes in base64, 255 =
    `loss_max` and above, the video's 99% quantile.
    """
    names = tables.config.dataset.classes
    known = {name: index for index, name in enumerate(names)}
    is_dense = tables.task.is_dense
    columns = ["shard", "frame_index", *(_MASK_LINES if is_dense else _LABEL_LINES)]
    found = {}
    for rows, losses in _parts_of(tables, findings, columns):
        is_frame = pc.is_valid(rows["frame_index"]).to_numpy(zero_copy_only=False)
        for shard, here in _rows_by_shard(rows).items():
            if is_frame[here].all():
                found[shard] = _timeline(rows.take(pa.array(here)), losses[here])
    segments = findings.filter(pc.is_valid(findings["start_frame"])).to_pylist()
    for segment in segments if not is_dense else ():
        video = found.get(segment["shard"])
        if video is not None and segment["suggested"] in known:
            first = (segment["start_frame"] - video["first"]) // video["step"]
            last = -(-(segment["end_frame"] - video["first"]) // video["step"])
            place = slice(max(0, first), max(0, last))
            num = len(video["suggested"][place])
            video["suggested"][place] = [known[segment["suggested"]]] * num
    return found


def _timeline(rows: pa.Table, losses: np.ndarray) -> dict[str, Any]:
    frames = rows["frame_index"].to_numpy()
    step = int(np.diff(frames).min()) if len(frames) > 1 else 1
    num = int(frames[-1] - frames[0]) // step + 1
    thin = -(-num // _MAX_TIMELINE_FRAMES)
    step, num = step * thin, -(-num // thin)
    at = (frames - frames[0]) // step
    _, first = np.unique(at, return_index=True)
    place = at[first]

    def per_frame(name: str) -> list[Any]:
        values: list[Any] = [None] * num
        for i, value in zip(place.tolist(), rows[name].take(first).to_pylist(), strict=True):
            values[i] = value
        return values

    def classes(name: str) -> list[int] | None:
        if name not in rows.column_names:
            return None
        return [-1 if value is None else value for value in per_frame(name)]

    def rounded(name: str) -> list[float | None] | None:
        if name not in rows.column_names or rows[name].null_count == len(rows):
            return None
        return [None if v is None else round(v, 3) for v in per_frame(name)]

    max_loss = max(round(float(np.quantile(losses, 0.99)), 4), 1e-6)
    return {
        "first": int(frames[0]),
        "step": step,
        "num_checkpoints": losses.shape[1],
        "given": classes("label"),
        "predicted": classes("predicted"),
        "suggested": [-1] * num,
        "csl": rounded("csl"),
        "order": rounded("order_nll"),
        "softmin": rounded("softmin"),
        "losses": _as_bytes(losses[first], max_loss, place, num),
        "loss_max": max_loss,
    }


def _as_bytes(losses: np.ndarray, max_loss: float, place: np.ndarray, num: int) -> str:
    """(T, E) to (E, num) bytes in base64."""
    scaled = np.zeros((losses.shape[1], num), np.uint8)
    scaled[:, place] = np.clip(np.rint(255 * losses / max_loss), 0, 255).astype(np.uint8).T
    return base64.b64encode(scaled.tobytes()).decode("ascii")
