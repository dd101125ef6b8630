"""A label volume in the grid of its image: the same, turned, or refused."""

from collections.abc import Callable

import numpy as np

from ray_audit.errors import SampleError
from ray_audit.formats.volumes.volume import Volume, VolumeHeader

Turn = Callable[[np.ndarray], np.ndarray]
"""A view of a label array in the axes of its image."""

_APART_MM = 1e-2
_APART_VOXELS = 1e-2


def turn_between(image: Volume, labels: Volume) -> Turn:
    """How the array of a label volume becomes one of the image's shape, voxel on voxel.

    Files of one container are paired as their arrays lie, and must have one affine: that is how
    everybody pairs them, and another affine means another place. Of two containers the affines say
    which axis is which, and in which direction it runs.

    Raises:
        SampleError: `mask_size`: the grids are not those of the same voxels.
    """
    if image.name == labels.name or image.header.affine is None or labels.header.affine is None:
        _check_axes(image, labels)
        _check_same(image.header, labels.header, labels.uri)
        return lambda values: values
    return _turn_by_affines(image.header, labels.header, labels.uri)


def _check_axes(image: Volume, labels: Volume) -> None:
    """Refuse containers of opposite axes, of which one does not say where they point.

    Sizes would not tell in a cube. Arrays of numpy have no axes of their own: they are saved as
    the image was read.
    """
    if image.header.axis == labels.header.axis or labels.name in ("npy", "npz"):
        return
    raise SampleError(
        "mask_size",
        f"{image.uri} ({image.name}) has its slices along axis {image.header.axis}, its labels "
        f"{labels.uri} ({labels.name}) along axis {labels.header.axis}, and not both say where "
        "their axes point; save the labels in the container of the image",
    )


def _check_same(image: VolumeHeader, labels: VolumeHeader, label_uri: str) -> None:
    if image.shape != labels.shape:
        raise SampleError(
            "mask_size",
            f"the label volume {label_uri} has shape {labels.shape}, its image {image.shape}; "
            "expected the same",
        )
    if image.affine is None or labels.affine is None:
        return
    if not np.allclose(image.affine, labels.affine, rtol=0, atol=_APART_MM):
        raise SampleError(
            "mask_size",
            f"the label volume {label_uri} has another affine than its image: "
            f"{_shown(labels)} and {_shown(image)}, so that voxels of one number lie at different "
            "places; resample the labels to the image, or save them with its affine",
        )


def _turn_by_affines(image: VolumeHeader, labels: VolumeHeader, label_uri: str) -> Turn:
    assert image.affine is not None
    assert labels.affine is not None
    try:
        to_labels = np.linalg.inv(labels.affine) @ image.affine  # image index -> label index
    except np.linalg.LinAlgError:
        to_labels = np.full((4, 4), np.nan)
    steps = np.rint(np.nan_to_num(to_labels[:3, :3], nan=9)).astype(int)
    is_turn = (np.abs(steps).sum(axis=0) == 1).all() and (np.abs(steps).sum(axis=1) == 1).all()
    order = np.abs(steps).argmax(axis=0).tolist()  # of each image axis, the label axis
    flipped = [int(steps[order[axis], axis]) < 0 for axis in range(3)]
    begins = [labels.shape[order[axis]] - 1 if flipped[axis] else 0 for axis in range(3)]
    expected = np.zeros(3)
    expected[order] = begins
    if (
        not is_turn
        or not np.allclose(to_labels[:3, :3], steps, rtol=0, atol=_APART_VOXELS / 10)
        or not np.allclose(to_labels[:3, 3], expected, rtol=0, atol=_APART_VOXELS)
        or tuple(labels.shape[axis] for axis in order) != image.shape
    ):
        raise SampleError(
            "mask_size",
            f"the label volume {label_uri} (shape {labels.shape}, affine {_shown(labels)}) and its "
            f"image (shape {image.shape}, affine {_shown(image)}) do not have the same voxels; "
            "resample the labels to the image",
        )
    flip = tuple(slice(None, None, -1) if is_flipped else slice(None) for is_flipped in flipped)
    return lambda values: values.transpose(order)[flip]


def _shown(header: VolumeHeader) -> str:
    return "none" if header.affine is None else str(np.round(header.affine[:3], 3).tolist())
