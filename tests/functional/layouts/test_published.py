"""Published datasets, tiny, in exactly their layout: every label that is read back is compared."""

import gzip
import json

import numpy as np
import pytest
from PIL import Image

from ray_audit.config import DatasetConfig
from ray_audit.errors import LabelError, SpecificationError
from ray_audit.formats.label_changes import FrameChange, LabelChanges
from ray_audit.formats.labels.classes import ClassNames
from ray_audit.formats.labels.writing import write_tables
from ray_audit.formats.pixels.encoding import targets_of
from ray_audit.formats.pixels.png import png_bytes
from ray_audit.sample_ids import Owner
from ray_audit.samples import IGNORE
from tests.support.label_sets import all_labels, listed
from tests.support.media import cut
from tests.support.small_sets import picture
from tests.support.small_sets import video as small_video

SHAPE = (6, 7)


def specified(folder, kind, uri, labels, classes, **more):
    at = {key: str(folder / value) if key in PLACES else value for key, value in labels.items()}
    split = {"split": str(folder / more.pop("split"))} if "split" in more else {}
    return DatasetConfig.model_validate(
        {"kind": kind, "uri": str(folder / uri), "labels": at, "classes": classes}
        | {**more, **split}
    )


PLACES = ("masks", "frames", "segments", "videos", "images")


def index_mask(seed, num_classes, void=True):
    """Class indices, (6, 7), with some pixels that have no label."""
    mask = np.random.default_rng(seed).integers(0, num_classes, SHAPE)
    if void:
        mask[0, :3] = IGNORE
    return mask


def stored_mask(path, pixels, palette=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    if palette is not None:
        image.putpalette(palette)
    image.save(path)


def written(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def same_masks(config, expected):
    found, classes = all_labels(config), ClassNames.of(config)
    assert sorted(found) == sorted(expected)
    for key, mask in expected.items():
        np.testing.assert_array_equal(targets_of(found[key], classes), mask, key)


VOC = ["background", *(f"thing{i}" for i in range(1, 21))]


def voc(folder):
    expected = {}
    for index in range(4):
        key = f"2007_00000{index}.jpg"
        picture(folder / "JPEGImages" / key, index)
        if index < 3:  # most images have no mask
            mask = index_mask(index, 21)
            stored = np.where(mask == IGNORE, 255, mask).astype(np.uint8)
            path = folder / "SegmentationClass" / f"2007_00000{index}.png"
            stored_mask(path, stored, [v for i in range(256) for v in (i, 255 - i, 7)])
            expected[key] = mask
    written(folder / "ImageSets/Segmentation/train.txt", "2007_000000\n2007_000002\n")
    labels = {"masks": "SegmentationClass/{stem}.png"}
    return (folder, "images", "JPEGImages/*.jpg", labels, VOC), expected


def test_pascal_voc(tmp_path):
    what, expected = voc(tmp_path)
    same_masks(specified(*what, void=[255]), expected)


def test_a_list_of_pascal_voc_is_all_that_is_audited(tmp_path):
    what, expected = voc(tmp_path)
    split = "ImageSets/Segmentation/train.txt"
    del expected["2007_000001.jpg"]
    config = specified(*what, void=[255], split=split)
    same_masks(config, expected)
    assert listed(config)[0].notes == ()


def test_a_line_of_a_list_that_names_no_file_is_counted_and_named(tmp_path):
    what, _ = voc(tmp_path)
    written(tmp_path / "some.txt", "2007_000000\n\n2008_1\n2008_2\n")
    listing, _ = listed(specified(*what, void=[255], split="some.txt"))
    assert [shard.key for shard in listing.shards] == ["2007_000000.jpg"]
    assert any(
        "2 of 3 lines of dataset.split match no file: 2008_1, 2008_2" in note
        for note in listing.notes
    )
    written(tmp_path / "some.txt", "2008_1\n")
    with pytest.raises(SpecificationError, match="names none of the 4 files"):
        listed(specified(*what, void=[255], split="some.txt"))


CITY_IDS = {
    **{7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole"},
    **{19: "traffic light", 20: "traffic sign", 21: "vegetation", 22: "terrain", 23: "sky"},
    **{24: "person", 25: "rider", 26: "car", 27: "truck", 28: "bus", 31: "train"},
    **{32: "motorcycle", 33: "bicycle"},
}
CITY = list(CITY_IDS.values())


def cityscapes(folder, ending, numbers, void):
    expected = {}
    for index, city in enumerate(["aachen", "bochum"]):
        for frame in range(2):
            name = f"{city}_00000{index}_00001{frame}"
            picture(folder / f"leftImg8bit/train/{city}/{name}_leftImg8bit.png", index)
            mask = index_mask(10 * index + frame, 19)
            stored = np.where(mask == IGNORE, void, np.array(numbers)[mask]).astype(np.uint8)
            stored_mask(folder / f"gtFine/train/{city}/{name}_gtFine_{ending}.png", stored)
            expected[f"{city}/{name}_leftImg8bit.png"] = mask
    labels = {"masks": f"gtFine/train/{{1}}_gtFine_{ending}.png", "match": "(.*)_leftImg8bit"}
    return (folder, "images", "leftImg8bit/train/*/*.png", labels, CITY), expected


def test_cityscapes_train_ids(tmp_path):
    what, expected = cityscapes(tmp_path, "labelTrainIds", range(19), 255)
    same_masks(specified(*what, void=[255]), expected)


def test_cityscapes_label_ids(tmp_path):
    (*what, labels, classes), expected = cityscapes(tmp_path, "labelIds", list(CITY_IDS), 4)
    values = CITY_IDS | {"0..6": "void", 9: "void", 10: "void", "14..16": "void", 18: "void"}
    same_masks(specified(*what, labels | {"values": values}, classes), expected)


def test_a_list_names_files_by_what_match_finds(tmp_path):
    what, expected = cityscapes(tmp_path, "labelTrainIds", range(19), 255)
    written(tmp_path / "splits/val.txt", "aachen/aachen_000000_000011\n")
    key = "aachen/aachen_000000_000011_leftImg8bit.png"
    same_masks(specified(*what, void=[255], split="splits/val.txt"), {key: expected[key]})


def test_ade20k_scene_parsing(tmp_path):
    classes = [f"thing{i}" for i in range(150)]
    expected = {}
    for index in range(3):
        name = f"ADE_train_0000000{index}"
        picture(tmp_path / f"images/training/{name}.jpg", index)
        mask = index_mask(index, 150)
        stored_mask(tmp_path / f"annotations/training/{name}.png", (mask + 1).astype(np.uint8))
        expected[f"{name}.jpg"] = mask
    labels = {"masks": "annotations/training/{stem}.png", "first_value": 1}
    what = (tmp_path, "images", "images/training/*.jpg", labels, classes)
    same_masks(specified(*what, void=[0]), expected)


def test_synthia_keeps_the_class_in_the_red_channel_of_16_bits(tmp_path):
    expected = {}
    for index in range(3):
        name = f"{index:07d}.png"
        picture(tmp_path / "RGB" / name, index)
        mask = index_mask(index, 22)
        pixels = np.zeros((*SHAPE, 3), np.uint16)
        pixels[..., 0] = mask + 1
        pixels[..., 1] = np.arange(7) * 300  # instances
        (tmp_path / "GT/LABELS").mkdir(parents=True, exist_ok=True)
        (tmp_path / "GT/LABELS" / name).write_bytes(png_bytes(pixels, 16))
        expected[name] = mask
    labels = {"masks": "GT/LABELS/{name}", "channel": 0, "first_value": 1}
    classes = [f"thing{i}" for i in range(22)]
    same_masks(specified(tmp_path, "images", "RGB/*.png", labels, classes, void=[0]), expected)


CAMVID = {"Sky": (128, 128, 128), "Road": (128, 64, 128), "Car": (64, 0, 128), "Void": (0, 0, 0)}


def test_camvid_colours(tmp_path):
    expected = {}
    colours = np.array(list(CAMVID.values()), np.uint8)
    for index in range(3):
        name = f"0016E5_0000{index}"
        picture(tmp_path / f"701_StillsRaw_full/{name}.png", index)
        mask = index_mask(index, 3)
        stored_mask(tmp_path / f"LabeledApproved_full/{name}_L.png", colours[mask])
        expected[f"{name}.png"] = mask
    lines = [f"{r} {g} {b}\t\t{name}" for name, (r, g, b) in CAMVID.items()]
    written(tmp_path / "label_colors.txt", "\n".join(lines).replace("Void", "void"))
    labels = {
        "masks": "LabeledApproved_full/{stem}_L.png",
        "values": str(tmp_path / "label_colors.txt"),
    }
    what = (tmp_path, "images", "701_StillsRaw_full/*.png")
    same_masks(specified(*what, labels, ["Sky", "Road", "Car"]), expected)


CHOLEC_SEG = (50, 11, 21, 13, 12, 31, 23, 24, 25, 32, 22, 33, 5)


def test_cholecseg8k_watershed_masks(tmp_path):
    expected = {}
    for video in ("video01", "video12"):
        for frame in (80, 81):
            folder = tmp_path / video / f"{video}_00080"
            picture(folder / f"frame_{frame}_endo.png", frame)
            picture(folder / f"frame_{frame}_endo_color_mask.png", 7)
            mask = index_mask(frame, 13)
            grey = np.where(mask == IGNORE, 0, np.array(CHOLEC_SEG)[mask]).astype(np.uint8)
            path = folder / f"frame_{frame}_endo_watershed_mask.png"
            stored_mask(path, np.repeat(grey[..., None], 3, axis=2))
            expected[f"{video}/{video}_00080/frame_{frame}_endo.png"] = mask
    classes = [f"tissue{value}" for value in CHOLEC_SEG]
    values = {0: "void"} | {value: f"tissue{value}" for value in CHOLEC_SEG}
    labels = {"masks": "{folder}/{stem}_watershed_mask.png", "values": values}
    same_masks(specified(tmp_path, "images", "*/*/*_endo.png", labels, classes), expected)


def test_isic_2018_lesions(tmp_path):
    expected = {}
    for index in range(3):
        name = f"ISIC_000000{index}"
        picture(tmp_path / f"ISIC2018_Task1-2_Training_Input/{name}.jpg", index)
        mask = index_mask(index, 2, void=False)
        path = tmp_path / f"ISIC2018_Task1_Training_GroundTruth/{name}_segmentation.png"
        stored_mask(path, (mask * 255).astype(np.uint8))
        expected[f"{name}.jpg"] = mask
    labels = {
        "masks": "ISIC2018_Task1_Training_GroundTruth/{stem}_segmentation.png",
        "values": {0: "background", 255: "lesion"},
    }
    what = (tmp_path, "images", "ISIC2018_Task1-2_Training_Input/*.jpg")
    same_masks(specified(*what, labels, ["background", "lesion"]), expected)


def test_a_mask_of_one_name_in_each_folder(tmp_path):
    expected = {}
    for index in range(3):
        picture(tmp_path / f"train/Patient_0{index}/slice.png", index)
        mask = index_mask(index, 5, void=False)
        stored_mask(tmp_path / f"train/Patient_0{index}/GT.png", mask.astype(np.uint8))
        expected[f"Patient_0{index}/slice.png"] = mask
    labels = {"masks": "train/{folder}/GT.png"}
    what = (tmp_path, "images", "train/*/slice.png", labels, list("abcde"))
    same_masks(specified(*what), expected)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"masks": "m/{base}.png"}, r"\{base\} is no field of a template; known are \{key\}"),
        ({"masks": "m/{2}.png", "match": "(.*)_x"}, r"\{2\} is no field .* \{folder\}, \{1\}"),
        ({"masks": "m/{1}.png", "match": "(.*"}, "match is no regular expression"),
        ({"masks": "m/{1}.png", "match": "_left"}, "match has no group"),
        ({"folder": True, "match": "(a)"}, "match does not go with folder"),
    ],
)
def test_a_template_that_cannot_be_filled_is_refused(tmp_path, labels, message):
    with pytest.raises((SpecificationError, ValueError), match=message):
        specified(tmp_path, "images", "*.png", labels, ["a", "b"])


def test_a_pattern_that_is_found_in_no_key_is_refused_and_in_some_a_note(tmp_path):
    (*what, labels, classes), _ = cityscapes(tmp_path, "labelTrainIds", range(19), 255)
    with pytest.raises(LabelError, match="is found in none of the 4 keys; the first is aachen/"):
        listed(specified(*what, labels | {"match": "(.*)_rightImg"}, classes, void=[255]))
    only = {**labels, "match": "(aachen.*)_leftImg8bit"}
    listing, _ = listed(specified(*what, only, classes, void=[255]))
    assert "labels.match is not found in 2 keys" in listing.notes[0]
    assert sum(shard.label_uri is not None for shard in listing.shards) == 2


PHASES = [
    *("Preparation", "CalotTriangleDissection", "ClippingCutting", "GallbladderDissection"),
    *("GallbladderPackaging", "CleaningCoagulation", "GallbladderRetraction"),
]


def touched(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")  # listing does not open it


def test_cholec80_phases(tmp_path):
    expected = {}
    for video in ("video01", "video02"):
        touched(tmp_path / f"videos/{video}.mp4")
        rows = [(t, (t + len(expected)) // 5 % 7) for t in range(30)]
        lines = [f"{t}\t{PHASES[phase]}" for t, phase in rows]
        path = tmp_path / f"phase_annotations/{video}-phase.txt"
        written(path, "\n".join(["Frame\tPhase", *lines, ""]))
        expected |= {f"{video}.mp4#{t}": phase for t, phase in rows}
    labels = {
        "frames": "phase_annotations/{stem}-phase.txt",
        "columns": {"frame": "Frame", "label": "Phase"},
    }
    config = specified(tmp_path, "video", "videos/*.mp4", labels, PHASES, clip={"every": 25})
    assert all_labels(config) == expected


def test_autolaparo_counts_seconds_and_phases_from_one(tmp_path):
    for name in ("01", "02"):
        (tmp_path / "videos").mkdir(exist_ok=True)
        small_video(tmp_path / f"videos/{name}.mp4", 60)  # 25 a second
        rows = [f"{second}\t{1 + (second + int(name)) % 7}" for second in (1, 2, 3)]
        written(tmp_path / f"labels/label_{name}.txt", "\n".join(["Frame\tPhase", *rows]))
    labels = {
        "frames": "labels/label_{stem}.txt",
        "columns": {"frame": "Frame", "label": "Phase"},
        **{"fps": 1, "first_frame": 1, "first_value": 1},
    }
    found = all_labels(specified(tmp_path, "video", "videos/*.mp4", labels, PHASES))
    assert found == {
        f"0{name}.mp4#{t}": (t // 25 + 1 + name) % 7 for name in (1, 2) for t in range(60)
    }


def mstcn(folder):
    expected = {}
    for index, name in enumerate(["rgb-01-1", "rgb-01-2", "rgb-02-1"]):
        touched(folder / f"features/{name}.npy")
        names = ["cut_tomato", "mix", "serve it"]
        at = [(t + index) // 4 % 3 for t in range(11)]
        written(folder / f"groundTruth/{name}.txt", "\n".join([*(names[i] for i in at), ""]))
        expected[f"{name}.npy"] = at
    written(folder / "splits/train.split1.bundle", "rgb-01-1.txt\nrgb-02-1.txt\n")
    written(folder / "mapping.txt", "0 cut_tomato\n1 mix\n2 serve it\n")
    labels = {"frames": "groundTruth/{stem}.txt", "header": ["label"]}
    return (folder, "sequences", "features/*.npy", labels), expected


def test_ms_tcn_has_a_label_a_line_and_bundles(tmp_path):
    what, expected = mstcn(tmp_path)
    config = specified(*what, str(tmp_path / "mapping.txt"), split="splits/train.split1.bundle")
    assert config.classes == ["cut_tomato", "mix", "serve it"]
    del expected["rgb-01-2.npy"]
    assert all_labels(config) == {
        f"{key}#{t}": label for key, at in expected.items() for t, label in enumerate(at)
    }


@pytest.mark.parametrize("num_frames", [11, 7])
def test_feature_arrays_with_a_column_a_frame_are_turned(tmp_path, num_frames):
    features = np.random.default_rng(0).normal(size=(7, num_frames)).astype(np.float32)
    (tmp_path / "features").mkdir()
    np.save(tmp_path / "features/a.npy", features)
    np.savez(tmp_path / "features/b.npz", b=features, b_label=np.zeros(num_frames, np.int8))
    written(tmp_path / "groundTruth/a.txt", "mix\n" * num_frames)
    for name, labels in (
        ("a.npy", {"frames": "groundTruth/{stem}.txt", "header": ["label"]}),
        ("b.npz", {"arrays": "{key}_label"}),
    ):
        config = specified(
            *(tmp_path, "sequences", f"features/{name}", labels, ["mix", "cut"]),
            **{"axes": "DT", "clip": {"frames": None}},
        )
        got = cut(config, tmp_path / name)
        assert got.failed == []
        np.testing.assert_array_equal(got.batches[0].arrays["inputs"], features.T[None])


def test_an_empty_line_among_frames_would_move_all_that_follow(tmp_path):
    what, _ = mstcn(tmp_path)
    written(tmp_path / "groundTruth/rgb-01-1.txt", "mix\n\nmix\n")
    with pytest.raises(LabelError, match=r"rgb-01-1\.txt, row 2: the row is empty, and others"):
        listed(specified(*what, ["cut_tomato", "mix", "serve it"]))


def test_mmaction2_lists(tmp_path):
    for name in ("abseiling/a,b.mp4", "zumba/b.mp4", "zumba/c.mp4"):
        touched(tmp_path / f"videos/{name}")
    written(
        tmp_path / "kinetics400_train_list.txt",
        "abseiling/a,b.mp4 0\nzumba/b.mp4 1\nzumba/c.mp4 1\n",
    )
    labels = {"videos": "kinetics400_train_list.txt", "header": ["video", "label"]}
    with pytest.raises(LabelError, match=r"row 2: 1 fields, expected 2 .*labels\.delimiter"):
        listed(specified(tmp_path, "video", "videos/*/*.mp4", labels, ["abseiling", "zumba"]))
    labels["delimiter"] = "blanks"
    config = specified(tmp_path, "video", "videos/*/*.mp4", labels, ["abseiling", "zumba"])
    assert all_labels(config) == {"abseiling/a,b.mp4": 0, "zumba/b.mp4": 1, "zumba/c.mp4": 1}


def test_kinetics_names_videos_by_a_part_of_the_file_name(tmp_path):
    for name in ("abseiling/-x_1_000001_000011.mp4", "zumba/Ab0_000010_000020.mp4"):
        touched(tmp_path / f"train/{name}")
    head = "label,youtube_id,time_start,time_end,split\n"
    rows = "abseiling,-x_1,1,11,train\nzumba,Ab0,10,20,train\n"
    written(tmp_path / "train.csv", head + rows)
    labels = {
        "videos": "train.csv",
        "columns": {"video": "youtube_id"},
        "match": r"/(.+)_\d{6}_\d{6}\.mp4$",
    }
    config = specified(tmp_path, "video", "train/*/*.mp4", labels, ["abseiling", "zumba"])
    assert list(all_labels(config).values()) == [0, 1]


ROWS = [("a.png", "cat"), ("b.png", "dog"), ("c.png", "cat")]


def parted(delimiter, *rows):
    return "".join(delimiter.join(row) + "\n" for row in rows)


TABLES = {
    "semicolons": ("t.csv", parted(";", ("image", "label"), *ROWS), {}),
    "tabs": ("t.tsv", parted("\t", ("image", "label"), *ROWS), {}),
    "tabs in text": ("t.txt", parted("\t", ("image", "label"), *ROWS), {}),
    "no header": ("t.csv", parted(",", *ROWS), {"header": ["image", "label"]}),
    "no header, blanks": ("t.txt", parted("  ", *ROWS), {"header": ["image", "label"]}),
    "packed": ("t.csv.gz", parted(",", ("image", "label"), *ROWS), {}),
    "packed lines": ("t.txt.gz", parted(" ", *ROWS), {"header": ["image", "label"]}),
    "comments": (
        "t.csv",
        "# made by hand\n"
        + parted(",", ("image", "label"), ROWS[0])
        + "#\n"
        + parted(",", *ROWS[1:]),
        {"comment": "#"},
    ),
    "MXNet": (
        "t.lst",
        parted(
            "\t", *((str(i), f"{name == 'dog':.6f}", key) for i, (key, name) in enumerate(ROWS))
        ),
        {"header": ["index", "label", "image"]},
    ),
    "names and labels": ("t.json", '{\n  "a.png": "cat", "b.png": "dog",\n "c.png":"cat"}\n', {}),
    "names and indices": ("t.json", '{"a.png": 0, "b.png": 1, "c.png": 0}', {}),
    "packed rows of JSON": (
        "t.json.gz",
        json.dumps([{"image": k, "label": v} for k, v in ROWS]),
        {},
    ),
}


def image_table(folder, form):
    name, text, labels = TABLES[form]
    for index, (key, _) in enumerate(ROWS):
        picture(folder / f"images/{key}", index)
    content = text.encode()
    (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    what = (folder, "images", "images/*.png", {"images": name, **labels}, ["cat", "dog"])
    return specified(*what), folder / name


@pytest.mark.parametrize("form", TABLES)
def test_a_table_of_images_is_read_as_it_comes(tmp_path, form):
    config, _ = image_table(tmp_path, form)
    assert all_labels(config) == {"a.png": 0, "b.png": 1, "c.png": 0}


@pytest.mark.parametrize("form", TABLES)
def test_a_corrected_table_keeps_its_form_and_every_other_byte(tmp_path, form):
    config, path = image_table(tmp_path, form)
    shards = listed(config)[0].shards
    changes = LabelChanges(classes={Owner("b.png"): 0})
    corrected = write_tables(config, shards, changes, str(tmp_path / "to"), lambda *_: None)
    copy = tmp_path / "to" / path.name
    assert all_labels(corrected) == {"a.png": 0, "b.png": 0, "c.png": 0}
    old, new = path.read_bytes(), copy.read_bytes()
    if path.suffix == ".gz":
        old, new = gzip.decompress(old), gzip.decompress(new)
    assert new.decode() in (
        old.decode().replace("dog", "cat"),
        old.decode().replace("1.000000", "0").replace(": 1,", ": 0,"),
    )


def test_corrected_lines_of_frames_keep_every_other_byte(tmp_path):
    what, _ = mstcn(tmp_path)
    config = specified(*what, ["cut_tomato", "mix", "serve it"])
    frames = FrameChange(np.array([1, 10]), np.array([2, 0]))
    changes = LabelChanges(frames={Owner("rgb-01-1.npy"): frames})
    shards = listed(config)[0].shards
    corrected = write_tables(config, shards, changes, str(tmp_path / "to"), lambda *_: None)
    lines = (tmp_path / "groundTruth/rgb-01-1.txt").read_text().split("\n")
    lines[1], lines[10] = "serve it", "cut_tomato"
    (copy,) = (tmp_path / "to").rglob("rgb-01-1.txt")
    assert copy.read_text() == "\n".join(lines)
    before, after = all_labels(config), all_labels(corrected)
    assert {key: after[key] for key in after if after[key] != before[key]} == {
        "rgb-01-1.npy#1": 2,
        "rgb-01-1.npy#10": 0,
    }


@pytest.mark.parametrize(
    ("name", "text", "labels", "message"),
    [
        ("t.txt", "image,n;label\tx\n", {}, "commas, tabs or semicolons; say which in labels.del"),
        ("t.txt", "a.png cat\nb.png\n", {"header": ["image", "label"]}, "row 2: 1 fields, expect"),
        ("t.csv.gz", "image,label\na.png,cat\n", {}, "cannot be read: Not a gzipped file"),
        ("t.json", '{"a.png": ["cat"]}', {}, "no column .*the table has 'a.png'"),
    ],
)
def test_a_table_that_could_be_read_in_two_ways_or_in_none_is_refused(
    tmp_path, name, text, labels, message
):
    picture(tmp_path / "images/a.png", 0)
    written(tmp_path / name, text)
    what = (tmp_path, "images", "images/*.png", {"images": name, **labels}, ["cat", "dog"])
    with pytest.raises(LabelError, match=message):
        listed(specified(*what))


CLASS_FILES = {
    "mapping.txt": "0 cat\n1 big dog\n2 \u00e9l\u00e9phant\n",
    "names.txt": "cat\nbig dog\n\u00e9l\u00e9phant\n",
    "classes.csv": "1,big dog\n0,cat\n2,\u00e9l\u00e9phant\n",
    "list.json": '["cat", "big dog", "\u00e9l\u00e9phant"]',
    "id2label.json": '{"1": "big dog", "0": "cat", "2": "\u00e9l\u00e9phant"}',
    "label2id.json": '{"big dog": 1, "cat": 0, "\u00e9l\u00e9phant": 2}',
    "config.json": '{"id2label": {"0": "cat", "1": "big dog", "2": "\u00e9l\u00e9phant"}, "x": 1}',
    "dataset.json": '{"name": "x", "labels": {"cat": 0, "big dog": 1, "\u00e9l\u00e9phant": 2}}',
}


@pytest.mark.parametrize("name", CLASS_FILES)
def test_classes_from_a_file(tmp_path, name):
    (tmp_path / name).write_text(CLASS_FILES[name], encoding="utf-8")
    config = specified(tmp_path, "images", "*.png", {"folder": True}, str(tmp_path / name))
    assert config.classes == ["cat", "big dog", "\u00e9l\u00e9phant"]


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({0: "cat", 1: "dog"}, ["cat", "dog"]),
        ({"dog": 1, "cat": 0}, ["cat", "dog"]),
        ([0, 1], ["0", "1"]),
        (["no", "yes"], ["no", "yes"]),
    ],
)
def test_classes_as_a_mapping_or_as_numbers(tmp_path, given, names):
    assert specified(tmp_path, "images", "*.png", {"folder": True}, given).classes == names


def test_classes_that_count_from_one_say_how_labels_count(tmp_path):
    """UCF101: `classInd.txt` counts from 1, and so do the lists of its splits."""
    for name in ("ApplyEyeMakeup/v_a.avi", "Archery/v_b.avi"):
        touched(tmp_path / f"UCF-101/{name}")
    written(tmp_path / "classInd.txt", "1 ApplyEyeMakeup\n2 Archery\n")
    written(tmp_path / "trainlist01.txt", "ApplyEyeMakeup/v_a.avi 1\nArchery/v_b.avi 2\n")
    labels = {"videos": "trainlist01.txt", "header": ["video", "label"]}
    what = (tmp_path, "video", "UCF-101/*/*.avi")
    config = specified(*what, labels, str(tmp_path / "classInd.txt"))
    assert all_labels(config) == {"ApplyEyeMakeup/v_a.avi": 0, "Archery/v_b.avi": 1}
    with pytest.raises((SpecificationError, ValueError), match="classes count from 1"):
        specified(*what, labels | {"first_value": 0}, str(tmp_path / "classInd.txt"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([True, False], r"YAML reads yes, no, .* in quotes"),
        ({0: "cat", 2: "dog"}, r"must follow each other; .* labels\.values"),
        ({"cat": 0, "dog": 0}, "a number of its own for each name"),
        ({0: "cat", "x": "dog"}, "a number of its own for each name"),
    ],
)
def test_classes_that_say_no_order_are_refused(tmp_path, given, message):
    with pytest.raises((SpecificationError, ValueError), match=message):
        specified(tmp_path, "images", "*.png", {"folder": True}, given)
