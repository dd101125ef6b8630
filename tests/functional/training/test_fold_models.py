import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from scipy.stats import rankdata

from ray_audit.config import AuditConfig
from ray_audit.corrections.correct import correct
from ray_audit.corrections.options import CorrectionOptions
from ray_audit.engine.backends.local import LocalBackend
from ray_audit.engine.run.audit import run_audit
from ray_audit.engine.run.fold_run import run_folds
from ray_audit.errors import SpecificationError
from ray_audit.scores.class_losses import ClassLosses
from ray_audit.scores.ranking import combine_ranks
from ray_audit.tables.run_tables import RunTables
from ray_audit.training.fold_models import held_out_parts
from ray_audit.training.train import train
from tests.support.small_sets import (
    class_folders,
    feature_sequences,
    images_in_parquet,
    labelled_videos,
    masked_images,
)
from tests.support.tables import rows_of

NUM_FOLDS = 3
DATE = "2026-01-31"


def sequences(folder):
    return feature_sequences(folder, lengths=(9, 8, 7, 6, 5, 9))


def videos(folder):
    return labelled_videos(folder, num=5)


def images_with_masks(folder):
    return masked_images(folder, num=9)


def trained_folds(small_set, **training):
    for path in (small_set.folder / "checkpoints").glob("*"):
        path.unlink()
    settings = {"epochs": 2, "batch_size": 4, "folds": NUM_FOLDS, "records": True, "seed": 0}
    small_set.values |= {
        "checkpoints": str(small_set.folder / "checkpoints/epoch_*.safetensors"),
        "training": settings | training,
    }
    return train(small_set.config(), local=True)


@pytest.mark.parametrize(
    "make", [class_folders, images_with_masks, images_in_parquet, videos, sequences]
)
def test_each_sample_is_audited_once_by_models_that_never_saw_it(tmp_path, make):
    small_set = make(tmp_path)
    trained = trained_folds(small_set)
    whole = run_audit(
        small_set.config(checkpoints=trained.models[0].spec.replace("audit.yaml", "*.safetensors")),
        local=True,
    )
    everything = set(rows_of(whole, "scores")["sample_id"].to_pylist())
    audited = []
    for model in trained.models:
        config = AuditConfig.load(model.spec)
        assert config.protocol == "held_out"
        outcome = run_audit(config, local=True)
        assert len(outcome.manifest.checkpoints) == 2
        counts = outcome.counts
        assert counts["entered"] == counts["scored"] + counts["filtered"] + counts["failed"]
        assert counts["failed"] == 0
        scored = set(rows_of(outcome, "scores")["sample_id"].to_pylist())
        folder = tmp_path / f"checkpoints/fold_{model.fold}"
        seen = set(pq.read_table(folder / "records")["sample_id"].to_pylist())
        assert scored
        assert not scored & seen
        assert scored | seen == everything
        audited += scored
    assert sorted(audited) == sorted(everything)


def test_the_map_says_which_sample_is_where(tmp_path):
    trained = trained_folds(sequences(tmp_path))
    rows = pq.read_table(trained.fold_map).to_pylist()
    assert [row["key"] for row in rows] == [f"sequences.npz#s{n}" for n in range(6)]
    for row in rows:
        spec = yaml.safe_load((tmp_path / f"checkpoints/fold_{row['fold']}/audit.yaml").read_text())
        outcome = run_audit(AuditConfig.parse(spec), local=True)
        names = [
            name.rsplit("#", 1)[0] for name in rows_of(outcome, "scores")["sample_id"].to_pylist()
        ]
        assert row["key"] in names


def test_folds_are_other_models(tmp_path):
    trained = trained_folds(class_folders(tmp_path))
    last = [np.fromfile(model.checkpoints[-1], np.uint8) for model in trained.models]
    assert not np.array_equal(last[0], last[1])
    again = train(AuditConfig.load(_spec_file(tmp_path, trained)), local=True)
    assert [model.num_new_epochs for model in again.models] == [0] * NUM_FOLDS


def _spec_file(folder, trained):
    del trained
    values = yaml.safe_load((folder / "checkpoints/fold_0/audit.yaml").read_text())
    del values["dataset"]["fold"]
    values |= {
        "checkpoints": str(folder / "checkpoints/epoch_*.safetensors"),
        "training": {"epochs": 2, "batch_size": 4, "folds": NUM_FOLDS, "records": True, "seed": 0},
    }
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def test_more_folds_than_samples_are_refused_before_anything_is_written(tmp_path):
    small_set = labelled_videos(tmp_path, num=2)
    with pytest.raises(SpecificationError, match=r"of 5 has none of the 2 files"):
        trained_folds(small_set, folds=5)
    assert not list(tmp_path.glob("checkpoints/*"))


def test_folds_of_a_fold_are_refused(tmp_path):
    small_set = class_folders(tmp_path)
    small_set.values["dataset"]["fold"] = {"num": 2, "index": 0}
    with pytest.raises(SpecificationError, match="is a fold already"):
        trained_folds(small_set)


def beside_its_class(losses, labels):
    of_all = ClassLosses.of(losses.to_numpy(), labels.to_numpy(), np.bincount(labels))
    return of_all.finish().ranks(losses.to_numpy(), labels.to_numpy())


@pytest.mark.parametrize("make", [class_folders, images_with_masks, sequences])
def test_one_run_over_all_folds_ranks_all_samples_together(tmp_path, make):
    small_set = make(tmp_path)
    trained_folds(small_set)
    config = small_set.config()
    parts = held_out_parts(config)
    outcome = run_folds(config, parts, local=True, logical_date=DATE)
    apart = [run_audit(part, local=True, logical_date=DATE) for part in parts]
    assert all(item.reused for item in apart)
    mine = rows_of(outcome, "scores").to_pandas().set_index("sample_id").sort_index()
    theirs = pd.concat([rows_of(item, "scores").to_pandas() for item in apart])
    theirs = theirs.set_index("sample_id").sort_index()
    assert mine.index.is_unique
    pd.testing.assert_frame_equal(
        mine[["csl", "final_loss", "early_loss"]], theirs[["csl", "final_loss", "early_loss"]]
    )
    num = len(mine)
    if make is class_folders:
        weights = outcome.manifest.ranking["weights"]
        assert weights.keys() <= {"late_loss", "confidence", "prob_margin"}
        losses = mine[["late_loss", "prob_margin"]].assign(confidence=-np.log(mine["confidence"]))
        ranks = [
            (rankdata(-losses[name]) - 0.5) / num
            if name == "prob_margin"
            else beside_its_class(losses[name], mine["label"])
            for name in weights
        ]
        expected = combine_ranks(np.stack(ranks), np.array([*weights.values()]))
        np.testing.assert_allclose(mine["suspicion"], expected, atol=1e-6)
        assert not np.allclose(mine["suspicion"], theirs["suspicion"])
    manifest = outcome.manifest
    assert manifest.counts["scored"] == sum(item.counts["scored"] for item in apart) == num
    assert manifest.protocol == "held_out"
    json.dumps(manifest.memorisation, allow_nan=False)
    assert len(manifest.checkpoints) == 2
    findings = rows_of(outcome, "findings").to_pandas()
    assert (findings["rank"] == findings["suspicion"].rank(method="min", ascending=False)).all()
    assert run_folds(config, parts, local=True, logical_date=DATE).reused
    tables = RunTables(outcome.run_uri, manifest)
    assert tables.num_folds == NUM_FOLDS
    to = str(tmp_path / "corrected")
    if tables.task.is_dense:
        with pytest.raises(SpecificationError, match="each of the 3 folds"):
            correct(tables, LocalBackend, to, CorrectionOptions())
    else:
        spec = correct(tables, LocalBackend, to, CorrectionOptions()).spec
        # Only over folds are its checkpoints those that never saw the labels.
        assert AuditConfig.load(spec).protocol == "training"


def test_folds_that_do_not_go_together_are_refused(tmp_path):
    small_set = class_folders(tmp_path)
    with pytest.raises(SpecificationError, match="train with `--folds K` first"):
        held_out_parts(small_set.config())
    trained_folds(small_set)
    config = small_set.config()
    (tmp_path / "checkpoints/fold_1/epoch_002.safetensors").unlink()
    with pytest.raises(SpecificationError, match="1, 2 checkpoints"):
        run_folds(config, held_out_parts(config), local=True, logical_date=DATE)
    other = tmp_path / "checkpoints/fold_2/audit.yaml"
    other.write_text(other.read_text().replace("num: 3", "num: 4"))
    with pytest.raises(SpecificationError, match="of other folds"):
        held_out_parts(config)
