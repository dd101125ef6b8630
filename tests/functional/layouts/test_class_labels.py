"""Labels of `datasets` as its files hold them: integers of no class are stored without a word.

Seen with datasets 5.2.0: `cast_column` and `map` store -1, -5 and 5 of three classes; a cast to
other names re-maps nothing; a column of masks may be of 1, 8, 16 or 32 bits, or floating point.
"""

import io
import json

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
