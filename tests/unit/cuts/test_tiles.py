import numpy as np
import pytest

from ray_audit.config import TileConfig
from ray_audit.cuts.tiles import LabelledImage, tile_cuts
from ray_audit.errors import SampleError
from ray_audit.formats.labels.classes import ClassNames
from ray_audit.formats.pixels.encoding import targets_of
from ray_audit.samples import IGNORE
from ray_audit.scores.components import connected_components
from ray_audit.scores.segmentation import interior_mask
from tests.support.media import cut, dataset, noise, png

MASK = np.array([[0, 0, 1, 1], [0, 2, 2, 1], [2, 2, 0, 0]], np.uint8)


def labelled_image(height, width, void=(), seed=0):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 3, (height // 4 + 1, width // 4 + 1), np.uint8)
    mask = np.kron(coarse, np.ones((4, 4), np.uint8))[:height, :width]
    targets = targets_of(mask, ClassNames(["a", "b", "c"], void))
    return LabelledImage("image", "shard", noise(height, width), mask, targets)


@pytest.mark.parametrize(("num_classes", "dtype"), [(3, np.int8), (200, np.int16)])
def test_targets_keep_classes_and_ignore_void(num_classes, dtype):
    classes = ClassNames([f"c{i}" for i in range(num_classes)], [255, "c1"])
    targets = targets_of(np.array([[0, 1, 2, 255]], np.uint8), classes)
    assert targets.tolist() == [[0, IGNORE, 2, IGNORE]]
    assert targets.dtype == dtype


def test_value_outside_the_classes_is_named_with_its_count():
    with pytest.raises(SampleError, match=r"mask value 7 \(2 px\)") as caught:
        targets_of(np.array([[0, 7, 7, 255]], np.uint8), ClassNames(["a"], [255]))
    assert caught.value.error_class == "label_outside"


def test_16_bit_and_negative_values():
    classes = ClassNames(["a", "b"], [40000])
    assert targets_of(np.array([[1, 40000]], np.uint16), classes).tolist() == [[1, IGNORE]]
    with pytest.raises(SampleError, match="-3"):
        targets_of(np.array([[1, -3]], np.int32), classes)
    with pytest.raises(SampleError, match="70000"):
        targets_of(np.array([[1, 70000]], np.int32), classes)


@pytest.mark.parametrize("shape", [(8, 8), (30, 41), (16, 7), (33, 16)])
@pytest.mark.parametrize(("size", "overlap"), [(16, 0), (16, 5), (10, 9)])
def test_tiles_put_together_are_the_whole_image(shape, size, overlap):
    image = labelled_image(*shape, void=[1], seed=3)
    whole = {
        "targets": image.targets,
        "interior": interior_mask(image.targets),
        "components": connected_components(image.targets),
        "inputs": image.pixels,
    }
    seen = np.zeros(shape, int)
    result = {name: np.zeros_like(array) for name, array in whole.items()}
    cuts = list(tile_cuts(image, TileConfig(size=size, overlap=overlap), None))
    for piece in cuts:
        y0, x0, y1, x1 = piece.extras["owned_rect"]
        parts = {
            "targets": piece.targets,
            "inputs": piece.inputs.transpose(1, 2, 0),
            **piece.extras,
        }
        top, left = find(image.pixels, parts["inputs"])
        seen[top + y0 : top + y1, left + x0 : left + x1] += 1
        for name in whole:
            own = parts[name][y0:y1, x0:x1]
            result[name][top + y0 : top + y1, left + x0 : left + x1] = own
        assert piece.rows[0].num_labelled == (piece.targets[y0:y1, x0:x1] != IGNORE).sum()
        assert piece.rows[0].sample_num_labelled == (image.targets != IGNORE).sum()
    labelled = image.targets != IGNORE
    assert seen.max() == 1
    assert (seen[labelled] == 1).all()
    for name, array in whole.items():
        assert np.array_equal(result[name][labelled], array[labelled]), name
    total = sum(cut.rows[0].num_labelled for cut in cuts)
    assert total == cuts[0].rows[0].sample_num_labelled


def find(pixels, window):
    """Where the window lies in an image of noise."""
    height, width = window.shape[:2]
    for y in range(pixels.shape[0] - height + 1):
        for x in range(pixels.shape[1] - width + 1):
            if np.array_equal(pixels[y, x], window[0, 0]) and np.array_equal(
                pixels[y : y + height, x : x + width], window
            ):
                return y, x
    raise AssertionError("not a window of the image")


def test_tiles_that_own_nothing_labelled_are_not_sent():
    image = labelled_image(32, 32)
    targets = np.full_like(image.targets, IGNORE)
    targets[3, 4] = 1
    one_pixel = LabelledImage("image", "shard", image.pixels, image.mask, targets)
    (only,) = tile_cuts(one_pixel, TileConfig(size=16, overlap=4), None)
    assert only.rows[0].num_labelled == 1


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    return tmp_path


def add(folder, name, mask, pixels=None):
    pixels = noise(*mask.shape) if pixels is None else pixels
    (folder / f"images/{name}.png").write_bytes(png(pixels))
    (folder / f"masks/{name}.png").write_bytes(png(mask))


def dense(folder, **settings):
    masks = {"masks": f"{folder}/masks/{{stem}}.png"}
    return dataset("images", folder / "images/*.png", masks, **{"void": [255], **settings})


def test_every_outcome_of_a_mask(folder):
    add(folder, "good", MASK)
    add(folder, "void", np.full((3, 4), 255, np.uint8))
    add(folder, "outside", np.full((3, 4), 9, np.uint8))
    add(folder, "size", MASK, noise(5, 5))
    add(folder, "colour", MASK)
    (folder / "masks/colour.png").write_bytes(png(noise(3, 4)))
    add(folder, "broken", MASK)
    (folder / "images/broken.png").write_bytes(b"broken")
    (folder / "images/nomask.png").write_bytes(png(noise(3, 4)))
    result = cut(dense(folder), folder)
    assert result.ids == ["good.png"]
    assert result.filtered == {"void.png": "void", "nomask.png": "unlabelled"}
    assert sorted(result.failed) == [
        ("broken.png", "decode", 1),
        ("colour.png", "mask_format", 1),
        ("outside.png", "label_outside", 1),
        ("size.png", "mask_size", 1),
    ]
    stages = {f.sample_id: f.stage for f in result.failures}
    assert stages["broken.png"] == "decode"
    assert stages["outside.png"] == "labels"
    row = result.rows[0]
    assert (row["num_labelled"], row["sample_num_labelled"], row["label"]) == (12, 12, None)
    assert np.array_equal(result.batches[0].arrays["targets"][0], MASK)
    assert set(result.batches[0].arrays) == {"inputs", "targets"}


def test_ragged_sizes_are_batched_by_shape(folder):
    for index, side in enumerate([8, 9, 8, 9, 8]):
        add(folder, f"{index}", np.zeros((side, 8), np.uint8))
    result = cut(dense(folder), folder)
    assert [b.arrays["inputs"].shape for b in result.batches] == [(3, 3, 8, 8), (2, 3, 9, 8)]
    assert [b.index for b in result.batches] == [0, 1]
    assert result.tails[0].num_batches == 2
    assert result.tails[0].num_decoded == 5
    assert result.tails[0].bytes_read == sum(p.stat().st_size for p in folder.glob("*/*.png"))
    one_each = cut(dense(folder), folder, max_batch=1)
    assert [b.arrays["inputs"].shape[0] for b in one_each.batches] == [1] * 5
    assert one_each.ids == [f"{i}.png" for i in range(5)]


def test_inputs_are_resized_where_it_saves_bytes_and_masks_never(folder):
    add(folder, "x", np.zeros((40, 40), np.uint8))
    small = cut(dense(folder), folder, size=(8, 8)).batches[0].arrays
    assert small["inputs"].dtype == np.float32
    assert small["inputs"].shape == (1, 3, 8, 8)
    assert small["targets"].shape == (1, 40, 40)
    large = cut(dense(folder), folder, size=(32, 32)).batches[0].arrays
    assert large["inputs"].dtype == np.uint8
    assert large["inputs"].shape == (1, 3, 40, 40)


def test_tiles_carry_what_probes_need(folder):
    add(folder, "x", np.kron(MASK, np.ones((8, 8), np.uint8)))
    result = cut(dense(folder, tile={"size": 16, "overlap": 4}), folder, max_batch=2)
    arrays = result.batches[0].arrays
    assert {k: v.dtype for k, v in arrays.items()} == {
        "inputs": np.uint8,
        "targets": np.int8,
        "owned_rect": np.int32,
        "interior": np.uint8,
        "components": np.int32,
        "void_components": np.uint8,
        "placement": np.int64,
    }
    assert arrays["owned_rect"].shape == (2, 4)
    assert set(result.ids) == {"x.png"}
    assert sum(row["num_labelled"] for row in result.rows) == 24 * 32


def test_too_large_image_is_a_failure(folder):
    add(folder, "x", np.zeros((40, 40), np.uint8))
    result = cut(dense(folder, max_px=1599), folder)
    assert result.failed == [("x.png", "too_large", 1)]
