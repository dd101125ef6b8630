"""What people have that nobody has published: what `init` makes of it, every label read back."""

import json

import h5py
import numpy as np
import pytest

import ray_audit
from ray_audit.config import DatasetConfig
from ray_audit.corrections.write_labels import write_labels
from ray_audit.errors import SpecificationError
from ray_audit.formats.label_changes import FrameChange, LabelChanges
from ray_audit.sample_ids import Owner
from tests.support.drafts import drafted, same
from tests.support.label_sets import listed
from tests.support.published.built import photo, put_image, put_text
from tests.support.small_sets import video

SHAPE = (9, 8)


def photos(folder, names):
    for at, name in enumerate(names):
        photo(folder / name, at, SHAPE)


def test_an_attribute_of_celeba_is_drafted_and_its_list_of_parts_is_no_label(tmp_path):
    names = [f"{at:06}.jpg" for at in range(1, 9)]
    photos(tmp_path / "img_align_celeba", names)
    rows = [f"{name} {1 if at % 3 else -1:2d}  {1 if at % 2 else -1:2d}" for at, name in _at(names)]
    put_text(tmp_path / "list_attr_celeba.txt", "8", "Smiling Young", *rows)
    put_text(tmp_path / "list_eval_partition.txt", *(f"{name} {at % 3}" for at, name in _at(names)))
    draft = ray_audit.init(tmp_path)
    same(draft.specification["dataset"], {name: int(at % 3 > 0) for at, name in _at(names)})
    assert "Young would be audits of their own" in " ".join(draft.text.replace("#", "").split())
    (tmp_path / "list_attr_celeba.txt").unlink()
    with pytest.raises(SpecificationError, match="no layout was recognised"):
        ray_audit.init(tmp_path)


def _at(names):
    return list(enumerate(names))


def test_a_list_below_its_count_keeps_all_but_what_changes(tmp_path):
    photos(tmp_path / "images", ["a.jpg", "b.jpg"])
    put_text(tmp_path / "list.txt", "2", "Smiling Young ", "a.jpg -1  1", "b.jpg  1 -1")
    labels = {
        "images": str(tmp_path / "list.txt"),
        "columns": {"image": "file", "label": "Young"},
        "values": {-1: "no", 1: "yes"},
    }
    values = {"kind": "images", "uri": str(tmp_path / "images/*.jpg"), "labels": labels}
    config = DatasetConfig.model_validate(values | {"classes": ["no", "yes"]})
    same(values | {"classes": ["no", "yes"]}, {"a.jpg": 1, "b.jpg": 0})
    changes = LabelChanges(classes={Owner("b.jpg"): 1})
    write_labels(config, listed(config)[0], changes, str(tmp_path / "to"))
    (copy,) = (tmp_path / "to").rglob("list.txt")
    assert copy.read_text().split("\n")[:4] == ["2", "Smiling Young ", "a.jpg -1  1", "b.jpg  1 1"]


@pytest.mark.parametrize("is_matlab", [True, False])
def test_images_and_masks_in_arrays_of_one_file_are_found_along_either_axis(tmp_path, is_matlab):
    """As NYU Depth V2 is published: channels first as HDF5 has them, names of classes beside."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, *SHAPE, 3), np.uint8)
    masks = rng.integers(0, 4, (4, *SHAPE)).astype(np.uint16)
    if not is_matlab:
        np.savez(tmp_path / "set.npz", images=images, masks=masks, depth=masks / 7)
        return same(drafted(tmp_path), {f"set.npz#{at}": masks[at] for at in range(4)})
    with h5py.File(tmp_path / "x.mat", "w", userblock_size=512) as file:
        for name, values, kind in (
            ("images", images, "uint8"),
            ("labels", masks, "uint16"),
            ("instances", masks % 2, "uint16"),
        ):
            # (N, H, W, C) is (H, W, C, N) in MATLAB, which HDF5 has turned round.
            file[name] = np.moveaxis(values, 0, -1).T
            file[name].attrs["MATLAB_class"] = np.bytes_(kind)
        refs = [_text(file, at, name) for at, name in _at(["wall", "floor", "bed"])]
        file["names"] = np.array([refs], h5py.ref_dtype)
        file["names"].attrs["MATLAB_class"] = np.bytes_("cell")
    content = (tmp_path / "x.mat").read_bytes()
    head = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
    (tmp_path / "x.mat").write_bytes(head.ljust(512, b"\0") + content[512:])
    dataset = drafted(tmp_path)
    assert dataset["classes"] == ["wall", "floor", "bed"]
    expected = np.where(masks == 0, -1, masks.astype(int) - 1)
    return same(dataset, {f"x.mat#{at}": expected[at] for at in range(4)})


def _text(file, at, text):
    codes = np.array([[ord(letter)] for letter in text], np.uint16)
    file[f"#refs#/{at}"] = codes
    file[f"#refs#/{at}"].attrs["MATLAB_class"] = np.bytes_("char")
    file[f"#refs#/{at}"].attrs["MATLAB_int_decode"] = 2
    return file[f"#refs#/{at}"].ref


@pytest.mark.parametrize("folders", [("images", "masks"), ("*/frames", "*/truth")])
def test_a_folder_of_masks_for_each_instrument_makes_one_mask(tmp_path, folders):
    """As EndoVis 2017 is published: not the masks of the first instrument alone."""
    expected = {}
    for part in ("d1", "d2") if "*" in folders[0] else ("",):
        images, masks = (tmp_path / folder.replace("*", part) for folder in folders)
        for at in range(3):
            photo(images / f"f{at}.png", at, SHAPE)
            mask = np.random.default_rng(at).integers(0, 3, SHAPE)
            for number, name in ((1, "Left_Forceps_labels"), (2, "Other_labels")):
                put_image(masks / name / f"f{at}.png", ((mask == number) * 10).astype(np.uint8))
            expected[f"{part}/frames/f{at}.png" if part else f"f{at}.png"] = mask
    dataset = drafted(tmp_path)
    assert dataset["classes"] == ["background", "Left_Forceps_labels", "Other_labels"]
    same(dataset, expected)


@pytest.mark.parametrize("is_lying_over", [True, False])
def test_masks_that_name_a_class_each_make_one_unless_they_lie_over_each_other(
    tmp_path, is_lying_over
):
    """Two people who drew the same are no two classes."""
    expected = {}
    for at in range(3):
        photo(tmp_path / f"f{at}.png", at, SHAPE)
        mask = np.random.default_rng(at).integers(0, 3, SHAPE)
        for number, name in ((1, "ann"), (2, "bob")):
            drawn = mask > 0 if is_lying_over else mask == number
            put_image(tmp_path / f"f{at}_{name}.png", (drawn * 255).astype(np.uint8))
        expected[f"f{at}.png"] = mask > 0 if is_lying_over else mask
    dataset = drafted(tmp_path)
    assert len(dataset["classes"]) == (2 if is_lying_over else 3)
    same(dataset, expected)


def test_a_file_without_a_mask_by_a_rule_is_told(tmp_path):
    for at, end in enumerate(["mask", "mask", "seg", "gt"]):
        photo(tmp_path / f"s{at}.png", at, SHAPE)
        mask = np.random.default_rng(at).integers(0, 2, SHAPE)
        put_image(tmp_path / f"s{at}_{end}.png", mask.astype(np.uint8))
    draft = ray_audit.init(tmp_path)
    assert "2 of 4 files have no label, such as s2.png" in draft.assumed


def test_days_of_recording_are_no_classes_and_paths_of_windows_are_paths(tmp_path):
    names = [f"2024-01-0{at % 3 + 1}/cam 1/IMG_{at}.JPG" for at in range(6)]
    photos(tmp_path, names)
    with pytest.raises(SpecificationError):
        ray_audit.init(tmp_path)
    backward = [name.replace("/", "\\") for name in names]
    rows = [f"{name},{'ok' if at % 2 else 'defect'}" for at, name in _at(backward)]
    put_text(tmp_path / "labels.csv", "path,verdict", *rows)
    same(drafted(tmp_path), {name: at % 2 for at, name in _at(names)})


def test_labels_that_are_made_of_others_are_asked_about(tmp_path):
    tags = ["cat", "dog", "cat dog", "cat"]
    photos(tmp_path / "images", [f"{at}.jpg" for at in range(4)])
    rows = [f"{at}.jpg,{tag}" for at, tag in _at(tags)]
    put_text(tmp_path / "train.csv", "image_name,tags", *rows)
    asked = " ".join(ray_audit.init(tmp_path).asked)
    assert "whether a label such as 'cat dog' is several at once" in asked


HEADS = ["Video;Beginn;Ende;Phase", "fichier;debut;fin;etape", "Media file;Start (s);Stop (s);Was"]


@pytest.mark.parametrize("head", HEADS)
def test_segments_are_known_by_what_they_hold_in_any_language(tmp_path, head):
    """With the decimal commas of a spreadsheet in most of Europe, which stay when labels change."""
    rows, expected = [], {}
    for at in range(2):
        video(tmp_path / f"videos/op{at}.mp4", 12, at)
        rows += [f"op{at};0,0;0,16;Naht", f"op{at};0,16;0,48;Spülung"]
        expected |= {f"op{at}.mp4#{t}": "Naht" if t < 4 else "Spülung" for t in range(12)}
    put_text(tmp_path / "phasen.csv", head, *rows)
    dataset = drafted(tmp_path)
    assert dataset["kind"] == "video"
    same(dataset, expected)
    config = DatasetConfig.model_validate(dataset)
    listing, given = listed(config)
    change = FrameChange(np.array([4, 5]), np.zeros(2, np.int32))
    changes = LabelChanges(frames={Owner("op1.mp4"): change}, times=given.times)
    write_labels(config, listing, changes, str(tmp_path / "to"))
    (copy,) = (tmp_path / "to").rglob("phasen.csv")
    assert copy.read_text().splitlines() == [
        *(head, *rows[:2]),
        *("op1;0,0;0,24;Naht", "op1;0,24;0,48;Spülung"),
    ]


def test_attributes_that_macos_keeps_beside_files_are_no_samples(tmp_path):
    expected = {f"{name}/{at}.jpg": name for name in ("cat", "dog") for at in range(3)}
    photos(tmp_path, expected)
    for key in expected:
        folder, name = key.split("/")
        (tmp_path / folder / f"._{name}").write_bytes(b"\0\5\26\7")
    draft = ray_audit.init(tmp_path)
    same(draft.specification["dataset"], expected)
    assert not any("no label" in text for text in draft.assumed)
    listing, _ = listed(DatasetConfig.model_validate(draft.specification["dataset"]))
    assert [key.key for key in listing.shards] == sorted(expected)
    assert listing.notes[0].startswith(
        "6 files left out, in which macOS keeps attributes of others"
    )


def test_a_column_of_durations_is_no_end(tmp_path):
    video(tmp_path / "v.mp4", 12)
    expected = {f"v.mp4#{t}": "sew" if 3 <= t < 8 else "cut" for t in range(12)}
    for second in ("duration", "how long"):
        rows = ["v.mp4,0,0.12,cut", "v.mp4,0.12,0.2,sew", "v.mp4,0.32,0.16,cut"]
        put_text(tmp_path / "t.csv", f"video,start,{second},step", *rows)
        same(drafted(tmp_path), expected)


@pytest.mark.parametrize("head", ["video,start,end,label", "video,von,bis,schritt"])
def test_whole_numbers_that_end_with_the_seconds_of_a_video_are_seconds(tmp_path, head):
    expected = {}
    for at, num in enumerate((100, 150)):
        video(tmp_path / f"op{at}.mp4", num, at, size=(16, 16))
        expected |= {f"op{at}.mp4#{t}": "cut" if t < 25 else "sew" for t in range(num)}
    rows = [f"op{at}.mp4,{row}" for at, end in ((0, 4), (1, 6)) for row in _two(end)]
    put_text(tmp_path / "times.csv", head, *rows)
    same(drafted(tmp_path), expected)


def _two(end):
    return "0,1,cut", f"1,{end},sew"


def test_a_phase_in_a_column_of_its_own_is_not_taken_for_the_phase(tmp_path):
    for at in range(2):
        video(tmp_path / f"v{at}.mp4", 12, at)
        rows = [f"{t},{int(t < 4)},{int(4 <= t < 9)},{int(t >= 9)}" for t in range(12)]
        put_text(tmp_path / f"v{at}.csv", "Frame,Prep,Cut,Close", *rows)
    with pytest.raises(SpecificationError, match=r"which begins with 'Frame,Prep,Cut,Close'"):
        ray_audit.init(tmp_path)


ASKED = {
    "image,rater1,rater2": (
        ["a,a", "b,a", "b,b", "a,b"],
        "here it is 'rater1', and 'rater2' would do as well",
    ),
    "image,class,xmin,ymin": (["a,1,5", "b,2,6", "a,3,7", "b,4,8"], "look like those of boxes"),
    "image,label": (["cat", "Cat", "dog", "dog"], "whether 'cat' and 'Cat' are one class"),
}


@pytest.mark.parametrize("head", ASKED)
def test_what_a_column_may_mean_beside_the_label_is_asked(tmp_path, head):
    values, said = ASKED[head]
    photos(tmp_path / "images", [f"{at}.jpg" for at in range(4)])
    put_text(tmp_path / "t.csv", head, *(f"{at}.jpg, {value} " for at, value in _at(values)))
    draft = ray_audit.init(tmp_path)
    assert said in " ".join(draft.asked)
    classes = draft.specification["dataset"]["classes"]
    assert classes == sorted({value.split(",")[0] for value in values})


def test_masks_that_a_table_pairs_otherwise_than_their_names_are_not_paired_by_name(tmp_path):
    for at in range(4):
        photo(tmp_path / f"imgs/a{at}.png", at, SHAPE)
        mask = np.random.default_rng(at).integers(0, 3, SHAPE)
        put_image(tmp_path / f"anno/b{at}.png", mask.astype(np.uint8))
    put_text(tmp_path / "pairs.csv", "image,mask", *(f"a{at}.png,b{3 - at}.png" for at in range(4)))
    with pytest.raises(SpecificationError, match=r"a table pairs imgs/a0\.png with anno/b3\.png"):
        ray_audit.init(tmp_path)


def test_text_in_other_encodings_and_a_file_of_labels_for_each_image_are_named(tmp_path):
    photos(tmp_path / "d", ["0.jpg", "1.jpg"])
    (tmp_path / "labels.csv").write_bytes(
        "bild;phase\n0.jpg;Spülung\n1.jpg;Naht\n".encode("cp1252")
    )
    with pytest.raises(SpecificationError, match=r"labels.csv, which is text, but not in UTF-8"):
        ray_audit.init(tmp_path)
    (tmp_path / "labels.csv").unlink()
    put_text(tmp_path / "d/0.txt", "cat")
    put_text(tmp_path / "d/1.txt", "dog")
    with pytest.raises(SpecificationError, match="a file of labels for each image is not read"):
        ray_audit.init(tmp_path)


DOCUMENTS = {
    "list": lambda of: [{"fps": 25, "file": k, "segments": v} for k, v in of.items()],
    "inner": lambda of: {"v": 1, "videos": [{"video": k, "actions": v} for k, v in of.items()]},
    "mapping": lambda of: {"db": {k: {"annotations": v} for k, v in of.items()}},
}


@pytest.mark.parametrize("form", DOCUMENTS)
@pytest.mark.parametrize("edges", [("start", "end"), ("begin_s", "stop_s")])
def test_segments_in_a_document_are_found_however_it_is_nested(tmp_path, form, edges):
    of_video, expected = {}, {}
    for at in range(2):
        name = f"v{at}.mp4"
        video(tmp_path / "videos" / name, 12, at)
        rows = [(0.0, 0.16, "cut"), (0.16, 0.48, "sew")]
        of_video[name] = [dict(zip((*edges, "label"), row, strict=True)) for row in rows]
        expected |= {f"{name}#{t}": "cut" if t < 4 else "sew" for t in range(12)}
    put_text(tmp_path / "labels.json", json.dumps(DOCUMENTS[form](of_video)))
    same(drafted(tmp_path), expected)


def test_captions_are_no_classes(tmp_path):
    photos(tmp_path / "images", [f"{at}.jpg" for at in range(6)])
    rows = [f"{at}.jpg,a cat on mat {at}" for at in range(6)]
    put_text(tmp_path / "images/metadata.csv", "file_name,text", *rows)
    with pytest.raises(SpecificationError, match="no layout was recognised"):
        ray_audit.init(tmp_path)


LABEL_STUDIO = '[{"id": 1, "annotations": [{"completed_by": 1, "result": []}]}]'
FOREIGN = {
    "labels/a.txt": ("0 0.1 0.1 0.4 0.1 0.4 0.5", "holds outlines of YOLO"),
    "annotations.xml": ('<annotations>\n<image name="a.jpg"><tag label="x"/>', "tags of CVAT"),
    "via.json": ('{"a": {"regions": [{"shape_attributes": 1}]}}', "the VGG annotator"),
    "project-1.json": (LABEL_STUDIO, "an export of Label Studio"),
    "train.csv": ("ImageId,EncodedPixels\na.jpg,1 3", "run lengths of masks in a table"),
    "labels.xlsx": ("PK", "labels.xlsx is a workbook, which is not read: save the sheet as CSV"),
    "a.eaf": ("<ANNOTATION_DOCUMENT/>", "an annotation of ELAN"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_form_that_is_not_read_is_named_with_what_to_do(tmp_path, name):
    content, said = FOREIGN[name]
    photos(tmp_path / "images", ["a.jpg", "b.jpg"])
    put_text(tmp_path / name, content)
    with pytest.raises(SpecificationError, match=said):
        ray_audit.init(tmp_path)


def test_pictures_without_an_ending_and_brushed_masks_are_named(tmp_path):
    photos(tmp_path, ["a.jpg", "b.jpg"])
    (tmp_path / "bare").mkdir()
    bare = (tmp_path / "a.jpg").rename(tmp_path / "bare/0001")
    with pytest.raises(SpecificationError, match="bare/0001 is a picture whose name has no ending"):
        ray_audit.init(tmp_path)
    bare.unlink()
    for at in range(4):
        photo(tmp_path / f"images/task{at}.png", at, SHAPE)
        mask = np.random.default_rng(at).integers(0, 2, SHAPE).astype(np.uint8)
        put_image(tmp_path / f"masks/task-{at}-annotation-1{at}-by-1-tag-x-0.png", 255 * mask)
    with pytest.raises(SpecificationError, match="is a mask of Label Studio, which is named after"):
        ray_audit.init(tmp_path)


def test_stacks_of_images_and_of_masks_with_a_channel_for_each_class_are_named(tmp_path):
    """As PanNuke is published."""
    for name, channels in (("images", 3), ("masks", 6)):
        (tmp_path / f"Fold 1/{name}/fold1").mkdir(parents=True)
        np.save(tmp_path / f"Fold 1/{name}/fold1/{name}.npy", np.zeros((3, 8, 8, channels)))
    with pytest.raises(SpecificationError, match=r"masks.argmax\(-1\) are masks where each class"):
        ray_audit.init(tmp_path)
