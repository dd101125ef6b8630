"""Tries what `make release` has built: in an environment and a folder where nothing else is.

    python -m tests.versions.released dist

The wheel is installed into a new virtual environment; in an empty folder the demo runs from it, and
the tests of the wheel (an audit, a report, a night as rendered manifests start it) speak of it.
"""

import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

_ROOT = Path(__file__).parents[2]


def _call(command: list[str | Path], **options: object) -> None:
    print("$", *command, flush=True)
    subprocess.run([str(part) for part in command], check=True, **options)


def main() -> None:
    """Install, run the demo, run the tests of the wheel."""
    folder = Path(sys.argv[1]).resolve()
    (wheel,), (source,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "ray_audit/py.typed"} <= names, names
    with tempfile.TemporaryDirectory() as place:
        environment, empty = Path(place) / "environment", Path(place) / "empty"
        empty.mkdir()
        _call([sys.executable, "-m", "venv", environment])
        pip = [environment / "bin/python", "-m", "pip", "install", "--quiet"]
        _call([*pip, "--constraint", _ROOT / "constraints.txt", wheel])
        _call([environment / "bin/ray-audit", "demo"], cwd=empty)
        spoken_of = {"RAY_AUDIT_WHEEL": str(wheel), "RAY_AUDIT_ENVIRONMENT": str(environment)}
        tests = [sys.executable, "-m", "pytest", "-q", "tests/functional/test_wheel.py"]
        _call(tests, cwd=_ROOT, env={**os.environ, **spoken_of})


if __name__ == "__main__":
    main()
