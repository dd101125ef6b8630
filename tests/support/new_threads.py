"""How many threads a convolution starts in a call of a pool's worker; run as a program.

python -m tests.support.new_threads FOLDER THREADS_PER_ACTOR
"""

import os
import sys
import threading
from pathlib import Path

from torch import nn

from ray_audit.engine.backends.local import LocalBackend
from ray_audit.engine.backends.stages import StageSettings, decode_unit
from ray_audit.engine.backends.worker import PoolWorker
from ray_audit.engine.planning.plan import make_plan, read_inputs
from tests.support import small_sets
from tests.support.tiny_models import ImageModel


class ConvolvingModel(ImageModel):
    """Its first operation is a convolution; it prints how many threads were started by that."""

    def forward(self, images):
        convolution = nn.Conv2d(3, 64, 3)
        num_before = len(os.listdir("/proc/self/task"))
        convolution(images)
        print(len(os.listdir("/proc/self/task")) - num_before)
        return super().forward(images)


def main():
    """Process the first crate of a small set in a thread, as an actor does."""
    folder, num_threads = Path(sys.argv[1]), int(sys.argv[2])
    small = small_sets.class_folders(folder)
    model = {"factory": f"{__spec__.name}:ConvolvingModel", "kwargs": {"num_classes": 3}}
    config = small.config(model=model, engine={"threads_per_actor": num_threads})
    inputs = read_inputs(config, folder, None, "2026-01-31")
    work = make_plan(inputs, LocalBackend().resources()).work[0]
    settings = StageSettings(config, inputs.checkpoints, inputs.required, str(folder), "cpu")
    worker = PoolWorker(settings, (0,), is_last=True)
    crate = next(decode_unit(settings, work))
    thread = threading.Thread(target=worker.process, args=(crate,))
    thread.start()
    thread.join()


if __name__ == "__main__":
    main()
