"""Labels of `datasets` as its files hold them: integers of no class are stored without a word.

Seen with datasets 5.2.0: `cast_column` and `map` store -1, -5 and 5 of three classes; a cast to
other names re-maps nothing; a column of masks may be of 1, 8, 16 or 32 bits, or floating point.
"""

import io
import json

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ray_audit.config import DatasetConfig
from tests.support.media import cut

SHAPE = (3, 4)


def picture(pixels, form="PNG"):
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, form)
    return {"bytes": sink.getvalue(), "path": "x"}


def stored(folder, columns, labels, classes, names=None, **more):
    """A Parquet file, and the names of its classes in the schema's metadata."""
    num = len(next(iter(columns.values())))
    images = [picture(np.zeros((*SHAPE, 3), np.uint8)) for _ in range(num)]
    table = pa.table({"image": images, **columns})
    feature = {"label": {"_type": "ClassLabel", "names": names}} if names else {}
    metadata = {"huggingface": json.dumps({"info": {"features": feature}})}
    pq.write_table(table.replace_schema_metadata(metadata), folder / "x.parquet")
    section = {"kind": "images", "uri": str(folder / "x.parquet"), "labels": labels}
    return DatasetConfig.model_validate({**section, "classes": classes, **more})


def classes_in(config, folder):
    done = cut(config, folder)
    found = {int(row["sample_id"].rpartition("#")[2]): row["label"] for row in done.rows}
    return found, [(int(key.rpartition("#")[2]), error) for key, error, _ in done.failed]


def test_integers_that_no_class_has_are_failures_and_a_null_is_no_label(tmp_path):
    column = {"label": pa.array([0, 5, -1, None, 2], pa.int64())}
    config = stored(tmp_path, column, {"column": "label"}, list("abc"), list("abc"))
    found, failed = classes_in(config, tmp_path)
    assert found == {0: 0, 4: 2}
    assert failed == [(1, "label_outside"), (2, "label_outside")]


def test_an_integer_that_means_no_label_is_said_to(tmp_path):
    column = {"label": pa.array([0, -1, 2], pa.int64())}
    config = stored(tmp_path, column, {"column": "label"}, list("abc"), void=[-1])
    assert classes_in(config, tmp_path) == ({0: 0, 2: 2}, [])


@pytest.mark.parametrize("values", [[0, 1, 2], ["1", "2", "0"]])
def test_names_that_are_numbers_mean_themselves_as_text_and_are_asked_about_as_numbers(
    tmp_path, values
):
    names = ["1", "2", "0"]
    config = stored(tmp_path, {"label": values}, {"column": "label"}, names, names)
    found, failed = classes_in(config, tmp_path)
    if isinstance(values[0], str):
        assert found == {0: 0, 1: 1, 2: 2}
    else:
        assert [error for _, error in failed] == ["label_outside"] * 3
        given = {"column": "label", "values": {0: "1", 1: "2", 2: "0"}}
        config = stored(tmp_path, {"label": values}, given, names, names)
        assert classes_in(config, tmp_path) == ({0: 0, 1: 1, 2: 2}, [])


@pytest.mark.parametrize(
    ("dtype", "form"), [(bool, "PNG"), (np.uint8, "PNG"), (np.uint16, "PNG"), (np.int32, "TIFF")]
)
def test_masks_of_every_depth_are_read_as_numbers(tmp_path, dtype, form):
    mask = np.random.default_rng(0).integers(0, 2, SHAPE)
    values = {0: "a", 1: "b"}
    if np.dtype(dtype).itemsize > 1:
        mask, values = mask * 300, {0: "a", 300: "b"}
    columns = {"mask": [picture(mask.astype(dtype), form)]}
    config = stored(tmp_path, columns, {"masks": "mask", "values": values}, ["a", "b"])
    (batch,) = cut(config, tmp_path).batches
    np.testing.assert_array_equal(batch.arrays["targets"][0], mask > 0)


def test_masks_of_floating_point_are_refused(tmp_path):
    columns = {"mask": [picture(np.ones(SHAPE, np.float32), "TIFF")]}
    done = cut(stored(tmp_path, columns, {"masks": "mask"}, ["a", "b"]), tmp_path)
    assert [(key, error) for key, error, _ in done.failed] == [("x.parquet#0", "mask_format")]


def of_one_order(folder, ending, names):
    """A file of three images of the classes 0, 1, 2, as it names them."""
    path, numbers = folder / f"{''.join(names)}.{ending}", [0, 1, 2]
    pixels = np.zeros((3, *SHAPE, 3), np.uint8)
    if ending == "h5":
        with h5py.File(path, "w") as file:
            file["image"], file["label"] = pixels, numbers
            file["label"].attrs["class_names"] = names
        return
    table = pa.table({"image": [picture(image) for image in pixels], "label": numbers})
    feature = {"label": {"_type": "ClassLabel", "names": names}}
    metadata = {"huggingface": json.dumps({"info": {"features": feature}})}
    table = table.replace_schema_metadata(metadata)
    if ending == "parquet":
        pq.write_table(table, path)
    else:
        with pa.ipc.new_stream(path, table.schema) as sink:
            sink.write_table(table)


@pytest.mark.parametrize("ending", ["parquet", "arrow", "h5"])
def test_each_file_is_held_against_the_classes_and_not_the_first_alone(tmp_path, ending):
    """A later part that was cast to another order of the same names means other classes."""
    for names in (list("abc"), list("cba")):
        of_one_order(tmp_path, ending, names)
    section = {"kind": "images", "uri": str(tmp_path / f"*.{ending}")}
    section |= {"labels": {"column": "label"}, "classes": list("abc")}
    done = cut(DatasetConfig.model_validate(section), tmp_path)
    assert {row["sample_id"]: row["label"] for row in done.rows} == {
        f"abc.{ending}#{row}": row for row in range(3)
    }
    assert {(f.sample_id, f.stage, f.error_class) for f in done.failures} == {
        (f"cba.{ending}#{row}", "labels", "class_names") for row in range(3)
    }
    assert "names its classes c, b, a" in done.failures[0].message


def test_sequences_whose_file_names_their_classes_otherwise_fail_by_their_labels(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for name, names in (("v1", list("abc")), ("v2", list("cba"))):
            file[f"{name}/features"] = np.zeros((3, 4), np.float32)
            file[f"{name}/labels"] = [0, 1, 2]
            file[f"{name}/labels"].attrs["class_names"] = names
    section = {"kind": "sequences", "uri": str(tmp_path / "x.h5"), "clip": {"frames": None}}
    section |= {"labels": {"arrays": "{folder}/labels"}, "classes": list("abc")}
    done = cut(DatasetConfig.model_validate(section), tmp_path)
    assert len(done.rows) == 3
    (failure,) = done.failures
    assert (failure.stage, failure.error_class) == ("labels", "class_names")


@pytest.mark.parametrize("as_file", [True, False])
def test_rows_are_those_that_were_selected_in_streams_and_in_files(tmp_path, as_file):
    """`select([2, 0])` and `save_to_disk`: two rows, in the order in which they were chosen."""
    table = pa.table({"image": [picture(np.full((*SHAPE, 3), n, np.uint8)) for n in range(3)]})
    table = table.append_column("label", pa.array([0, 1, 2])).take([2, 0])
    writer = pa.ipc.new_file if as_file else pa.ipc.new_stream
    with writer(tmp_path / "data-00000-of-00001.arrow", table.schema) as sink:
        sink.write_table(table)
    section = {"kind": "images", "uri": str(tmp_path / "*.arrow"), "labels": {"column": "label"}}
    config = DatasetConfig.model_validate({**section, "classes": list("abc")})
    assert classes_in(config, tmp_path) == ({0: 2, 1: 0}, [])
