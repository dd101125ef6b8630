"""A decode stage that waits for its first batch to be committed; workers import it by name."""

import time
from pathlib import Path

from ray_audit.engine.backends import stages
from ray_audit.engine.backends.ray import pipeline

LIMIT_S = 60.0

_decode_unit = stages.decode_unit


def decode(table, settings):
    """In place of `pipeline._decode`: a unit goes on once records of it are in the output."""
    stages.decode_unit = _patient_unit
    try:
        yield from pipeline._decode(table, settings)
    finally:
        stages.decode_unit = _decode_unit  # Ray gives the process to other tests


def _patient_unit(settings, work):
    envelopes = _decode_unit(settings, work)
    yield next(envelopes)
    folder = Path(settings.config.output) / "units"
    until = time.monotonic() + LIMIT_S
    while not any(path.is_file() for path in folder.rglob("*")):
        if time.monotonic() > until:
            raise TimeoutError("the first batch waits for the end of its unit")
        time.sleep(0.1)
    yield from envelopes
