import numpy as np
import pytest
import torch
from PIL import Image

from ray_audit.config import InputConfig
from ray_audit.demo.batches import ClipBatches, ImageBatches, model_input, read_images

torch.set_num_threads(1)


def test_input_is_what_torch_would_make_of_it():
    pixels = np.random.default_rng(0).integers(0, 256, (9, 13, 3), dtype=np.uint8)
    config = InputConfig(size=(6, 20), mean=[0.1, 0.2, 0.3], std=[0.5, 1.0, 2.0])
    scaled = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    resized = torch.nn.functional.interpolate(
        scaled, size=(6, 20), mode="bilinear", align_corners=False, antialias=False
    )
    mean, std = (torch.tensor(v)[None, :, None, None] for v in (config.mean, config.std))
    expected = ((resized - mean) / std)[0].numpy()
    assert model_input(pixels, config) == pytest.approx(expected, abs=1e-6)


def test_input_without_settings_is_scaled_only():
    pixels = np.array([[[0], [51]]], dtype=np.uint8)
    assert model_input(pixels, InputConfig()).tolist() == [[[0.0, pytest.approx(0.2)]]]


def clip_batches(seed=0):
    labels = tuple(torch.arange(start, start + length) for start, length in ((0, 40), (100, 75)))
    frames = tuple(label.float()[:, None, None, None] for label in labels)
    return ClipBatches(frames, labels, clip_frames=32, batch_size=2, seed=seed)


def test_clips_are_consecutive_frames_with_their_labels():
    seen = []
    for inputs, targets in clip_batches()(0):
        assert inputs.shape[1:] == (32, 1, 1, 1)
        assert (inputs[:, :, 0, 0, 0] == targets).all()
        assert (targets.diff(dim=1) == 1).all()
        seen.append(len(targets))
    assert seen == [2, 2, 1]


def test_epochs_differ_and_repeat_by_seed():
    first, again, later = (
        torch.cat([targets for _, targets in clip_batches()(epoch)]) for epoch in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, later)


def test_image_batches_hold_every_image_once():
    images = torch.arange(7.0)[:, None, None, None]
    batches = ImageBatches(images, torch.arange(7)[:, None, None], batch_size=3, seed=0)
    inputs, targets = (torch.cat(part) for part in zip(*batches(0), strict=True))
    assert (inputs.flatten() == targets.flatten()).all()
    assert sorted(targets.flatten().tolist()) == list(range(7))


def test_images_and_given_masks_are_read_together(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for index in range(3):
            value = 51 * index if folder == "images" else index
            picture = Image.fromarray(np.full((4, 4), value, dtype=np.uint8))
            picture.save(tmp_path / folder / f"{index}.png")
    batches = read_images(tmp_path, InputConfig(), batch_size=2, seed=0)
    assert batches.images.shape == (3, 1, 4, 4)
    assert batches.images[:, 0, 0, 0].tolist() == pytest.approx([0, 0.2, 0.4])
    assert batches.masks[:, 0, 0].tolist() == [0, 1, 2]
