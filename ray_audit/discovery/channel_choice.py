"""Volumes with a fourth axis: which of them is meant has to be said."""

from contextlib import suppress
from dataclasses import replace

from ray_audit import storage
from ray_audit.discovery.guess import Guess
from ray_audit.errors import RayAuditError
from ray_audit.formats.accounting import UnitAccounting
from ray_audit.formats.volumes.volume_files import open_volume


def with_channel(guess: Guess) -> Guess:
    """The guess with the first channel, and a question, where its first volume has several."""
    volume, uri = guess.dataset.get("volume"), guess.dataset["uri"]
    if volume is None or "channel" in volume or not isinstance(uri, str):
        return guess
    num = 0
    with suppress(RayAuditError, OSError, ValueError, LookupError):
        first = storage.list_objects(uri)[0].uri
        with open_volume(first, None, UnitAccounting("init")) as opened:
            num = opened.header.num_channels
    if num < 2:
        return guess
    dataset = {**guess.dataset, "volume": {**volume, "channel": 0}}
    question = f"volume.channel: which of the {num} volumes along the fourth axis; here the first"
    return replace(guess, dataset=dataset, questions=(*guess.questions, question))
