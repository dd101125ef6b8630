#!/usr/bin/env bash
# Typer before 0.18, with the click that it lets in: a required argument that is not given is None, and no error.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset PYTHONPATH
cat > "$work/show.py" <<'PYTHON'
import platform
import sys
from importlib.metadata import version

import click
import typer

is_refused_expected = bool(int(sys.argv[1]))
app = typer.Typer()
taken = []


@app.command()
def show(folder: str = typer.Argument(...)) -> None:
    taken.append(folder)


@app.command()
def other() -> None:
    """A second command, so that the first has a name."""


try:
    app(["show"], standalone_mode=False)
    seen = f"the command runs, with folder={taken[0]!r}"
except click.UsageError as error:
    seen = f"{type(error).__name__}"
print(f"Python {platform.python_version()}, typer {version('typer')}, click {version('click')}")
print("input: a command with one required argument, called without it")
print("guess: a usage error")
print(f"seen:  {seen}")
assert (not taken) == is_refused_expected, "it has changed"
PYTHON
for version in old new; do python3 -m venv "$work/$version"; done
"$work/old/bin/pip" install -q --disable-pip-version-check typer==0.17.0 click==8.5.1
"$work/new/bin/pip" install -q --disable-pip-version-check typer==0.18.0 click==8.5.1
"$work/old/bin/python" "$work/show.py" 0
"$work/new/bin/python" "$work/show.py" 1
echo "unchanged: whoever requires arguments asks for typer 0.18"
