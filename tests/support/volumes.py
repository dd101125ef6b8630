"""Volumes whose values are their true classes, in every container, and models that see them."""

import gzip

import nibabel as nib
import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from tests.support.knowing import given_mask, true_mask
from tests.support.small_sets import SmallSet

NUM_SLICES = 5
VALUES = np.array([-1000, 0, 1000], np.int16)  # of classes a, b, c; the window is that wide
SPACING = np.diag([0.5, 0.75, 2.0, 1.0])
MHA = """ObjectType = Image
NDims = 3
BinaryData = True
BinaryDataByteOrderMSB = False
CompressedData = {packed}{size}
TransformMatrix = -1 0 0 0 -1 0 0 0 1
Offset = 0 0 0
ElementSpacing = 0.5 0.75 2
DimSize = {dims}
ElementType = {kind}
Note = kept
ElementDataFile = {data}
"""
KINDS = {"u1": "MET_UCHAR", "i2": "MET_SHORT", "u2": "MET_USHORT", "i4": "MET_INT"}


def slices_first(volume, wrong=None):
    """(z, y, x) of true classes, or of given ones, with wrong masks at some slices."""
    if wrong is None:
        return np.stack([true_mask(volume + z) for z in range(NUM_SLICES)])
    given = [given_mask(volume + z, (volume + z,) if z in wrong else ()) for z in range(NUM_SLICES)]
    return np.stack(given)


def save_volume(path, values):
    """(z, y, x) in the container that the name says; NIfTI has (x, y, z)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    name = path.name
    if name.endswith((".nii", ".nii.gz")):
        image = nib.Nifti1Image(values.transpose(2, 1, 0), SPACING)
        image.header["descrip"] = b"kept"
        nib.save(image, path)
    elif name.endswith((".mha", ".mhd")):
        packed = path.stem.endswith("packed") or name.startswith("p")
        save_metaimage(path, values, packed)
    elif name.endswith(".npy"):
        np.save(path, values)
    elif name.endswith((".nrrd", ".nhdr")):
        save_nrrd(path, values)
    elif name.endswith(".tif"):
        pages = [Image.fromarray(page) for page in values]
        more = {"compression": "tiff_lzw"} if name.startswith("p") else {}
        texts = {270: "kept"}
        pages[0].save(path, save_all=True, append_images=pages[1:], tiffinfo=texts, **more)
    else:
        np.savez_compressed(path, values)
    return path


def save_metaimage(path, values, packed=False):
    import zlib

    content = np.ascontiguousarray(values).tobytes()
    content = zlib.compress(content) if packed else content
    apart = path.suffix == ".mhd"
    head = MHA.format(
        packed=packed,
        size=f"\nCompressedDataSize = {len(content)}" if packed else "",
        dims=" ".join(map(str, values.shape[::-1])),
        kind=KINDS[values.dtype.str[1:]],
        data=f"{path.stem}.raw" if apart else "LOCAL",
    ).encode()
    if apart:
        path.with_suffix(".raw").write_bytes(content)
        content = b""
    path.write_bytes(head + content)


def save_nrrd(path, values):
    """As pynrrd writes it: (x, y, z) in LPS, with a note."""
    import nrrd

    header = {"space": "left-posterior-superior", "space origin": [0.0, 0, 0]}
    header |= {"space directions": np.diag([-0.5, -0.75, 2.0]), "Note": "kept"}
    header["encoding"] = "gzip" if path.name.startswith("p") else "raw"
    if path.suffix == ".nhdr":
        header["data file"] = f"{path.stem}.raw"
    nrrd.write(str(path), values.transpose(2, 1, 0), header)


def read_volume(path):
    """(z, y, x), by the plain way."""
    name = path.name
    if name.endswith((".nii", ".nii.gz")):
        return np.asarray(nib.load(path).dataobj).transpose(2, 1, 0)
    if name.endswith(".npy"):
        return np.load(path)
    if name.endswith(".npz"):
        return np.load(path)["arr_0"]
    content = path.read_bytes()  # of one uncompressed mha of bytes
    sizes = [int(n) for n in content.split(b"DimSize = ")[1].split(b"\n")[0].split()]
    values = content.split(b"LOCAL\n", 1)[1]
    return np.frombuffer(values, np.uint8).reshape(sizes[::-1])


def inflated(path):
    content = path.read_bytes()
    return gzip.decompress(content) if path.suffix == ".gz" else content


def seen_volumes(folder, suffix=".nii.gz", label_suffix=None, num=2, wrong=((1,), ()), **volume):
    """Volumes in `images`, label volumes in `labels`, and three checkpoints that see the truth."""
    label_suffix = label_suffix or suffix
    for index in range(num):
        save_volume(folder / f"data/images/v{index}{suffix}", VALUES[slices_first(index)])
        labels = slices_first(index, wrong[index]).astype(np.uint8)
        save_volume(folder / f"data/labels/v{index}{label_suffix}", labels)
    dataset = {
        "kind": "images",
        "uri": str(folder / f"data/images/*{suffix}"),
        "labels": {"masks": str(folder / f"data/labels/{{stem}}{label_suffix}")},
        "volume": {"window": [-1000, 1000], **volume},
        "void": [255],
    }
    return sees_grey(SmallSet(folder, dataset, "PixelModel"))


def sees_grey(small, sure=30.0):
    """Checkpoints whose classes are 0, a half and 1 of a grey value."""
    levels = torch.tensor([0.0, 0.5, 1.0])
    weight = (2 * sure * levels / 3).repeat(3, 1).T[:, :, None, None].contiguous()
    state = {"head.weight": weight, "head.bias": -sure * levels**2}
    for path in small.folder.glob("checkpoints/*"):
        save_file(state, path)
    return small
