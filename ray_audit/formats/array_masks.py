"""Masks in files of arrays written back: npy, and one array of an npz."""

import io
import zipfile
from typing import Literal

import numpy as np

from ray_audit.errors import LabelError, SampleError
from ray_audit.formats.array_files import NPY_MARK, check_inflated, only_array, same_entry
from ray_audit.formats.damage import is_damage

_SUFFIX = ".npy"
_NPZ_MARK = b"PK"


def encode_array_mask(stored: bytes, mask: np.ndarray, variable: str | None) -> bytes:
    """Write a mask as the array of another is: type, byte order, order of axes, shape.

    Args:
        stored: the old mask's file.
        mask: (H, W) integers or truth values, or (H, W, 3) colours.
        variable: which array of an npz is the mask; None where there is one.

    Returns:
        The file; of an npz the other members stay as they are.

    Raises:
        LabelError: sizes differ, the type cannot hold the new values, or the file is of another
            kind (HDF5, MATLAB).
    """
    _check_kind(stored)
    old = only_array(stored, variable)
    if mask.shape != old.shape:
        raise LabelError(f"the new mask is {mask.shape}, the old one {old.shape}")
    new = np.array(mask, old.dtype, order=order_of(old))
    if not np.array_equal(new, mask):
        raise LabelError(f"value {mask.max()} does not fit an array of type {old.dtype}")
    return _npy(new) if stored.startswith(NPY_MARK) else _with_member(stored, variable, new)


def check_array_kept(stored: bytes, variable: str | None) -> None:
    """Refuse a file that `encode_array_mask` would refuse whatever the new mask is.

    Raises:
        LabelError: it is of another kind, or an array beside the mask is damaged.
    """
    _check_kind(stored)
    if stored.startswith(NPY_MARK):
        return
    try:
        with zipfile.ZipFile(io.BytesIO(stored)) as file:
            check_inflated(file)
            for info in file.infolist():
                if not _is_mask(info, variable):
                    _check_member(file, info)
    except (zipfile.BadZipFile, SampleError):
        return  # the mask cannot be read either, and the file keeps its bytes


def _check_kind(stored: bytes) -> None:
    if not stored.startswith((NPY_MARK, _NPZ_MARK)):
        raise LabelError(
            "masks in MATLAB and HDF5 files are not written back; save them with numpy.save"
        )


def _check_member(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
    try:
        file.read(info)
    except Exception as error:
        if not is_damage(error):
            raise
        raise LabelError(
            f"{info.filename} beside the mask is damaged ({error}); save the mask in a file of "
            "its own"
        ) from error


def order_of(values: np.ndarray) -> Literal["C", "F"]:
    """Which axis of an array runs fastest as it is stored: the last (C) or the first (F)."""
    return "F" if values.flags.f_contiguous and not values.flags.c_contiguous else "C"


def _is_mask(info: zipfile.ZipInfo, variable: str | None) -> bool:
    return variable is None or info.filename in (variable, variable + _SUFFIX)


def _npy(values: np.ndarray) -> bytes:
    sink = io.BytesIO()
    np.lib.format.write_array(sink, values, allow_pickle=False)
    return sink.getvalue()


def _with_member(stored: bytes, variable: str | None, values: np.ndarray) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(stored)) as old, zipfile.ZipFile(sink, "w") as new:
        for info in old.infolist():
            content = _npy(values) if _is_mask(info, variable) else old.read(info)
            new.writestr(same_entry(info), content)
    return sink.getvalue()
