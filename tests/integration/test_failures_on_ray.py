"""On Ray, what goes wrong in other processes ends the run, soon and by name."""

import os
import subprocess
import sys
import time

import pytest

from ray_audit.errors import FailureBudgetError, PlanError, RunError
from tests.support.audits import audit, failure_file, refused
from tests.support.small_sets import MODELS, class_folders, labelled_videos

pytestmark = pytest.mark.integration


def on_ray(small_set, /, **changes):
    return audit(small_set, local=False, engine={"actors_per_pool": 1}, **changes)


def test_a_model_that_fails_in_every_actor_ends_the_run(tmp_path, cluster):
    images = class_folders(tmp_path)
    kwargs = {"num_classes": 3, "pid": os.getpid()}
    model = {"factory": f"{MODELS}:only_in_process", "kwargs": kwargs}
    began_s = time.monotonic()
    with pytest.raises(RunError, match="no licence on this process") as error:
        on_ray(images, model=model)
    assert time.monotonic() - began_s < 60
    assert "model.factory" in str(error.value)
    assert failure_file(images)["error_class"] == "RunError"
    assert not [name for name in images.files_written() if name.startswith("units/")]


def test_a_budget_that_is_exceeded_ends_the_pipeline_and_a_later_run_goes_on(tmp_path, cluster):
    videos = labelled_videos(tmp_path, num=4)
    (tmp_path / "data/v0.mp4").write_bytes(b"")
    with pytest.raises(FailureBudgetError):
        on_ray(videos, failures={"max_count": 0})
    outcome = on_ray(videos, failures={"max_count": 12})
    assert outcome.counts == outcome.counts | {"scored": 36, "failed": 12}


def test_more_actors_than_the_cluster_holds_are_refused_at_once(tmp_path, cluster):
    began_s = time.monotonic()
    message = refused(class_folders(tmp_path), PlanError, local=False, engine={"num_gpus": 1})
    assert time.monotonic() - began_s < 10
    assert "the cluster can hold 0: it has 0 GPU(s) and 2 CPU(s)" in message


def test_batches_that_the_object_store_cannot_hold_are_refused_at_once(tmp_path, cluster):
    videos = labelled_videos(tmp_path)
    model = videos.values["model"] | {"input": {"size": [4096, 4096]}}
    engine = {"batch_size": 512, "checkpoints_per_actor": 1}
    message = refused(videos, PlanError, local=False, engine=engine, model=model)
    assert "batches under way can take" in message
    assert "give Ray a larger object store" in message


def test_an_address_where_no_ray_answers_is_refused_at_once(tmp_path):
    images = class_folders(tmp_path)
    command = [sys.executable, "-m", "ray_audit", "run", str(images.spec_file())]
    ended = subprocess.run(
        [*command, "--address", "127.0.0.1:9"], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 1
    assert "no Ray cluster answers at 127.0.0.1:9" in ended.stderr
    assert "check --address or RAY_ADDRESS" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert images.files_written() == {}
