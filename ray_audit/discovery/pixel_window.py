"""DICOM images, one label each: which of their values are black and white."""

from contextlib import suppress
from dataclasses import replace

from ray_audit import storage
from ray_audit.discovery.guess import Guess
from ray_audit.errors import RayAuditError
from ray_audit.formats.accounting import UnitAccounting
from ray_audit.formats.volumes.dicom_volume import DicomFile, is_dicom, read_tags

_SOFT_TISSUE = [-160, 240]


def with_window(guess: Guess) -> Guess:
    """The guess with `volume.window`, where the first of its DICOM images needs or suggests one."""
    uri = guess.dataset["uri"]
    if "masks" in guess.dataset["labels"] or "volume" in guess.dataset or not isinstance(uri, str):
        return guess
    file: DicomFile | None = None
    if is_dicom(uri):
        with suppress(RayAuditError, OSError):
            file = read_tags(storage.list_objects(uri)[0].uri, UnitAccounting("init"))
    if file is None:
        return guess
    assumed, questions, window = guess.assumed, guess.questions, None
    if file.dtype.kind != "u" or file.scale != (1.0, 0.0):
        window = _SOFT_TISSUE
        questions = (*questions, "volume.window: the range of values as your training cut it off")
    elif file.bits not in (8, 16):
        window = [0, 2**file.bits - 1]
        assumed = (*assumed, f"values have {file.bits} bits: the greatest of them is white")
    if window is None:
        return guess
    dataset = {**guess.dataset, "volume": {"window": window}}
    return replace(guess, dataset=dataset, assumed=assumed, questions=questions)
