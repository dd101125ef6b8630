"""One new label changes one label: what a file is written like stays, as other readers see it."""

import io

import h5py
import numpy as np
import pyarrow as pa
import pytest
import tifffile
from PIL import Image

from ray_audit.config import DatasetConfig
from ray_audit.corrections.write_labels import write_labels
from ray_audit.errors import LabelError
from ray_audit.formats.label_changes import LabelChanges
from ray_audit.formats.mask_files import encode_mask
from ray_audit.formats.pixels.pictures import read_mask
from ray_audit.sample_ids import Owner
from tests.support import corrected as corrections
from tests.support import knowing
from tests.support.label_sets import all_labels, listed
from tests.support.small_sets import picture

CLASSES = ["cat", "dog", "cow"]


def corrected(folder, uri, labels, owner):
    """The section that reads the copy, in which one image has the last class."""
    config = DatasetConfig.model_validate(
        {"kind": "images", "uri": str(uri), "labels": labels, "classes": CLASSES}
    )
    before = all_labels(config)
    listing, _ = listed(config)
    done = write_labels(config, listing, LabelChanges(classes={owner: 2}), str(folder / "to"))
    assert done.left_out == {}
    assert all_labels(done.dataset) == before | {owner.key: 2}


@pytest.mark.parametrize(
    ("name", "content", "more"),
    [
        ("t.json", b'{"x":[{"image":"b.png","label":"dog","e":"\\u00e9"},[1,2]]}', {"rows": "x.0"}),
        ("t.json", b'{"x": [{"image": "b.png", "label": "dog"}, [1, 2]]}\n\n', {"rows": "x.0"}),
        (
            "t.json",
            b'\xef\xbb\xbf{\r\n\t"x": {\r\n\t\t"image": "b.png",\r\n\t\t"label": "dog"\r\n\t}\r\n}',
            {"rows": "x"},
        ),
        (
            "t.json",
            b'{"images":[{"id":0,"file_name":"b.png"}],"annotations":[{"image_id":0,"category_id":5'
            b'}],"categories":[{"id":5,"name":"dog"},{"id":7,"name":"cow"}]}',
            {},
        ),
        ("t.txt", b"image\tlabel\na.png\t cat\nb.png\t dog \n", {"header": None}),
        ("t.csv", b"# by hand\nimage,label\nb.png, dog ,1\n".replace(b",1", b""), {"comment": "#"}),
    ],
)
def test_a_table_is_written_as_it_was(tmp_path, name, content, more):
    for stem in "ab":
        picture(tmp_path / f"images/{stem}.png", 1)
    (tmp_path / name).write_bytes(content)
    labels = {"images": str(tmp_path / name), **more}
    corrected(tmp_path, tmp_path / "images/*.png", labels, Owner("b.png"))
    expected = content.replace(b"dog", b"cow")
    if b"categories" in content:
        expected = content.replace(b'"category_id":5', b'"category_id":7')
    assert (tmp_path / "to/labels" / name).read_bytes() == expected


def png():
    sink = io.BytesIO()
    Image.new("RGB", (4, 4)).save(sink, "PNG")
    return sink.getvalue()


@pytest.mark.parametrize("as_file", [False, True])
def test_categories_of_an_arrow_file_take_a_class_that_none_had(tmp_path, as_file):
    labels = pa.array(["cat", "dog", "cat", "dog", None]).dictionary_encode()
    table = pa.table({"image": [png()] * 5, "label": labels})
    make = pa.ipc.new_file if as_file else pa.ipc.new_stream
    with make(str(tmp_path / "x.arrow"), table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    corrected(tmp_path, tmp_path / "*.arrow", {"column": "label"}, Owner("x.arrow", "1"))
    opened = pa.ipc.open_file if as_file else pa.ipc.open_stream
    with opened(str(tmp_path / "to/data/x.arrow")) as reader:
        new = reader.read_all()
    assert new.schema == table.schema
    assert new["label"].to_pylist() == ["cat", "cow", "cat", "dog", None]


def test_a_class_that_an_enumeration_has_not_is_named(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["image"] = np.zeros((3, 4, 4), np.uint8)
        kind = h5py.enum_dtype({"cat": 0, "dog": 1}, np.uint8)
        file.create_dataset("y", data=[0, 1, 0], dtype=kind)
    with pytest.raises(LabelError, match=r"array y: its enumeration has no 'cow', only cat, dog"):
        corrected(tmp_path, tmp_path / "x.h5", {"column": "y"}, Owner("x.h5", "1"))


@pytest.mark.parametrize(
    ("kind", "photometric"),
    [
        *((kind, "miniswhite") for kind in (np.uint8, np.uint16, np.bool_)),
        *((kind, "minisblack") for kind in (np.uint8, np.uint16, np.int16, np.uint32, np.bool_)),
    ],
)
def test_a_tiff_mask_shows_to_other_readers_what_it_did(kind, photometric):
    values = (np.arange(12).reshape(3, 4) % 3).astype(kind)
    sink = io.BytesIO()
    tifffile.imwrite(sink, values, photometric=photometric)
    new = values.copy()
    new[0, 0] = 1
    content = encode_mask(sink.getvalue(), new)
    for read in (tifffile.imread, lambda stream: np.asarray(Image.open(stream))):
        before, after = (read(io.BytesIO(c)) for c in (sink.getvalue(), content))
        assert before.dtype == after.dtype
        assert np.argwhere(before != after).tolist() == [[0, 0]]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"P5\n# by hand\n4 1\n15\n\0\1\2\x0f", b"P5\n# by hand\n4 1\n15\n\3\1\2\x0f"),
        (b"P5 2 1 1000\n\0\1\3\xe8", b"P5 2 1 1000\n\0\3\3\xe8"),
        (b"P2\n# by hand\n4 1\n15\n0 1 2 15\n", b"P2\n# by hand\n4 1\n15\n3 1 2 15\n"),
    ],
)
def test_a_pgm_keeps_its_header_its_comments_and_its_maximum(content, expected):
    new = read_mask(content, 1e6).copy()
    new[0, 0] = 3
    assert encode_mask(content, new) == expected
    with pytest.raises(LabelError, match="1001 does not fit a PGM"):
        encode_mask(content, np.full(new.shape, 1001))


def test_a_number_of_a_document_stays_a_number_of_its_type(tmp_path):
    picture(tmp_path / "images/b.png", 1)
    (tmp_path / "t.json").write_text('{"x": [{"image": "b.png", "label": 1.0, "n": -0.5}]}')
    labels = {"images": str(tmp_path / "t.json"), "rows": "x.*"}
    corrected(tmp_path, tmp_path / "images/*.png", labels, Owner("b.png"))
    written = (tmp_path / "to/labels/t.json").read_text()
    assert written == '{"x": [{"image": "b.png", "label": 2.0, "n": -0.5}]}'


def test_masks_whose_classes_are_colours_are_corrected_in_their_colours(tmp_path):
    small = knowing.masks(tmp_path)
    colours = np.zeros((256, 3), np.uint8)
    colours[:3] = [[128, 64, 128], [0, 0, 255], [9, 9, 9]]
    for path in sorted(tmp_path.glob("data/masks/*.png")):
        stored = np.asarray(Image.open(path))
        Image.fromarray(colours[stored]).save(path)
    small.values["dataset"]["void"] = []
    small.values["dataset"]["labels"]["values"] = {
        "#804080": "a",
        "#0000ff": "b",
        9: "c",  # a grey colour may be listed as its number
        "#000000": "void",
    }
    done = corrections.corrected(small)
    for index in range(6):
        mask = knowing.given_mask(index, ())
        written = np.asarray(Image.open(tmp_path / f"to/labels/i{index}.png"))
        np.testing.assert_array_equal(written, colours[mask])
    assert done.num_changed == sum((knowing.true_mask(i) == 1).sum() for i in (1, 4))
