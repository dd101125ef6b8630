"""What would be audited wrongly without a word: an error or a note says what to write."""

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import ray_audit
from ray_audit.cli import app
from ray_audit.errors import RayAuditError, RunError, SpecificationError
from tests.support.audits import audit
from tests.support.masked_videos import masked_videos
from tests.support.small_sets import SmallSet, picture, table
from tests.support.small_sets import video as small_video

ABC = list("abc")


def masked(folder, stored, classes=ABC, void=(), num=6, **labels):
    """Images with masks of some stored values, each in every mask."""
    for index in range(num):
        picture(folder / f"data/images/i{index}.png", index)
        values = np.resize(np.array(stored, np.uint8), 256).reshape(16, 16)
        (folder / "data/masks").mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.roll(values, index)).save(folder / f"data/masks/i{index}.png")
    dataset = {
        "kind": "images",
        "uri": str(folder / "data/images/*.png"),
        "labels": {"masks": str(folder / "data/masks/{stem}.png"), **labels},
        "classes": classes,
        "void": list(void),
    }
    return SmallSet(folder, dataset, "PixelModel", {"num_classes": len(classes)})


def numbered(folder, numbers, classes=ABC):
    """Images with a table of class numbers."""
    for index in range(len(numbers)):
        picture(folder / f"data/i{index}.png", index)
    rows = [{"image": f"i{index}.png", "label": k} for index, k in enumerate(numbers)]
    labels = {"images": str(table(folder / "labels.csv", rows))}
    dataset = {"kind": "images", "uri": str(folder / "data/*.png"), "labels": labels}
    return SmallSet(folder, {**dataset, "classes": classes}, "ImageModel")


def filmed(folder, lines, form="frames", num_frames=12, **clip):
    """Two videos with a file of labels each."""
    for name in ("a", "b"):
        small_video(folder / f"data/{name}.mp4", num_frames)
        (folder / f"{name}.csv").write_text("\n".join([*lines, ""]))
    dataset = {
        "kind": "video",
        "uri": str(folder / "data/*.mp4"),
        "labels": {form: str(folder / "{stem}.csv")},
        "clip": {"frames": 4, **clip},
    }
    return SmallSet(folder, dataset, "FrameModel")


def said(small, **changes):
    """All that `plan` says before a run, or the error that it ends with."""
    try:
        plan = ray_audit.plan(small.config(**changes), local=True)
    except RayAuditError as error:
        return str(error)
    return "\n".join([*plan.inputs.listing.notes, *plan.seen.notes])


@pytest.mark.parametrize("void", [[], [0]])
def test_masks_of_ade20k_that_count_from_1(tmp_path, void):
    assert "labels.first_value" in said(masked(tmp_path, [0, 1, 2, 3], void=void))


def test_masks_of_ade20k_without_the_last_class_and_0_as_void(tmp_path):
    text = said(masked(tmp_path, [0, 1, 2], void=[0]))
    assert "dataset.void takes all labels of class 'a'" in text
    assert "labels.first_value: 1" in text


def test_pixel_maps_of_coco_stuff_beyond_the_classes(tmp_path):
    text = said(masked(tmp_path, [0, 1, 5], void=[255]))
    assert "mask value 5" in text
    assert "dataset.labels.values" in text


def test_label_ids_of_cityscapes_as_train_ids(tmp_path):
    classes = [f"c{k}" for k in range(19)]
    text = said(masked(tmp_path, [7, 8, 26, 33], classes, void=[255]))
    assert "is none of the 19 classes" in text
    assert "dataset.labels.values" in text


def test_masks_of_0_and_255_with_255_as_void(tmp_path):
    text = said(masked(tmp_path, [0, 255], ["background", "lesion"], void=[255]))
    assert "labels.values" in text
    assert "255: lesion" in text


def test_masks_from_1_whose_last_value_is_void(tmp_path):
    with pytest.raises(
        SpecificationError, match=r"the files count from 1\. Give labels.first_value"
    ):
        audit(masked(tmp_path, [1, 2, 3], void=[3]))


def test_masks_from_1_without_the_last_class(tmp_path):
    assert "class 'a' has no label in the 6 samples" in said(masked(tmp_path, [1, 2]))


def test_class_numbers_from_1_in_a_table(tmp_path):
    assert "where numbers count from 1, give labels.first_value: 1" in said(
        numbered(tmp_path, [1, 2, 3, 1])
    )


def test_class_numbers_from_1_in_a_table_without_the_last_class(tmp_path):
    assert "class 'a' has no label in the 4 samples" in said(numbered(tmp_path, [1, 2, 1, 2]))


def test_rows_that_are_seconds_taken_for_frames(tmp_path):
    lines = ["frame,label", *(f"{second},{ABC[second % 3]}" for second in range(12))]
    small = filmed(tmp_path, lines, num_frames=300)
    assert "labels end within the first 4.0% of the frames of all 2 video(s)" in said(small)
    with pytest.raises(SpecificationError, match=r"Give labels\.fps"):
        audit(small)


def test_labels_that_cover_little_are_taken_on_the_clock_that_is_given(tmp_path):
    lines = ["frame,label", *(f"{t},{ABC[t % 3]}" for t in range(12))]
    small = filmed(tmp_path, lines, num_frames=300)
    small.values["dataset"]["labels"]["fps"] = 25
    assert sorted(audit(small).manifest.counts.items())[-1] == ("scored", 24)


def test_a_run_that_scored_nothing_is_no_success(tmp_path):
    lines = ["frame,label", "3,a", "4,b"]
    small = filmed(tmp_path, lines, every=5)
    done = ray_audit.audit(small.config(), local=True)
    assert done.counts["scored"] == 0
    typed = CliRunner().invoke(app, ["run", str(small.spec_file()), "--local"])
    assert typed.exit_code == 1
    assert "scored" in typed.output


def test_a_plan_of_which_nothing_would_be_scored_fails(tmp_path):
    lines = ["frame,label", "3,a", "4,b"]
    assert "nothing would be scored" in said(filmed(tmp_path, lines, every=5))


def test_a_plan_fails_where_more_samples_fail_than_the_budget_allows(tmp_path):
    """Values that are names and indices, in most of the masks that were looked at."""
    small = masked(tmp_path, [0, 0, 0], ["1", "2", "3"])
    for index in range(4):
        Image.fromarray(np.ones((16, 16), np.uint8)).save(tmp_path / f"data/masks/i{index}.png")
    text = said(small)
    assert "of 6 samples more fail than `failures` allows: 4 samples failed" in text
    assert "dataset.labels.values" in text
    assert "allows" not in said(small, failures={"max_fraction": 0.7})


def test_class_numbers_from_1_in_a_table_with_the_last_as_void(tmp_path):
    small = numbered(tmp_path, [1, 2, 3, 1])
    small.values["dataset"]["void"] = [3]
    assert "the files count from 1. Give labels.first_value: 1" in said(small)


def test_classes_that_have_no_label_are_named_by_a_run(tmp_path):
    done = ray_audit.audit(masked(tmp_path, [0, 2], [*ABC, "d"]).config(), local=True)
    assert any("2 of 4 classes have no label: 'b', 'd'" in note for note in done.notes)
    whole = ray_audit.audit(masked(tmp_path / "all", [0, 1, 2]).config(), local=True)
    assert not any("have no label" in note for note in whole.notes)


def test_frames_that_count_from_1(tmp_path):
    lines = ["frame,label", *(f"{t + 1},{ABC[t // 4]}" for t in range(12))]
    small = filmed(tmp_path, lines)
    assert "labels begin at frame 1 in all 2 files" in said(small)
    with pytest.raises(RunError, match=r"give labels\.first_frame: 1"):
        audit(small)


def test_ends_that_are_the_last_frame(tmp_path):
    lines = ["start_frame,end_frame,label", "0,3,a", "4,7,b", "8,11,c"]
    assert "give labels.ends: inclusive" in said(filmed(tmp_path, lines, "segments"))


def test_ends_that_are_the_last_frame_beside_parts_without_a_label(tmp_path):
    lines = ["start_frame,end_frame,label", "0,2,a", "3,5,b", "8,9,c", "10,11,a"]
    text = said(filmed(tmp_path, lines, "segments"))
    assert "between 4 of 6 pairs of segments" in text
    assert "give labels.ends: inclusive" in text


def test_parts_without_a_label_are_no_sign_of_inclusive_ends(tmp_path):
    lines = ["start_frame,end_frame,label", "0,2,a", "3,5,b", "5,9,c", "10,11,a"]
    assert "inclusive" not in said(filmed(tmp_path, lines, "segments"))


def test_segments_that_meet_are_no_sign_of_inclusive_ends(tmp_path):
    lines = ["start_frame,end_frame,label", "0,4,a", "4,8,b", "8,12,c"]
    assert "inclusive" not in said(filmed(tmp_path, lines, "segments"))


def test_mean_and_std_in_units_of_255(tmp_path):
    small = masked(tmp_path, [0, 1, 2])
    small.values["model"]["input"] = {"mean": [123.7, 116.3, 103.5], "std": [58.4, 57.1, 57.4]}
    assert "scale: 255" in said_of_parsing(small)


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        ({"mean": [0, 0, 0], "std": [255, 255, 255]}, "scale: 255"),
        ({"std": [58.4, 57.1, 57.4]}, "std 58.4 is above 1"),
        ({"scale": 255, "mean": [0.48, 0.45, 0.4], "std": [0.2] * 3}, "leave scale out"),
    ],
)
def test_std_in_units_of_255_and_scale_beside_units_of_1(tmp_path, given, remedy):
    small = masked(tmp_path, [0, 1, 2])
    small.values["model"]["input"] = given
    assert remedy in said_of_parsing(small)


def said_of_parsing(small):
    with pytest.raises(SpecificationError) as error:
        small.config()
    return str(error.value)


def test_pages_of_a_tiff_file(tmp_path):
    small = masked(tmp_path, [0, 1, 2])
    pages = [Image.fromarray(np.full((16, 16, 3), k, np.uint8)) for k in (1, 2)]
    for index in range(6):
        (tmp_path / f"data/images/i{index}.png").unlink()
        pages[0].save(
            tmp_path / f"data/images/i{index}.tif", save_all=True, append_images=pages[1:]
        )
    small.values["dataset"]["uri"] = str(tmp_path / "data/images/*.tif")
    assert "pages" in said(small)


def test_pages_of_a_later_file(tmp_path):
    small = masked(tmp_path, [0, 1, 2])
    page = Image.fromarray(np.zeros((16, 16), np.uint8))
    for index in range(6):
        path = tmp_path / f"data/masks/i{index}.tif"
        page.save(path, save_all=True, append_images=[page] * (index == 5))
    small.values["dataset"]["labels"] = {"masks": str(tmp_path / "data/masks/{stem}.tif")}
    assert "i5.tif has 2 pages: the first of each file is read" in said(small)


def test_the_last_epoch_under_a_second_name(tmp_path):
    small = masked(tmp_path, [0, 1, 2])
    weights = load_file(tmp_path / "checkpoints/epoch_2.safetensors")
    save_file(weights, tmp_path / "checkpoints/last.safetensors")
    small.values["checkpoints"] = str(tmp_path / "checkpoints/*.safetensors")
    plan = ray_audit.plan(small.config(), local=True)
    assert len(plan.inputs.checkpoints) == 3
    notes = [*plan.inputs.listing.notes, *plan.seen.notes]
    assert any("last" in note and "epoch_2" in note for note in notes)


def test_numbers_that_are_names_and_indices(tmp_path):
    assert "labels.values" in said(masked(tmp_path, [0, 1, 2], ["1", "2", "3"]))


@pytest.mark.parametrize("num_labels", [20, 24])
def test_labels_of_another_rate_than_the_videos_have(tmp_path, num_labels):
    """Labels of 25 frames a second, and videos encoded anew at 30; or those of all frames."""
    lines = ["frame,label", *(f"{t},a" for t in range(num_labels))]
    small = filmed(tmp_path, lines, num_frames=24)
    for name in ("c", "d"):
        small_video(tmp_path / f"data/{name}.mp4", 24)
        (tmp_path / f"{name}.csv").write_text("\n".join([*lines, ""]))
    text = said(small)
    assert ("labels end at 83.3% of the frames in all 4 videos" in text) == (num_labels == 20)


def test_masks_in_a_lossy_format(tmp_path):
    small = masked(tmp_path, [0, 1, 2])
    for path in (tmp_path / "data/masks").glob("*.png"):
        Image.fromarray(np.zeros((16, 16), np.uint8)).save(path.with_suffix(".jpg"))
    dataset = small.values["dataset"]
    labels = {"masks": str(tmp_path / "data/masks/{stem}.jpg")}
    text = said(small, dataset=dataset | {"labels": labels})
    assert "masks are JPEG files" in text
    labels["values"] = {"0..127": "a", "128..200": "b", "201..255": "c"}
    assert "JPEG" not in said(small, dataset=dataset | {"labels": labels})


def test_masks_each_with_a_palette_of_its_own(tmp_path):
    small = masked(tmp_path, [0, 1, 2])
    for number, path in enumerate(sorted((tmp_path / "data/masks").glob("*.png"))):
        with Image.open(path) as image:
            mask = np.asarray(image)
        own = Image.fromarray(mask if number % 2 else 2 - mask)
        colours = [(0, 0, 0), (0, 255, 0), (9, 9, 255)]
        own.putpalette([v for c in (colours if number % 2 else colours[::-1]) for v in c])
        own.save(path)
    text = said(small)
    assert "masks have palettes of their own" in text
    assert "labels.values" in text


def test_masks_of_frames_that_count_from_1(tmp_path):
    small = masked_videos(tmp_path, masked=range(1, 8))
    assert "give labels.first_frame: 1" in said(small)
    assert "first_frame" not in said(masked_videos(tmp_path / "from 0"))


def test_a_file_of_fewer_masks_than_the_video_has_frames(tmp_path):
    small = masked_videos(tmp_path, form="npy")
    assert "are taken for the first" not in said(small)
    for path in sorted(tmp_path.glob("data/masks/*.npy")):
        np.save(path, np.load(path)[::2])
    assert "holds 4 masks, and v0.mkv has about 8 frames" in said(small)


def test_an_image_without_the_mask_file_of_one_class(tmp_path):
    for index in range(4):
        picture(tmp_path / f"data/images/i{index}.png", index)
        for number, name in enumerate("bc"):
            path = tmp_path / f"data/masks/{name}/i{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.zeros((16, 16), np.uint8)
            pixels[8 * number : 8 * number + 4] = 255
            Image.fromarray(pixels).save(path)
    dataset = {
        "kind": "images",
        "uri": str(tmp_path / "data/images/*.png"),
        "labels": {"masks": str(tmp_path / "data/masks/*/{stem}.png")},
    }
    small = SmallSet(tmp_path, dataset, "PixelModel")
    assert "mask file" not in said(small)
    (tmp_path / "data/masks/c/i2.png").unlink()
    assert "1 of 4 images have no mask file of class 'c' (i2.png)" in said(small)
    for path in sorted(tmp_path.glob("data/masks/c/*.png")):
        path.unlink()
    assert "no file of labels.masks names class 'c'" in said(small)
