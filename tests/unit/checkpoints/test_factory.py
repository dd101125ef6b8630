"""What a user's factory may do, and what it is made of."""

import json
import subprocess
import sys
import textwrap
import time

import pytest

from ray_audit.checkpoints.factory import build_model, call_factory, started_within
from ray_audit.checkpoints.model_identity import identity_of
from ray_audit.config import ModelConfig
from ray_audit.errors import SpecificationError

FACTORY = """
    import os, sys
    from torch import nn

    print("imported")

    def leaves():
        sys.exit(0)

    def prints():
        print("built")
        return nn.Linear(1, 1)

    def forks():
        if os.fork():
            os.wait()
        return nn.Linear(1, 1)
"""


@pytest.fixture
def odd(tmp_path, monkeypatch):
    name = f"odd_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(FACTORY))
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_a_factory_that_ends_the_process_is_an_error(odd):
    with pytest.raises(SpecificationError, match=r"it ended the process with sys\.exit\(0\)"):
        call_factory("model.factory", f"{odd}:leaves", {})


def test_arguments_that_a_factory_does_not_take_are_told_with_those_that_it_does():
    path = "ray_audit.training.models:small_cnn"
    with pytest.raises(
        SpecificationError,
        match=r"missing a required argument: 'num_classes'; it takes \(num_classes: int, .*\), and "
        r"model\.kwargs gives \{\}",
    ):
        build_model(ModelConfig(factory=path))
    with pytest.raises(
        SpecificationError, match=r"'depth'; it takes .*training\.loss_kwargs gives"
    ):
        call_factory("training.loss", path, {"num_classes": 3, "depth": 4})


def test_a_module_that_ends_the_process_on_import_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "leaving_module.py").write_text("raise SystemExit('no licence')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SpecificationError, match=r"cannot be imported.*no licence"):
        call_factory("model.factory", "leaving_module:f", {})


def test_what_a_factory_prints_goes_to_standard_error(odd, capsys):
    build_model(ModelConfig(factory=f"{odd}:prints"))
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "imported\nbuilt\n"


def test_a_fork_of_a_factory_goes_no_further(odd, tmp_path):
    script = (
        f"from ray_audit.checkpoints.factory import call_factory\n"
        f"call_factory('model.factory', '{odd}:forks', {{}})\n"
        f"open({str(tmp_path / 'ran')!r}, 'a').write('x')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=False)
    assert done.returncode == 0
    assert (tmp_path / "ran").read_text() == "x"


def test_a_call_that_hangs_is_left_behind_in_time():
    started = time.monotonic()
    with pytest.raises(SpecificationError, match=r"f did not end within engine\.start_timeout_s"):
        started_within(0.2, "f", lambda: time.sleep(60))
    assert time.monotonic() - started < 30


def test_a_call_within_its_time_gives_its_value_and_its_error():
    assert started_within(60, "f", lambda: 3) == 3
    with pytest.raises(KeyError):
        started_within(60, "f", lambda: {}["x"])


def test_modules_in_the_working_directory_do_not_hide_others(tmp_path, monkeypatch):
    (tmp_path / "fractions.py").write_text("raise AssertionError('hides the standard one')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "fractions", raising=False)
    monkeypatch.setattr(sys, "path", [item for item in sys.path if item])
    assert call_factory("model.factory", "fractions:Fraction", {}) == 0


def identity(factory="models_here:net", **changes):
    return identity_of(ModelConfig.model_validate({"factory": factory} | changes))


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "models_here.py").write_text("import blocks_here\ndef net(): ...\n")
    (tmp_path / "blocks_here.py").write_text("WIDTH = 1\n")
    (tmp_path / "unrelated.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["models_here.py", "blocks_here.py"])
def test_code_of_the_factory_and_of_what_it_imports_is_part_of_a_model(here, name):
    before = identity()
    assert before == identity()
    (here / "unrelated.py").write_text("x = 2\n")
    assert before == identity()
    (here / name).write_text((here / name).read_text() + "# other\n")
    assert before != identity()


def test_code_of_a_package_is_part_of_a_model(here):
    (here / "package_here").mkdir()
    (here / "package_here/__init__.py").touch()
    (here / "package_here/nets.py").write_text("def net(): ...\n")
    before = identity("package_here.nets:net")
    (here / "package_here/more.py").write_text("x = 1\n")
    assert before != identity("package_here.nets:net")


def test_of_an_installed_package_the_version_counts():
    (part,) = identity("torch.nn:Linear").parts
    assert part.startswith("code torch 2.")
    assert identity("ray_audit.training.models:unet").parts == ()


def test_files_named_in_arguments_are_part_of_a_model(here):
    (here / "a.json").write_text("{}")
    kwargs = {"kwargs": {"config": {"path": str(here / "a.json")}, "width": 3, "name": "resnet"}}
    before = identity(**kwargs)
    assert before.notes == ()
    (here / "a.json").write_text(json.dumps({"a": 1}))
    assert before.parts != identity(**kwargs).parts


def test_a_file_that_cannot_be_read_is_said(here):
    (note,) = identity(kwargs={"config": str(here / "none.json")}).notes
    assert "model.kwargs.config looks like a file" in note
    assert "will not notice" in note


def test_an_error_shows_few_of_many_arguments(odd):
    with pytest.raises(SpecificationError) as error:
        call_factory("model.factory", f"{odd}:leaves", {"x": [[0] * 1000] * 1000})
    assert len(str(error.value)) < 1000
