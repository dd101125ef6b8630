"""Audits of real models by checkpoints of their own trainers: `make zoo-test`.

Each model is trained three steps on a tiny set, saved as its trainer saves it, audited without Ray,
and the losses of the audit are held against those of a plain loop, in which the model is loaded by
its own library.
"""

import contextlib
import sys
import tempfile
import traceback
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image

import ray_audit
from ray_audit.errors import RayAuditError
from tests.support import small_sets, volumes
from tests.zoo import trainers
from tests.zoo.models import (
    FRAMES,
    NUM_CLASSES,
    SIDE,
    monai_unet,
    segformer,
    smp,
    timm_resnet,
    videomae,
    vit,
    vit_with_adapter,
)

_MODELS = "tests.zoo.models"
_CLOSE = 1e-4


def _picture(path):
    return torch.tensor(np.array(Image.open(path)) / 255, dtype=torch.float32).permute(2, 0, 1)


def masked(folder):
    """Images with a mask each: (C, H, W) and (H, W)."""
    dataset = small_sets.masked_images(folder).values["dataset"]
    for index in range(6):
        small_sets.picture(folder / f"data/images/i{index}.png", index, (SIDE, SIDE))
    examples = {}
    for index in range(6):
        mask = np.array(Image.open(folder / f"data/masks/i{index}.png").resize((SIDE, SIDE), 0))
        mask[:, : SIDE * 3 // 4] = 1  # something that three steps can learn
        Image.fromarray(mask).save(folder / f"data/masks/i{index}.png")
        mask = mask.astype(np.int64)
        x = _picture(folder / f"data/images/i{index}.png")
        examples[f"i{index}.png"] = {"x": x, "y": torch.tensor(mask)}
    return dataset, examples


def classed(folder):
    """Images in class folders."""
    dataset, examples = small_sets.class_folders(folder, 2).values["dataset"], {}
    for number, name in enumerate(small_sets.CLASSES):
        for index in range(2):
            path = folder / f"data/{name}/{index}.png"
            small_sets.picture(path, 10 * number + index, (SIDE, SIDE))
            examples[f"{name}/{index}.png"] = {"x": _picture(path), "y": torch.tensor(number)}
    # Neighbours in a batch are of different classes.
    return dataset, dict(sorted(examples.items(), key=lambda item: item[0][::-1]))


def clips(folder):
    """Videos of one clip and one label each: (T, C, H, W)."""
    import av

    examples, rows = {}, []
    for index in range(6):
        path = small_sets.video(folder / f"data/v{index}.mp4", FRAMES, index, (SIDE, SIDE))
        with av.open(str(path)) as container:
            frames = [item.to_ndarray(format="rgb24") for item in container.decode(video=0)]
        x = torch.tensor(np.stack(frames) / 255, dtype=torch.float32).permute(0, 3, 1, 2)
        examples[path.name] = {"x": x, "y": torch.tensor(index % NUM_CLASSES)}
        rows.append({"video": path.name, "label": small_sets.CLASSES[index % NUM_CLASSES]})
    dataset = {
        "kind": "video",
        "uri": f"{folder}/data/*.mp4",
        "classes": small_sets.CLASSES,
        "labels": {"videos": str(small_sets.table(folder / "data/videos.csv", rows))},
        "clip": {"frames": FRAMES, "stride": FRAMES},
    }
    return dataset, examples


def slabs(folder):
    """Volumes of two clips along their axis: (1, T, H, W) each."""
    examples = {}
    for index in range(3):
        rng = np.random.default_rng(index)
        values = rng.integers(-1000, 1000, (2 * FRAMES, SIDE, SIDE)).astype(np.int16)
        labels = rng.integers(0, NUM_CLASSES, values.shape).astype(np.uint8)
        volumes.save_volume(folder / f"data/images/v{index}.nii.gz", values)
        volumes.save_volume(folder / f"data/labels/v{index}.nii.gz", labels)
        x = torch.tensor((values.transpose(0, 2, 1) + 1000) / 2000, dtype=torch.float32)
        for at in (0, FRAMES):
            y = torch.tensor(labels.transpose(0, 2, 1)[at : at + FRAMES].astype(np.int64))
            examples[f"v{index}.nii.gz#{at}"] = {"x": x[None, at : at + FRAMES], "y": y}
    dataset = {
        "kind": "images",
        "uri": f"{folder}/data/images/*.nii.gz",
        "classes": small_sets.CLASSES,
        "labels": {"masks": f"{folder}/data/labels/{{stem}}.nii.gz"},
        "volume": {"window": [-1000, 1000]},
        "clip": {"frames": FRAMES, "stride": FRAMES},
    }
    return dataset, examples


def _case(data, save, make, factory, more=None, **model):
    kwargs = model.pop("kwargs", {})
    section = {"factory": f"{_MODELS}:{factory}", "kwargs": kwargs, **model}
    return data, save, partial(make, **kwargs), section, more or {}


_LOGITS = {"output": "logits"}
CASES = {
    "SegFormer, Trainer": _case(masked, trainers.hugging_face, segformer, "segformer", **_LOGITS),
    "SegFormer, sharded": _case(masked, trainers.sharded, segformer, "segformer", **_LOGITS),
    "ViT, Trainer": _case(classed, trainers.hugging_face, vit, "vit", **_LOGITS),
    "ViT, plain": _case(classed, trainers.plain, vit, "vit", **_LOGITS),
    "ViT, adapters": _case(
        classed,
        trainers.adapters,
        vit_with_adapter,
        "vit_with_adapter",
        {"base": "base"},
        **_LOGITS,
    ),
    "VideoMAE, Trainer": _case(clips, trainers.hugging_face, videomae, "videomae", **_LOGITS),
    "timm ResNet, timm": _case(
        classed, trainers.timm, timm_resnet, "timm_resnet", {"key": "state_dict_ema"}
    ),
    **{
        f"smp {name}, Lightning": _case(
            masked, trainers.lightning, smp, "smp", kwargs={"architecture": name}
        )
        for name in ("unet", "fpn", "deeplabv3plus")
    },
    "monai UNet 2-D, mmengine": _case(
        masked, trainers.mmengine, monai_unet, "monai_unet", kwargs={"axes": 2}
    ),
    "monai UNet 3-D, plain": _case(
        slabs,
        trainers.plain,
        monai_unet,
        "monai_unet",
        kwargs={"axes": 3},
        input={"layout": "NCTHW"},
    ),
}


def expected(examples, load):
    """Loss of each sample at each checkpoint, by a plain loop."""
    losses = {}
    for step in range(trainers.STEPS):
        model = load(step).eval()
        for name, example in examples.items():
            with torch.inference_mode():
                answer = model(example["x"][None])
            logits = getattr(answer, "logits", answer)
            if example["y"].ndim == 2:
                size = tuple(example["y"].shape)
                logits = F.interpolate(logits, size, mode="bilinear", align_corners=False)
            each = F.cross_entropy(logits, example["y"][None], reduction="none")[0]
            if example["y"].ndim < 3:
                losses.setdefault(name, []).append(float(each.mean()))
                continue
            front, _, at = name.rpartition("#")
            for frame, values in enumerate(each):
                losses.setdefault(f"{front}#{int(at) + frame}", []).append(float(values.mean()))
    return losses


def check(name, folder):
    """Audit one case; the greatest difference of a loss, of losses above 1 as a fraction."""
    data, save, make, model, weights = CASES[name]
    dataset, examples = data(folder)
    torch.manual_seed(1)
    pattern, load = save(make, list(examples.values()), trainers.fresh(folder / "trained"))
    if "base" in weights:
        weights = {"base": str(folder / "trained/base")}
    specification = {
        "dataset": dataset,
        "model": {**model, "weights": weights},
        "checkpoints": pattern,
        "output": str(folder / "out"),
    }
    run = ray_audit.audit(specification, local=True)
    rows = run.trajectories().to_pylist()
    found = {row["sample_id"]: row["loss"] for row in rows}
    requested = expected(examples, load)
    assert found.keys() == requested.keys(), (sorted(found)[:3], sorted(requested)[:3])
    assert all(len(values) == trainers.STEPS for values in found.values())
    steps = np.diff([requested[key] for key in requested])
    assert np.abs(steps).max() > 10 * _CLOSE, "the checkpoints do not differ"
    far = max(
        np.max(np.abs(np.subtract(found[key], requested[key])) / np.maximum(1, requested[key]))
        for key in requested
    )
    assert far < _CLOSE, far
    return far


def refusal(folder):
    """An adapter without its head is refused: that one would be at random."""
    dataset, examples = classed(folder)
    torch.manual_seed(1)
    make = partial(vit_with_adapter, keeps_head=False)
    pattern, _ = trainers.adapters(make, list(examples.values()), trainers.fresh(folder / "t"))
    for path in (folder / "t").glob("base/*.safetensors"):
        from safetensors.torch import load_file, save_file

        save_file({k: v for k, v in load_file(path).items() if "classifier" not in k}, path)
    model = {"factory": f"{_MODELS}:vit_with_adapter", "kwargs": {"keeps_head": False}, **_LOGITS}
    model["weights"] = {"base": str(folder / "t/base")}
    out = str(folder / "out")
    try:
        ray_audit.audit(
            {"dataset": dataset, "model": model, "checkpoints": pattern, "output": out}, local=True
        )
    except RayAuditError as error:
        said = str(error)
    else:
        raise AssertionError("it was audited")
    assert "classifier" in said, said
    return said


def main(only):
    failed = 0
    for name in CASES:
        if only and not any(word.lower() in name.lower() for word in only):
            continue
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(sys.stdout):
            try:
                print(f"{name}: losses within {check(name, Path(folder)):.1e}", flush=True)
            except Exception:
                failed += 1
                print(f"{name}: WRONG\n{traceback.format_exc()}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        print(f"an adapter without a head: {refusal(Path(folder))}")
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
