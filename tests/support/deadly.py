"""A decode stage that kills its process in the middle of a unit; workers import it by name."""

from itertools import islice

from ray_audit.engine.backends import stages
from ray_audit.engine.backends.ray import pipeline
from tests.support.tiny_models import die

_decode_unit = stages.decode_unit


def decode(table, settings):
    """In place of `pipeline._decode`: a shard named `poison...` is deadly after its first batch."""
    stages.decode_unit = _deadly_unit
    yield from pipeline._decode(table, settings)


def _deadly_unit(settings, work):
    if not work.unit.shards[0].key.startswith("poison"):
        yield from _decode_unit(settings, work)
        return
    yield from islice(_decode_unit(settings, work), 1)
    die("signal")
