"""The built package alone, in a folder without the checkout: all that is started is in it.

`make release` lets the same tests speak of what it has built: RAY_AUDIT_WHEEL names the wheel, and
RAY_AUDIT_ENVIRONMENT the virtual environment into which nothing but it was installed.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

import ray_audit
from tests.support import tiny_models
from tests.support.small_sets import class_folders

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "ray_audit"
DATE = "2026-01-31"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, so that what an earlier build left cannot get into it."""
    if "RAY_AUDIT_WHEEL" in os.environ:
        return Path(os.environ["RAY_AUDIT_WHEEL"])
    copy, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    shutil.copytree(SOURCE, copy / "ray_audit", ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    options = ["--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", str(out)]
    subprocess.run([*pip, "wheel", *options, str(copy)], check=True)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Runs a command of the installed package in an empty folder; its other packages are ours."""
    folder = tmp_path_factory.mktemp("elsewhere")
    shutil.copy(tiny_models.__file__, folder / "models.py")
    if "RAY_AUDIT_ENVIRONMENT" in os.environ:
        site = Path(os.environ["RAY_AUDIT_ENVIRONMENT"])
        paths, python_path = [site / "bin"], [folder]
    else:
        site = tmp_path_factory.mktemp("site")
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
        subprocess.run(
            [*pip, "install", "--no-deps", "--quiet", "--target", str(site), str(wheel)], check=True
        )
        paths, python_path = [site / "bin", Path(sys.executable).parent], [site, folder]
    env = {
        **os.environ,
        "PATH": os.pathsep.join([*map(str, paths), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join(map(str, python_path)),
    }

    def run(command):
        done = subprocess.run(
            shlex.split(command), cwd=folder, env=env, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run.folder, run.site = folder, site
    return run


@pytest.fixture(scope="module")
def small(installed):
    small = class_folders(installed.folder / "set")
    small.values["model"]["factory"] = "models:ImageModel"
    return small


def test_every_file_of_the_package_is_in_the_wheel(wheel):
    files = {
        str(path.relative_to(ROOT))
        for path in SOURCE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert packed == files


def test_it_is_the_installed_package_that_runs(installed):
    where = installed('python -c "import ray_audit; print(ray_audit.__file__)"').strip()
    assert Path(where).is_relative_to(installed.site)
    assert installed("ray-audit --version") == f"ray-audit {ray_audit.__version__}\n"
    assert installed("python -m ray_audit --version") == installed("ray-audit --version")


def test_it_prints_the_schema(installed):
    assert json.loads(installed("ray-audit schema"))["properties"]["dataset"]["description"]


def test_it_audits_and_reports(installed, small):
    spec = small.spec_file()
    done = json.loads(installed(f"ray-audit run {spec} --local --json --date {DATE}"))
    assert (done["state"], done["counts"]["scored"]) == ("complete", 12)
    assert installed(f"ray-audit report {small.out} --local --to page.html") == ""
    assert (installed.folder / "page.html").read_bytes().startswith(b"<!")


def test_the_rendered_manifests_start_what_is_installed(installed, small):
    spec = small.spec_file(output=str(installed.folder / "nights"))
    installed(f"ray-audit render k8s {spec} --to manifests --image example/image:1")
    documents = [
        item
        for path in (installed.folder / "manifests").rglob("*.yaml")
        for item in yaml.safe_load_all(path.read_text())
        if item is not None
    ]
    (job,) = (document for document in documents if document.get("kind") == "RayJob")
    entrypoint = job["spec"]["entrypoint"]
    assert "/etc/ray-audit/audit.yaml" in entrypoint
    command = entrypoint.replace("/etc/ray-audit/audit.yaml", str(spec))
    night = json.loads(installed(f"{command} --date {DATE} --local --json"))
    assert (night["date"], night["compared_with"]) == (DATE, None)
    assert (installed.folder / "nights/nights" / DATE / "night.json").is_file()
    (cron,) = (document for document in documents if document.get("kind") == "CronJob")
    (starter,) = cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert "usage:" in installed(f"{shlex.join(starter['command'])} --help").lower()
