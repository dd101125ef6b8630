"""Which mask is that of which frame, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from ray_audit.config import DatasetConfig
from ray_audit.errors import SampleError, SpecificationError
from ray_audit.formats.accounting import UnitAccounting
from ray_audit.formats.stacks.folders import MaskFolder
from ray_audit.sources import list_dataset

SIZE = (4, 6)


def masks(folder, names):
    for value, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full(SIZE, value, np.uint8)).save(path)


def dataset(folder, template, **labels):
    return DatasetConfig(
        kind="video",
        uri=str(folder / "*.mp4"),
        labels={"masks": str(folder / template), **labels},
        classes=[str(k) for k in range(10)],
    )


def stack(folder, template, **labels):
    config = dataset(folder, template, **labels)
    return MaskFolder(str(config.labels.masks), config, UnitAccounting("test"))


@pytest.mark.parametrize(
    ("names", "template", "labels", "frames"),
    [
        (["m/00000.png", "m/00025.png", "m/00100.png"], "m/*.png", {}, [0, 25, 100]),
        (["m/9.png", "m/10.png", "m/100.png"], "m/*.png", {}, [9, 10, 100]),
        (["m/img1.png", "m/img3.png"], "m/*.png", {"first_frame": 1}, [0, 2]),
        (["m/v2_f7_x.png", "m/v2_f9_x.png"], "m/*.png", {}, [7, 9]),
        (["m/frame_80_mask.png", "m/frame_80_colour.png"], "m/frame_*_mask.png", {}, [80]),
        (["m/a/f_1.png", "m/b/f_2.png"], "m/*/f_*.png", {}, [1, 2]),
        (["m/a.png", "m/b.png", "m/c.png"], "m/*.png", {}, [0, 1, 2]),
    ],
)
def test_the_number_in_a_name_is_its_frame(tmp_path, names, template, labels, frames):
    masks(tmp_path, names)
    found = stack(tmp_path, template, **labels)
    assert found.frames.tolist() == frames
    kept = [n for n in names if not n.endswith("colour.png")]
    assert [int(found.mask(frame)[0, 0]) for frame in frames] == [names.index(n) for n in kept]


@pytest.mark.parametrize(
    ("names", "labels", "said"),
    [
        (["m/v1_1.png", "m/v2_2.png"], {}, "put more of the name into the template"),
        (["m/1.png", "m/01.png"], {}, "are both masks of frame 1"),
        (["m/1.png", "m/a.png"], {}, "put more of the name into the template"),
        (["m/0.png", "m/1.png"], {"first_frame": 1}, "frames count from 1"),
        (["m/1234567890123456.png"], {}, "would be the mask of frame"),
    ],
)
def test_names_that_do_not_tell_the_frame_are_refused(tmp_path, names, labels, said):
    masks(tmp_path, names)
    with pytest.raises(SampleError, match=said) as error:
        stack(tmp_path, "m/*.png", **labels)
    assert error.value.error_class == "mask_names"


def listed(tmp_path, template):
    (tmp_path / "index").mkdir()
    return list_dataset(dataset(tmp_path, template), tmp_path / "index")


def test_each_video_gets_its_own_masks_and_a_digest_of_all_of_them(tmp_path):
    for name in ("v1", "v10", "v2"):
        (tmp_path / f"{name}.mp4").touch()
    masks(tmp_path, ["m/v1/0.png", "m/v1/1.png", "m/v10/0.png"])
    shards = {shard.key: shard for shard in listed(tmp_path, "m/{stem}/*.png").shards}
    assert [shards[f"v{n}.mp4"].num_labelled for n in (1, 10, 2)] == [2, 1, 0]
    assert not shards["v2.mp4"].label_digest
    masks(tmp_path, ["x", "m/v1/1.png"][1:])
    again = {s.key: s for s in list_dataset(dataset(tmp_path, "m/{stem}/*.png"), tmp_path).shards}
    assert again["v1.mp4"].label_digest != shards["v1.mp4"].label_digest
    assert again["v10.mp4"].label_digest == shards["v10.mp4"].label_digest


@pytest.mark.parametrize("template", ["m/{stem}/*.jpg", "m/{stem}.png"])
def test_masks_of_frames_in_a_form_that_is_not_read_are_refused(tmp_path, template):
    (tmp_path / "v.mp4").touch()
    with pytest.raises(SpecificationError, match=r"expected image files that keep class indices"):
        listed(tmp_path, template)


def test_several_label_volumes_for_one_volume_are_refused(tmp_path):
    for name in ("i/a.nii.gz", "m/a/0.nii.gz"):  # listing does not open them
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"")
    config = DatasetConfig(
        kind="images",
        uri=str(tmp_path / "i/*.nii.gz"),
        labels={"masks": str(tmp_path / "m/{stem}/*.nii.gz")},
        classes=["a"],
        volume={"axis": 2},
    )
    with pytest.raises(SpecificationError, match="not put together: write one label volume"):
        list_dataset(config, tmp_path)


def test_masks_are_of_single_frames_unless_clips_are_asked_for(tmp_path):
    config = dataset(tmp_path, "m/{stem}/*.png")
    assert config.clip.frames == 1
    values = config.model_dump()
    assert DatasetConfig(**values | {"clip": {"frames": 4}}).clip.frames == 4
    with pytest.raises(SpecificationError, match="tile does not go with clips of several frames"):
        DatasetConfig(**values | {"clip": {"frames": 4}, "tile": {"size": 8}})
