"""What a user's model leaves running, or ends, when a command ends."""

import subprocess
import sys
import textwrap

import pytest
import yaml

from ray_audit.errors import SpecificationError
from tests.faults.drivers import REPOSITORY
from tests.support.audits import ALL_MAY_FAIL, audit, only_error
from tests.support.small_sets import class_folders

pytestmark = [pytest.mark.timeout(600)]

MODEL = """
    import multiprocessing, sys, threading, time
    from tests.support.tiny_models import ImageModel

    def with_thread(num_classes):
        # Without `daemon` it would be as the thread that starts it: ended with the process.
        thread = threading.Thread(target=time.sleep, args=(10**6,), name="prefetch", daemon=False)
        thread.start()
        return ImageModel(num_classes)

    def with_child(num_classes):
        multiprocessing.get_context("fork").Process(target=time.sleep, args=(10**6,)).start()
        return ImageModel(num_classes)

    def hangs(num_classes):
        time.sleep(10**6)

    def leaves(num_classes):
        sys.exit(0)

    class Leaves(ImageModel):
        def forward(self, images):
            if len(images) and (images.amax((1, 2, 3)) == 0).any():
                sys.exit(0)
            return super().forward(images)
"""


@pytest.fixture
def images(tmp_path):
    (tmp_path / "leaving_models.py").write_text(textwrap.dedent(MODEL))
    small = class_folders(tmp_path, num_each=2)
    small.values["model"] |= {"factory": "leaving_models:with_thread"}
    return small


def run(folder, spec):
    return subprocess.run(
        [sys.executable, "-m", "ray_audit", "run", str(spec), "--local"],
        capture_output=True,
        text=True,
        cwd=folder,
        env={"PYTHONPATH": f"{REPOSITORY}:{folder}", "PATH": "", "HOME": str(folder)},
        timeout=400,
        check=False,
    )


@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize(
    ("name", "said"),
    [("hangs", r"did not end within engine\.start_timeout_s"), ("leaves", r"sys\.exit\(0\)")],
)
def test_a_factory_that_hangs_or_leaves_is_told_before_an_engine_is_asked(
    tmp_path, images, monkeypatch, name, said, local
):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("ray_audit.engine.run.audit.opened_backend", None)
    images.values["model"]["factory"] = f"leaving_models:{name}"
    with pytest.raises(SpecificationError, match=said):
        audit(images, local=local, engine={"start_timeout_s": 1})
    assert not list(images.out.glob("runs/*/manifest.json"))


@pytest.mark.parametrize(("name", "left"), [("with_thread", "prefetch"), ("with_child", "process")])
def test_a_command_ends_though_its_model_left_something_running(tmp_path, images, name, left):
    images.values["model"]["factory"] = f"leaving_models:{name}"
    done = run(tmp_path, images.spec_file())
    assert done.returncode == 0, done.stderr
    assert len(list(images.out.glob("runs/*/manifest.json"))) == 1
    assert f"still there after the end, and not waited for: {left}" in done.stderr


def test_a_command_that_fails_ends_with_its_code_though_a_thread_goes_on(tmp_path, images):
    spec = images.spec_file(checkpoints=str(tmp_path / "none/*.safetensors"))
    values = yaml.safe_load(spec.read_text())
    assert "none" in values["checkpoints"]
    assert run(tmp_path, spec).returncode == 2


def test_a_model_that_leaves_the_process_fails_its_batch_and_is_no_success(
    tmp_path, images, monkeypatch
):
    """An exit code of 0 would be a night that nobody misses."""
    from tests.support.small_sets import picture

    monkeypatch.syspath_prepend(tmp_path)
    picture(tmp_path / "data/b/1.png", 0, black=True)
    images.values["model"]["factory"] = "leaving_models:Leaves"
    outcome = audit(images, **ALL_MAY_FAIL, engine={"batch_size": 1})
    row = only_error(outcome, "probe", "SystemExit")
    assert (row["sample_id"], outcome.counts["scored"]) == ("b/1.png", 5)
