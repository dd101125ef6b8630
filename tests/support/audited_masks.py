"""Masks audited by models that see what a picture shows: cuts, probes and records without Ray."""

import numpy as np
import torch
from torch import nn

from ray_audit import storage
from ray_audit.checkpoints.catalog import Checkpoint
from ray_audit.config import InputConfig
from ray_audit.cuts.batching import Batcher
from ray_audit.cuts.tiles import LabelledImage, tile_cuts, whole_cut
from ray_audit.engine.ledger.crates import SetFiles
from ray_audit.engine.ledger.record_sets import RequiredRecords
from ray_audit.engine.ledger.records import encode_crate, part_of
from ray_audit.engine.reduce.load import UnitFiles, load_samples
from ray_audit.probes.payload import without_payload
from ray_audit.probes.prober import Prober, ProbeSettings, ProbeTurn
from ray_audit.samples import Tail
from ray_audit.task import Task

CLASSES = ["a", "b", "c", "d"]
CHECKPOINTS = tuple(Checkpoint(i, f"e{i}", "", 0, f"d{i}") for i in range(4))
REQUIRED = RequiredRecords.of(CHECKPOINTS, "loss", "all")
SURE = (0.5, 2.0, 3.0, 4.0)
"""Logit of the class that the picture shows, at each checkpoint..."""
SCALE = (0.5, 1.0, 1.0, 1.0)
"""...times this: without it a gradient's mean over channels would be 0."""


class Shown(nn.Module):
    """Sees in each pixel the class whose channel is lit."""

    def __init__(self, logit):
        super().__init__()
        self.conv = nn.Conv2d(len(CLASSES), len(CLASSES), 1)
        self.conv.weight.data = logit * torch.diag(torch.tensor(SCALE))[:, :, None, None]
        self.conv.bias.data.zero_()

    def forward(self, x):
        return self.conv(x)


def picture(name, given, shown):
    given = np.asarray(given)
    pixels = np.eye(len(CLASSES), dtype=np.uint8)[shown] * 255
    targets = given.astype(np.int8)
    return LabelledImage(name, name, pixels, targets, targets)


def records(pictures, positions, tile):
    """Crates of one relay over some of the checkpoints, a batch each, and then its tail."""
    batcher = Batcher("unit", Task.DENSE, 4, None, len(CLASSES))
    cuts = [
        cut
        for picture in pictures
        for cut in ([whole_cut(picture, None)] if tile is None else tile_cuts(picture, tile, None))
    ]
    batches = [b for cut in cuts for b in batcher.add(cut)] + list(batcher.flush())
    settings = ProbeSettings(len(CLASSES), InputConfig(), None, "loss", 0.1, "float32")
    parts = []
    for batch in batches:
        for position in positions:
            model = Shown(SURE[position]).eval().requires_grad_(False)
            turn = ProbeTurn(is_final=position == 3, in_window=True)
            arrays = Prober([model], settings, torch.device("cpu")).observe(batch, {0: turn})
            batch = batch.with_arrays(arrays)
        parts.append(encode_crate([part_of(without_payload(batch))]))
    return [*parts, encode_crate([], Tail("unit", len(parts)))]


def audited(folder, pictures, sets=((0, 1, 2, 3),), tile=None):
    chosen, files = [], []
    for number, positions in enumerate(sets):
        crates = records(pictures, positions, tile)
        uris = [str(folder / f"{number}-{i}.parquet") for i in range(len(crates))]
        for uri, content in zip(uris, crates, strict=True):
            storage.write_bytes(uri, content)
        chosen.append(REQUIRED.set_for(positions))
        files.append(SetFiles(tuple(uris)))
    return load_samples(UnitFiles("unit", tuple(chosen), tuple(files)), REQUIRED)
