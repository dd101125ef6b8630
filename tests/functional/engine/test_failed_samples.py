"""A sample that fails changes no score of another one, nor what is told of classes."""

import numpy as np
import pytest
from PIL import Image

from tests.support.audits import ALL_MAY_FAIL, audit, with_trap
from tests.support.small_sets import MODELS, SmallSet, masked_images
from tests.support.tables import assert_identical, rows_of

NUM_MASKS = 5
TABLES = ("scores", "trajectories", "class_stats", "class_pairs")


def masks(folder, model="TrappedPixels", failing=NUM_MASKS - 1):
    """Masked images, of which one is all zeros in its upper half."""
    small = masked_images(folder, NUM_MASKS)
    small.values["model"] |= {"factory": f"{MODELS}:{model}"}
    path = folder / f"data/images/i{failing}.png"
    pixels = np.asarray(Image.open(path)).copy()
    pixels[:8] = 0
    Image.fromarray(pixels).save(path)
    for epoch in range(3):
        with_trap(small, epoch, is_set=False)
    return small


def without_last(small):
    """The same set without the image that fails."""
    for kind in ("images", "masks"):
        (small.folder / f"data/{kind}/i{NUM_MASKS - 1}.png").unlink()
    return small


def assert_others_are_the_same(outcome, expected, tables=TABLES):
    assert expected.counts["scored"] == outcome.counts["scored"] > 0
    assert outcome.counts["failed"] > 0
    for name in tables:
        actual, requested = rows_of(outcome, name).to_pydict(), rows_of(expected, name).to_pydict()
        assert actual.keys() == requested.keys()
        for column, values in requested.items():
            if values and isinstance(values[0], float):
                np.testing.assert_allclose(
                    np.array(actual[column], float),
                    np.array(values, float),
                    atol=1e-6,
                    err_msg=column,
                )
            elif column != "predicted_as" and not isinstance(values[:1] and values[0], list):
                assert actual[column] == values, f"{name}.{column}"


@pytest.mark.parametrize(
    ("epoch", "changes"),
    [(0, {}), (2, {}), (0, {"confident": "exact"}), (2, {"adaptive": {"budget": 0.7}})],
)
def test_a_mask_that_fails_at_a_checkpoint_counts_in_nothing_of_the_others(
    tmp_path, epoch, changes
):
    failing, whole = masks(tmp_path / "failing"), masks(tmp_path / "whole")
    with_trap(failing, epoch)
    changes = {"scores": ["csl", "softmin"], **changes}
    if "adaptive" in changes:  # who stays depends on who else is in the batch
        changes["engine"] = {"batch_size": 1}
    outcome = audit(failing, **ALL_MAY_FAIL, **changes)
    assert outcome.counts["failed_by_stage"] == {"scores": 1}
    assert_others_are_the_same(outcome, audit(without_last(whole), **changes))


def test_tiles_of_a_mask_that_fails_in_another_tile_count_in_nothing(tmp_path):
    """Its upper tiles give NaN; its lower ones, in other batches, are fine."""
    changes = {"scores": ["csl", "softmin"], "engine": {"batch_size": 1}}
    failing, whole = masks(tmp_path / "failing"), masks(tmp_path / "whole")
    with_trap(failing, 1)
    for small in (failing, whole):
        small.values["dataset"] |= {"tile": {"size": 8, "overlap": 0}}
    outcome = audit(failing, **ALL_MAY_FAIL, **changes)
    assert_others_are_the_same(outcome, audit(without_last(whole), **changes))


def test_a_mask_that_fails_at_a_later_nights_checkpoint_leaves_the_earlier_ones_too(tmp_path):
    small = masks(tmp_path)
    changes = {"scores": ["csl", "softmin"], **ALL_MAY_FAIL}
    last = tmp_path / "checkpoints/epoch_2.safetensors"
    content = last.read_bytes()
    last.unlink()
    assert audit(small, **changes).counts["failed"] == 0
    last.write_bytes(content)
    with_trap(small, 2)
    second = audit(small, **changes)
    assert second.counts["failed"] == 1
    assert_identical(second, audit(small, output=str(tmp_path / "fresh"), **changes))
    given = {row["checkpoint"]: 0 for row in rows_of(second, "class_stats").to_pylist()}
    for row in rows_of(second, "class_stats").to_pylist():
        given[row["checkpoint"]] += row["num_given"]
    assert set(given.values()) == {16 * 16 * (NUM_MASKS - 1)}


def sequences(folder, num):
    """Sequences that go through the classes in order; the last of `num` is zeros, in disorder."""
    rng = np.random.default_rng(0)
    (folder / "data").mkdir(parents=True)
    arrays = {}
    for index in range(6):
        arrays[f"s{index}"] = rng.normal(size=(12, 5)).astype(np.float32)
        arrays[f"s{index}_label"] = np.arange(12) * 3 // 12
    arrays["t"], arrays["t_label"] = np.zeros((12, 5), np.float32), np.tile([2, 1, 0], 4)
    np.savez(folder / "data/s.npz", **dict(list(arrays.items())[: 2 * num]))
    dataset = {
        "kind": "sequences",
        "uri": str(folder / "data/s.npz"),
        "labels": {"arrays": "{key}_label"},
        "clip": {"frames": None},
    }
    return SmallSet(folder, dataset, "TrappedFrames", {"in_features": 5})


def test_a_sequence_that_fails_whole_has_no_part_in_the_order_of_segments(tmp_path):
    failing, whole = sequences(tmp_path / "failing", 7), sequences(tmp_path / "whole", 6)
    for epoch in range(3):
        with_trap(failing, epoch)
    outcome = audit(failing, **ALL_MAY_FAIL)
    expected = audit(whole)
    assert outcome.counts["failed"] == 12
    assert_others_are_the_same(outcome, expected)
    assert outcome.manifest.order == expected.manifest.order
