"""Training under Ray Train gives what training in one process gives."""

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from ray_audit.errors import PlanError, RunError, SpecificationError
from ray_audit.training.train import train
from tests.support.audits import assert_counts_add_up, audit
from tests.support.small_sets import class_folders, labelled_videos

pytestmark = pytest.mark.integration

SETTINGS = {"epochs": 2, "learning_rate": 0.05, "batch_size": 4, "num_gpus": 0}


def trainable(small_set, checkpoints=None, **training):
    for path in (small_set.folder / "checkpoints").glob("*"):
        path.unlink()
    pattern = f"{checkpoints or small_set.folder / 'checkpoints'}/epoch_*.safetensors"
    small_set.values |= {"checkpoints": pattern, "training": SETTINGS | training}
    return small_set


def run(small_set, **options):
    done = []
    trained = train(
        small_set.config(), progress=lambda fold, epoch: done.append((fold, epoch)), **options
    )
    return trained, done


def test_one_worker_on_ray_trains_what_one_process_trains_and_the_audit_reads_it(
    cluster, bucket, tmp_path
):
    here = trainable(labelled_videos(tmp_path / "here"))
    there = trainable(labelled_videos(tmp_path / "there"), checkpoints=f"{bucket.uri}/models")
    there.values["dataset"]["uri"] = here.values["dataset"]["uri"]
    there.values["dataset"]["labels"] = here.values["dataset"]["labels"]
    _, done_here = run(here, local=True)
    trained, done_there = run(there)
    assert [(e.epoch, e.loss) for _, e in done_there] == [(e.epoch, e.loss) for _, e in done_here]
    (model,) = trained.models
    assert [uri.rsplit("/", 1)[1] for uri in model.checkpoints] == [
        "epoch_001.safetensors",
        "epoch_002.safetensors",
    ]
    outcome = audit(there)
    assert outcome.counts["scored"] == 36
    assert_counts_add_up(outcome)
    again, done = run(there)
    assert (again.models[0].num_new_epochs, done) == (0, [])


@pytest.mark.slow  # two workers each import torch, and so do those after them
def test_two_workers_share_the_samples_and_one_model(cluster, tmp_path):
    images = trainable(class_folders(tmp_path, num_each=3), workers=2, records=True)
    _, done = run(images)
    assert [epoch.num_samples for _, epoch in done] == [9, 9]
    rows = pq.read_table(tmp_path / "checkpoints/records").to_pandas()
    assert rows[rows.epoch == 2].sample_id.nunique() == 9
    first, second = (
        load_file(tmp_path / f"checkpoints/epoch_00{epoch}.safetensors") for epoch in (1, 2)
    )
    assert set(first) == {"head.weight", "head.bias", "trap"}
    assert not torch.equal(first["head.weight"], second["head.weight"])


@pytest.mark.slow
def test_errors_of_workers_come_back_as_they_are(cluster, tmp_path):
    images = trainable(class_folders(tmp_path))
    images.values["model"]["kwargs"] = {"num_classes": 4}
    with pytest.raises(SpecificationError, match="of 3 classes"):
        run(images)


@pytest.mark.slow  # in one process: tests/functional/training
def test_a_training_that_diverges_on_workers_says_at_which_epoch(cluster, tmp_path):
    diverged = trainable(class_folders(tmp_path), learning_rate=1e30, batch_size=1)
    with pytest.raises(RunError, match="mean loss of epoch 1 is nan"):
        run(diverged)


def test_too_small_a_cluster_is_told_at_once(cluster, tmp_path):
    images = trainable(class_folders(tmp_path), threads_per_worker=64)
    with pytest.raises(PlanError, match="64 CPU each"):
        run(images)


@pytest.mark.slow
def test_a_worker_that_is_lost_is_replaced_and_goes_on(cluster, tmp_path):
    images = trainable(class_folders(tmp_path / "a"), epochs=3)
    _, expected = run(images, local=True)
    dying = trainable(class_folders(tmp_path / "b"), epochs=3)
    dying.values["model"] = {
        "factory": "tests.support.tiny_models:DiesOnce",
        "kwargs": {"num_classes": 3, "marker": str(tmp_path / "died")},
    }
    _, done = run(dying)
    assert (tmp_path / "died").exists()
    assert [(epoch.epoch, epoch.loss) for _, epoch in done] == [
        (epoch.epoch, epoch.loss) for _, epoch in expected
    ]
