"""One run over all folds of a damaged set: it counts, lists and refuses as a plain run does."""

import json
import shutil

import numpy as np
import pytest
import yaml

from ray_audit.engine.run.audit import run_audit
from ray_audit.engine.run.fold_run import run_folds
from ray_audit.errors import FailureBudgetError
from ray_audit.training.fold_models import held_out_parts
from tests.support.media import noise, png, write_tar
from tests.support.small_sets import CLASSES, SmallSet, class_folders, images_in_parquet, table
from tests.support.tables import rows_of

NUM_FOLDS = 2
LOSSY = {"failures": {"max_fraction": 1.0}}


def arrays(folder, **labels):
    rng = np.random.default_rng(0)
    (folder / "data").mkdir()
    for number in range(3):
        held = {}
        for name in ("s0", "s1", "s2", "s3"):
            held[name] = rng.normal(size=(6, 5)).astype(np.float32)
            held[f"{name}_label"] = np.arange(6) // 2
        np.savez(folder / f"data/f{number}.npz", **held)
    dataset = {
        "kind": "sequences",
        "uri": str(folder / "data/*.npz"),
        "labels": labels or {"arrays": "{key}_label"},
        "clip": {"frames": None},
    }
    return SmallSet(folder, dataset, "FrameModel", {"in_features": 5})


def cut_off(path, share=0.5):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def labels_in_arrays(folder):
    small = arrays(folder)
    cut_off(folder / "data/f1.npz")
    return small


def arrays_and_a_table(folder):
    rows = [
        {"video": f"f{number}.npz#s{i}", "frame": t, "label": "a"}
        for number in range(3)
        for i in range(4)
        for t in range(6)
    ]
    small = arrays(folder)
    small.values["dataset"]["labels"] = {"frames": str(table(folder / "frames.csv", rows))}
    index = folder / "data/f1.npz"
    content = bytearray(index.read_bytes())
    content[40:200] = bytes(160)  # the first array; the directory at the end stays
    index.write_bytes(content)
    return small


def rows_of_parquet(folder):
    small = images_in_parquet(folder, num_files=2)
    path = folder / "data/part1.parquet"
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 400] = bytes(400)
    path.write_bytes(content)
    return small


def tar_of_images(folder):
    (folder / "data").mkdir()
    for number in range(2):
        members = [(f"i{i}.png", png(noise(16, 16, 20 * number + i))) for i in range(12)]
        write_tar(folder / f"data/t{number}.tar", [*members, members[2]])
    return SmallSet(folder, {"kind": "images", "uri": str(folder / "data/*.tar")}, "ImageModel")


def tar_and_a_table(folder):
    small = tar_of_images(folder)
    rows = [
        {"image": f"t{number}.tar#i{i}", "label": CLASSES[i % 3]}
        for number in range(2)
        for i in range(12)
    ]
    small.values["dataset"]["labels"] = {"images": str(table(folder / "images.csv", rows))}
    cut_off(folder / "data/t1.tar")
    return small


def image_files(folder):
    small = class_folders(folder)
    (folder / "data/a/1.png").write_bytes(b"no image")
    return small


def folds_of(small):
    """As `train --folds` leaves them, with one checkpoint each: that of the set."""
    folder = small.folder / "checkpoints"
    weights, *others = sorted(folder.glob("*.safetensors"))
    for path in others:
        path.unlink()
    small.values["checkpoints"] = str(folder / "epoch_*.safetensors")
    for index in range(NUM_FOLDS):
        of_fold = folder / f"fold_{index}"
        of_fold.mkdir()
        shutil.copy(weights, of_fold)
        fold = {"num": NUM_FOLDS, "index": index, "part": "held_out"}
        values = small.values | {"dataset": small.values["dataset"] | {"fold": fold}}
        (of_fold / "audit.yaml").write_text(yaml.safe_dump(values))


def over_folds(small, **changes):
    config = small.config(**changes)
    return run_folds(config, held_out_parts(config), local=True, logical_date="2026-01-31")


SETS = [labels_in_arrays, arrays_and_a_table, rows_of_parquet, tar_and_a_table]


@pytest.mark.parametrize("make", SETS)
def test_a_damaged_file_counts_once_over_all_folds(tmp_path, make):
    small = make(tmp_path)
    folds_of(small)
    plain = run_audit(small.config(output=str(tmp_path / "plain"), **LOSSY), local=True)
    assert plain.counts["failed"]
    folds = over_folds(small, **LOSSY)
    assert folds.counts == plain.counts
    assert rows_of(folds, "errors").equals(rows_of(plain, "errors"))


def test_the_budget_is_that_of_all_folds_together_and_names_what_failed(tmp_path):
    small = image_files(tmp_path)
    folds_of(small)
    # One of 12 is less than a tenth; of the about six samples of its fold it is more.
    assert over_folds(small, failures={"max_fraction": 0.1}).counts["failed"] == 1
    with pytest.raises(FailureBudgetError, match=r"1 of 12 samples failed, .* a/1.png"):
        over_folds(small, output=str(tmp_path / "strict"), failures={"max_fraction": 0.05})
    (failure,) = tmp_path.glob("strict/runs/*/failure.json")
    (first,) = json.loads(failure.read_text())["first_failures"]
    assert (first["sample_id"], first["stage"]) == ("a/1.png", "decode")
