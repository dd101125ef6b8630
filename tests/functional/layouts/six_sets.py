"""The datasets of the four methods, tiny, as published, with a wrong label and models that see.

A pixel's brightness is its true class: class k of K has k / (K - 1). Of a wrong sample a part, or a
segment, has been given another class.
"""

import json
from dataclasses import dataclass

import av
import nibabel as nib
import numpy as np
import pyarrow as pa
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file

from ray_audit import rle
from ray_audit.formats.pixels.png import png_bytes
from ray_audit.layouts import recipe_named
from tests.support.published.built import put_text
from tests.support.published.video import put_parquet
from tests.support.small_sets import MODELS

SIDE = 24
NUM_SAMPLES = 5
WRONG = 2
SURENESS = (1.0, 2.0, 2.0)


@dataclass(frozen=True)
class Method:
    """One of the datasets.

    Attributes:
        layout: its recipe.
        build: writes it; gives true and given labels by the keys that they are read back under.
        overrides: keys that are given beside the layout.
        num_classes: of it.
        factory: of the model.
    """

    layout: str
    build: object
    num_classes: int
    factory: str = "PixelModel"
    overrides: tuple = ()


def specification(folder, method):
    """The path of a specification that names the layout; models that see are written beside it."""
    kwargs = {"num_classes": method.num_classes}
    _checkpoints(folder, method)
    dataset = {"layout": method.layout, "root": str(folder / "set"), **dict(method.overrides)}
    values = {
        "name": method.layout,
        "dataset": dataset,
        "model": {"factory": f"{MODELS}:{method.factory}", "kwargs": kwargs},
        "checkpoints": str(folder / "checkpoints/epoch_*.safetensors"),
        "output": str(folder / "out"),
    }
    path = folder / "audit.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def _checkpoints(folder, method):
    """Heads whose logit of class k is highest where the brightness is that of k."""
    num = method.num_classes
    centres = torch.linspace(0, 1, num)
    for epoch, sure in enumerate(SURENESS):
        scale = 3 * sure * (num - 1) ** 2
        weight = (2 * scale * centres / 3)[:, None].repeat(1, 3)
        if method.factory == "PixelModel":
            weight = weight[:, :, None, None]
        state = {"head.weight": weight.contiguous(), "head.bias": -scale * centres**2}
        (folder / "checkpoints").mkdir(exist_ok=True)
        save_file(state, folder / f"checkpoints/epoch_{epoch}.safetensors")


def _mask(index, num_classes):
    """True classes in blocks, (SIDE, SIDE)."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[:, :8] = 1
    mask[8:16, 8:16] = 2
    mask[16:, 16:] = min(3, num_classes - 1)
    return np.roll(mask, 8 * (index % 3), axis=1)


def _given(mask, index):
    """The block of class 2 is missing in the wrong one."""
    return np.where(mask == 2, 0, mask).astype(np.uint8) if index == WRONG else mask


def _grey(mask, num_classes):
    return np.rint(255.0 * mask / (num_classes - 1)).astype(np.uint8)


def _colour(mask, num_classes):
    return np.repeat(_grey(mask, num_classes)[..., None], 3, axis=2)


def pascal_voc(root):
    true, given, stems = {}, {}, []
    for index in range(NUM_SAMPLES):
        stem, mask = f"2007_00000{index}", _mask(index, 21)
        _save(_colour(mask, 21), root / f"JPEGImages/{stem}.jpg", quality=100, subsampling=0)
        stored = Image.fromarray(_given(mask, index))
        stored.putpalette([v for i in range(256) for v in (i, 255 - i, 7)])
        (root / "SegmentationClass").mkdir(exist_ok=True)
        stored.save(root / f"SegmentationClass/{stem}.png")
        true[f"{stem}.jpg"], given[f"{stem}.jpg"] = mask, _given(mask, index)
        stems.append(stem)
    _save(_colour(mask, 21), root / "JPEGImages/2007_000009.jpg")  # has no mask
    put_text(root / "ImageSets/Segmentation/train.txt", *stems)
    return true, given


COCO = ["background", "person", "bicycle", "car"]


def coco(root):
    true, given, images, annotations = {}, {}, [], []
    for number in range(NUM_SAMPLES):
        name, mask = f"{number:012d}.jpg", _mask(number, len(COCO))
        _save(_colour(mask, len(COCO)), root / "train2017" / name, quality=100, subsampling=0)
        images.append({"id": number, "file_name": name, "height": SIDE, "width": SIDE})
        for index in sorted(set(np.unique(_given(mask, number)).tolist()) - {0}):
            counts = rle.encode(_given(mask, number) == index)
            shape = {"size": [SIDE, SIDE], "counts": counts}
            found = {"id": len(annotations), "image_id": number, "category_id": index}
            annotations.append(found | {"segmentation": shape, "iscrowd": 0})
        true[name], given[name] = mask, _given(mask, number)
    categories = [{"id": n, "name": name} for n, name in enumerate(COCO[1:], 1)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    put_text(root / "annotations/instances_train2017.json", json.dumps(document))
    return true, given


def synthia(root):
    true, given = {}, {}
    for index in range(NUM_SAMPLES):
        name, mask = f"{index:07d}.png", _mask(index, 22)
        _save(_colour(mask, 22), root / "RGB" / name)
        pixels = np.zeros((SIDE, SIDE, 3), np.uint16)
        pixels[..., 0] = _given(mask, index) + 1
        pixels[..., 1] = np.arange(SIDE) * 300  # instances
        (root / "GT/LABELS").mkdir(parents=True, exist_ok=True)
        (root / "GT/LABELS" / name).write_bytes(png_bytes(pixels, 16))
        true[name], given[name] = mask, _given(mask, index)
    return true, given


def _volumes(root, names, num_classes, values_of):
    true, given = {}, {}
    for number, (image, label, key) in enumerate(names):
        masks = [_mask(3 * number + index, num_classes) for index in range(3)]
        stored = [_given(mask, 3 * number + index) for index, mask in enumerate(masks)]
        for path, slices in ((image, [values_of(mask) for mask in masks]), (label, stored)):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(np.stack(slices, axis=2), np.eye(4)), root / path)
        for index, mask in enumerate(masks):
            true[f"{key}#{index}"], given[f"{key}#{index}"] = mask, stored[index]
    return true, given


def camus(root):
    names = []
    for patient in ("patient0001", "patient0002"):
        path = f"{patient}/{patient}_2CH_ED"
        names.append(
            (
                f"database_nifti/{path}.nii.gz",
                f"database_nifti/{path}_gt.nii.gz",
                f"{path}.nii.gz",
            )
        )
    return _volumes(root, names, 4, lambda mask: _grey(mask, 4))


def segthor(root):
    names = [
        (f"train/{p}/{p}.nii.gz", f"train/{p}/GT.nii.gz", f"{p}/{p}.nii.gz")
        for p in ("Patient_01", "Patient_02")
    ]
    return _volumes(root, names, 5, lambda mask: mask.astype(np.int16) * 100 - 160)


NUM_FRAMES = 40
TRUE_FRAMES = np.repeat([0, 1, 2, 3], NUM_FRAMES // 4)


def _given_frames(index):
    frames = TRUE_FRAMES.copy()
    if index == WRONG:
        frames[10:20] = 3
    return frames


def cholec80(root):
    phases = recipe_named("cholec80").dataset["classes"]
    true, given = {}, {}
    for index in range(NUM_SAMPLES):
        name, labels = f"video0{index + 1}", _given_frames(index)
        _video(root / f"videos/{name}.mp4", TRUE_FRAMES, len(phases))
        rows = [f"{t}\t{phases[k]}" for t, k in enumerate(labels)]
        put_text(root / f"phase_annotations/{name}-phase.txt", "Frame\tPhase", *rows)
        true |= {f"{name}.mp4#{t}": k for t, k in enumerate(TRUE_FRAMES.tolist())}
        given |= {f"{name}.mp4#{t}": k for t, k in enumerate(labels.tolist())}
    return true, given


STEPS = ["fill", "boil", "grind", "pour"]


def egoper(root):
    true, given, entries = {}, {}, []
    (root / "features").mkdir(parents=True)
    for index in range(NUM_SAMPLES):
        name, labels = f"coffee_u{index}", _given_frames(index)
        features = np.repeat((TRUE_FRAMES / 3.0)[:, None], 3, axis=1).astype(np.float32)
        np.save(root / f"features/{name}.npy", features)
        starts = [0, *(np.flatnonzero(np.diff(labels)) + 1).tolist()]
        stamps = [
            [start / 10, end / 10]
            for start, end in zip(starts, [*starts[1:], NUM_FRAMES], strict=True)
        ]
        actions = [STEPS[labels[start]] for start in starts]
        entries.append({"video_id": name, "labels": {"action": actions, "time_stamp": stamps}})
        true |= {f"{name}.npy#{t}": k for t, k in enumerate(TRUE_FRAMES.tolist())}
        given |= {f"{name}.npy#{t}": k for t, k in enumerate(labels.tolist())}
    put_text(root / "annotation.json", json.dumps({"coffee": {"segments": entries}}, indent=1))
    return true, given


CAMERA = "observation.images.top"


def lerobot(root):
    """Version 3: episodes 0 to 2 in one video file and table, the others in the next."""
    true, given, episodes = {}, {}, []
    for file, numbers in enumerate(([0, 1, 2], [3, 4])):
        frames = np.tile(TRUE_FRAMES, len(numbers))
        _video(root / f"videos/{CAMERA}/chunk-000/file-{file:03d}.mp4", frames, len(STEPS))
        rows = [(n, t, int(k)) for n in numbers for t, k in enumerate(_given_frames(n))]
        names = ("episode_index", "frame_index", "subtask_index")
        table = pa.table({name: [row[at] for row in rows] for at, name in enumerate(names)})
        put_parquet(root / f"data/chunk-000/file-{file:03d}.parquet", table)
        for at, number in enumerate(numbers):
            begin_s = at * NUM_FRAMES / 25
            times = {"from_timestamp": begin_s, "to_timestamp": begin_s + NUM_FRAMES / 25}
            of_file = {"chunk_index": 0, "file_index": file, **times}
            episodes.append(
                {"episode_index": number}
                | {f"videos/{CAMERA}/{name}": value for name, value in of_file.items()}
            )
            key = f"{CAMERA}/chunk-000/file-{file:03d}.mp4/{number}"
            true |= {f"{key}#{t}": k for t, k in enumerate(TRUE_FRAMES.tolist())}
            given |= {f"{key}#{t}": k for t, k in enumerate(_given_frames(number).tolist())}
    path = root / "meta/episodes/chunk-000/file-000.parquet"
    put_parquet(path, pa.Table.from_pylist(episodes))
    put_text(root / "meta/info.json", json.dumps({"codebase_version": "v3.0", "fps": 25}))
    return true, given


def _video(path, classes, num_classes):
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 16, 16, "yuv420p", 10**6
        for k in classes.tolist():
            pixels = np.full((16, 16, 3), round(255 * k / (num_classes - 1)), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


def _save(pixels, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


METHODS = {
    "pascal-voc": Method("pascal-voc", pascal_voc, 21),
    "synthia": Method("synthia", synthia, 22),
    "camus": Method("camus", camus, 4),
    "segthor": Method("segthor", segthor, 5),
    "cholec80": Method(
        *("cholec80", cholec80, 7, "FrameModel"), (("clip", {"every": 1, "frames": 20}),)
    ),
    "egoper": Method("egoper", egoper, 4, "FrameModel", (("classes", STEPS),)),
}
OTHERS = {
    "coco": Method("coco-instances", coco, len(COCO), overrides=(("classes", COCO),)),
    "lerobot": Method(
        *("lerobot-v3", lerobot, 4, "FrameModel"),
        (("classes", STEPS), ("clip", {"every": 1, "frames": 20})),
    ),
}
"""Beside the methods' own: masks that are drawn of a document, and episodes of longer videos."""
