"""Grey among colour, colour among grey, alpha and further bands: made alike, or one sentence."""

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from safetensors.torch import save_file

from ray_audit.errors import SpecificationError
from tests.support.audits import audit, refused
from tests.support.small_sets import CLASSES, SmallSet

PIXELS = np.random.default_rng(0).integers(0, 256, (16, 16, 4), np.uint8)


def save(mode, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    if mode.startswith("bands"):
        kinds = {"extrasamples": ["unspecified"]} if mode == "bands RGB" else {}
        photometric = "rgb" if mode == "bands RGB" else "minisblack"
        num = {"bands 2": 2, "bands 4": 4, "bands RGB": 4}[mode]
        options = {"photometric": photometric, "planarconfig": "contig", **kinds}
        tifffile.imwrite(path, PIXELS[..., :num], **options)
    elif mode == "I;16":
        Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257).save(path)
    else:
        colour = Image.fromarray(PIXELS[..., :3])
        (Image.fromarray(PIXELS) if "A" in mode else colour).convert(mode).save(path)


def images(folder, modes, num, **inputs):
    """An image of each mode in each class folder, and a model that takes so many channels."""
    for name in CLASSES:
        for number, mode in enumerate(modes):
            save(mode, folder / f"data/{name}/{number}.{'tif' if 'bands' in mode else 'png'}")
    dataset = {"kind": "images", "uri": f"{folder}/data/*/*", "labels": {"folder": True}}
    small = SmallSet(folder, dataset, "ChannelModel", {"channels": num})
    small.values["model"]["input"] = inputs
    for epoch in range(3):
        torch.manual_seed(epoch)
        state = {"head.weight": torch.randn(3, num), "head.bias": torch.zeros(3)}
        save_file(state, folder / f"checkpoints/epoch_{epoch}.safetensors")
    return small


def test_images_of_all_modes_go_into_a_model_that_takes_colours(tmp_path):
    modes = ["RGB", "L", "RGBA", "LA", "I;16", "P", "1"]
    assert audit(images(tmp_path, modes, 3)).counts["scored"] == 3 * len(modes)


def test_colour_among_grey_is_made_grey_where_that_is_asked_for(tmp_path):
    small = images(tmp_path, ["L", "RGB", "LA", "I;16"], 1, channels="grey")
    assert audit(small).counts["scored"] == 12


@pytest.mark.parametrize(
    ("modes", "channels", "said"),
    [
        (["L", "RGB"], 1, r"b.*model\.input\.channels \(rgb, bgr or grey\) makes them alike"),
        (["RGBA"], 4, "Images come with 1 or 3 channels, without alpha"),
        (["bands 2"], 2, r"2 channels, 1 of which are neither|a TIFF of 2 channel\(s\)"),
        (["bands RGB"], 3, "4 channels, 1 of which are neither colour nor alpha"),
        (["bands 4"], 4, r"a TIFF of 4 channel\(s\) of \(8, 8, 8, 8\) bits, photometric 1"),
    ],
)
def test_channels_that_the_model_does_not_take_are_one_sentence(tmp_path, modes, channels, said):
    small = images(tmp_path, modes, channels)
    if "bands" not in modes[0]:
        message = refused(small, SpecificationError)
    else:
        import ray_audit

        with pytest.raises(SpecificationError) as error:
            ray_audit.plan(small.config())
        message = str(error.value)
    assert __import__("re").search(said, message), message
