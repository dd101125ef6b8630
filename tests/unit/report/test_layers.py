import base64
import io

import numpy as np
from PIL import Image

from ray_audit.engine.run.predict import Predicted
from ray_audit.report.layers import CLOSEUP_PX, IMAGE_PX
from ray_audit.report.layers import layers as layers_of
from ray_audit.report.layers import mask_bundles as bundles_of
from ray_audit.report.seen_masks import SeenMask

HEIGHT, WIDTH = 700, 1000
BOX = [600, 300, 640, 330]  # class 1 in an image of class 0


def predicted(scale=1, **more):
    targets = np.zeros((HEIGHT, WIDTH), np.int8)
    targets[BOX[1] : BOX[3], BOX[0] : BOX[2]] = 1
    p = np.stack([np.full(targets.shape, 0.25), np.full(targets.shape, 0.75)]).astype(np.float32)
    pixels = np.zeros((3, HEIGHT // scale, WIDTH // scale), np.uint8)
    pixels[0, BOX[1] // scale : BOX[3] // scale, BOX[0] // scale : BOX[2] // scale] = 255
    return Predicted("i", "i", None, pixels, targets, p, **more)


def layers(item):
    return layers_of(SeenMask.of(item))


def mask_bundles(several, expected, ids):
    return bundles_of([SeenMask.of(item) for item in several], expected, ids)


def finding(finding_id="f", box=BOX):
    return {"finding_id": finding_id, "box": box, "mask_rle": None}


def pixels_of(address):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))))


def at(bundle, what, x, y):
    """Value at a place of the image."""
    left, top = bundle["origin"]
    column, row = ((v + 0.5) * bundle["scale"] for v in (x - left, y - top))
    return pixels_of(bundle["pictures"][what])[int(row), int(column)]


def test_layers_say_what_is_given_predicted_and_doubted():
    result = layers(predicted())
    assert max(pixels_of(result["pictures"]["given"]).shape) == IMAGE_PX
    assert at(result, "given", 620, 315) == 1
    assert at(result, "given", 500, 315) == 0
    assert at(result, "predicted", 500, 315) == 1
    assert at(result, "doubt", 500, 315) == 191  # 1 - 0.25
    assert at(result, "doubt", 620, 315) == 64  # 1 - 0.75


def test_a_large_mask_has_a_close_up_of_each_finding_in_full_resolution():
    (bundle,) = mask_bundles([predicted()], {"n": [finding()]}, {"i": "n"}).values()
    close = bundle["closeups"]["f"]
    assert close["scale"] == 1.0
    assert max(pixels_of(close["pictures"]["image"]).shape) <= CLOSEUP_PX
    for x, y, value in ((600, 300, 1), (639, 329, 1), (599, 300, 0), (640, 329, 0)):
        assert at(close, "given", x, y) == value


def test_a_close_up_of_a_picture_that_was_reduced_shows_the_same_place():
    (bundle,) = mask_bundles([predicted(scale=2)], {"n": [finding()]}, {"i": "n"}).values()
    close = bundle["closeups"]["f"]
    assert at(close, "image", 620, 315)[0] > 200
    assert at(close, "image", 580, 315)[0] < 60


def test_a_small_mask_needs_no_close_up():
    small = predicted()
    small = Predicted(
        "i", "i", None, small.pixels[:, :400, :400], small.targets[:400, :400], small.p
    )
    small = Predicted("i", "i", None, small.pixels, small.targets, small.p[:, :400, :400])
    (bundle,) = mask_bundles([small], {"n": [finding(box=[3, 3, 9, 9])]}, {"i": "n"}).values()
    assert bundle["closeups"] == {}


def test_each_finding_of_a_tiled_image_is_shown_from_the_tile_that_owns_it():
    placements = {(0, 0): (0, 0, 500, 500), (0, 500): (0, 0, 500, 500)}
    tiles = [
        Predicted(
            "i",
            "i",
            None,
            np.full((3, 500, 500), 10 * index, np.uint8),
            np.full((500, 500), index, np.int8),
            np.full((2, 500, 500), 0.5, np.float32),
            owned=owned,
            placement=(*place, 500, 1000),
        )
        for index, (place, owned) in enumerate(placements.items())
    ]
    expected = {"n": [finding("right", [700, 100, 720, 120]), finding("left", [10, 10, 30, 30])]}
    (bundle,) = mask_bundles(tiles, expected, {"i": "n"}).values()
    assert bundle["origin"] == [500, 0]  # the whole picture: the tile of the first finding
    assert at(bundle["closeups"]["right"], "given", 710, 110) == 1
    assert at(bundle["closeups"]["left"], "given", 20, 20) == 0


def test_the_bundle_of_an_image_that_was_not_read_is_missing():
    assert mask_bundles([], {"n": [finding()]}, {"i": "n"}) == {}
