"""ADELE's rule after training: each class by the checkpoint of its onset."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from ray_audit.errors import SpecificationError
from ray_audit.tables.run_tables import RunTables
from ray_audit.tables.store import write_table
from tests.support import knowing
from tests.support.audits import audit
from tests.support.corrected import corrected, masks_at


def adele_set(folder, sureness=(0.2, 1.5, 5, 6, 6, 6)):
    return knowing.masks(folder, sureness=sureness)


def with_onsets(small, onsets):
    """Onsets as an audit of a longer training would have found them."""
    audit(small)
    run = RunTables.open(str(small.out))
    table = run.whole("class_stats")
    names = table["class"].to_pylist()
    for column, values in (
        ("onset_epoch", [onsets[name] for name in names]),
        ("onset_reason", ["as planted" for _ in names]),
    ):
        at = table.schema.get_field_index(column)
        field = table.schema.field(at)
        table = table.set_column(at, field, pa.array(values, field.type))
    planted = [write_table(run.run_uri, "class_stats", 1, table)]
    tables = run.manifest.tables | {"class_stats": planted}
    values = asdict(replace(run.manifest, tables=tables))
    Path(run.run_uri, "manifest.json").write_text(json.dumps(values, default=str))
    return small


def test_adele_takes_each_class_at_its_own_onset(tmp_path):
    # At epoch 2 the model is unsure (p = 0.69 < 0.7), from epoch 3 on it is sure: class b, whose
    # onset is epoch 2, must not be corrected, and is with the onset 3.
    small = with_onsets(adele_set(tmp_path), {"a": None, "b": 2, "c": 3})
    done = corrected(small, rule="adele")
    assert done.checkpoints == ("epoch_1.safetensors", "epoch_2.safetensors")
    # b is nowhere in the wrong masks: the rule adds no class that an image does not have.
    assert done.num_changed == 0


def test_adele_corrects_what_the_image_has(tmp_path):
    small = adele_set(tmp_path)
    path = tmp_path / "data/masks/i0.png"
    image = Image.open(path)
    mask = np.asarray(image).copy()
    mask[2:6][mask[2:6] == 1] = 0  # a part of the green block is missing
    new = Image.fromarray(mask)
    new.putpalette(image.getpalette())
    new.save(path)
    small = with_onsets(small, {"a": None, "b": 3, "c": None})
    with pytest.raises(SpecificationError, match=r"c: as planted.*--class b could be corrected"):
        corrected(small, rule="adele")
    done = corrected(small, rule="adele", classes=("b",))
    np.testing.assert_array_equal(masks_at(done, "files")[0], knowing.given_mask(0, ()))
    assert done.checkpoints == ("epoch_2.safetensors",)
    assert done.pairs == [{"given": "a", "corrected": "b", "num": 4 * 10}]


def test_the_background_is_named(tmp_path):
    small = with_onsets(adele_set(tmp_path), {"a": 3, "b": 3, "c": None})
    with pytest.raises(SpecificationError, match="--background zebra: expected one of a, b, c"):
        corrected(small, rule="adele", background="zebra")
    # c has no onset; as the background it needs none.
    done = corrected(small, rule="adele", background="c")
    assert done.checkpoints == ("epoch_2.safetensors",)
