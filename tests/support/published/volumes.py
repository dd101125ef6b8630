"""Volumes with label volumes: slices along the third stored axis."""

import nibabel as nib
import numpy as np

from tests.support.published.built import Built, put_text

SHAPE = (8, 10, 3)


def _put(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values, np.eye(4)), path)


def _pair(image, label, seed, num_classes, dtype=np.int16):
    rng = np.random.default_rng(seed)
    low, high = (0, 256) if dtype == np.uint8 else (-1024, 1500)
    labels = rng.integers(0, num_classes, SHAPE).astype(np.uint8)
    _put(image, rng.integers(low, high, SHAPE).astype(dtype))
    _put(label, labels)
    return labels


def _slices(key, labels):
    return {f"{key}#{k}": labels[:, :, k] for k in range(labels.shape[2])}


def camus(root):
    expected = {}
    for patient in ("patient0001", "patient0002"):
        for view in ("2CH_ED", "4CH_ES"):
            folder = root / "database_nifti" / patient
            stem = f"{patient}_{view}"
            labels = _pair(
                folder / f"{stem}.nii.gz", folder / f"{stem}_gt.nii.gz", len(expected), 4, np.uint8
            )
            expected |= _slices(f"{patient}/{stem}.nii.gz", labels)
        half = folder / f"{patient}_2CH_half_sequence"
        _pair(half.with_suffix(".nii.gz"), folder / f"{half.name}_gt.nii.gz", 9, 4, np.uint8)
    return Built("camus", expected)


def segthor(root):
    expected = {}
    for patient in ("Patient_01", "Patient_02"):
        folder = root / "train" / patient
        labels = _pair(folder / f"{patient}.nii.gz", folder / "GT.nii.gz", len(expected), 5)
        expected |= _slices(f"{patient}/{patient}.nii.gz", labels)
    return Built("segthor", expected)


def medical_decathlon(root):
    expected = {}
    for name in ("lung_001", "lung_003"):
        image, label = (root / f"{part}Tr/{name}.nii.gz" for part in ("images", "labels"))
        expected |= _slices(f"{name}.nii.gz", _pair(image, label, len(expected), 2))
        # As the archives hold it for files from a Mac.
        image.with_name(f"._{name}.nii.gz").write_bytes(b"\0\5\26\7")
    put_text(root / "dataset.json", '{"labels": {"0": "background", "1": "cancer"}}')
    return Built("medical-decathlon", expected)


def camus_metaimage(root):
    """Headers beside files of raw values; the first axis of the header varies fastest."""
    expected = {}
    for patient in ("patient0001", "patient0002"):
        rng = np.random.default_rng(len(expected))
        labels = rng.integers(0, 4, (3, 10, 8)).astype(np.uint8)
        for ending, values in (("", rng.integers(0, 256, (3, 10, 8), np.uint8)), ("_gt", labels)):
            path = root / f"training/{patient}/{patient}_2CH_ED{ending}.mhd"
            put_text(
                path,
                *("ObjectType = Image", "NDims = 3", "BinaryData = True"),
                *("BinaryDataByteOrderMSB = False", "CompressedData = False"),
                *("TransformMatrix = 1 0 0 0 1 0 0 0 1", "Offset = 0 0 0"),
                *("ElementSpacing = 1 1 1", "DimSize = 8 10 3", "ElementType = MET_UCHAR"),
                f"ElementDataFile = {path.stem}.raw",
            )
            path.with_suffix(".raw").write_bytes(values.tobytes())
        key = f"{patient}/{patient}_2CH_ED.mhd"
        expected |= {f"{key}#{k}": labels[k] for k in range(3)}
    return Built("camus-metaimage", expected)
