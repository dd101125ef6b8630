"""Options mean the same in all commands, and a command ends in one way."""

import json
import signal
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

import ray_audit
from ray_audit.cli import app, main
from ray_audit.cli.ending import ExitCode, ending
from ray_audit.cli.options import listed
from ray_audit.errors import CheckpointError, RunError, SpecificationError, StorageError
from ray_audit.interrupts import Interrupted

COMMANDS = typer.main.get_command(app).commands


def options(name):
    """Spelling -> option of a command; none for a group of commands."""
    if hasattr(COMMANDS[name], "commands"):
        return {}
    params = [param for param in COMMANDS[name].params if param.param_type_name == "option"]
    return {spelling: option for option in params for spelling in option.opts}


@pytest.mark.parametrize("spelling", ["--kind", "--class", "--to", "--run", "--local", "--json"])
def test_an_option_is_read_alike_wherever_it_is(spelling):
    found = [options(name)[spelling] for name in COMMANDS if spelling in options(name)]
    assert len(found) > 1
    assert len({(option.multiple, option.is_flag) for option in found}) == 1


def test_no_command_has_a_private_name_for_a_shared_option():
    for name in COMMANDS:
        plural = {"--kinds": "--kind", "--classes": "--class", "--scores": "--score"}
        for old, new in plural.items():
            assert (old in options(name)) == (new in options(name))
        if "--out" in options(name):
            assert "--to" in options(name)
        assert not [spelling for spelling in options(name) if spelling.startswith("--most")]


def test_every_option_and_command_is_explained():
    for name, command in COMMANDS.items():
        assert command.help or command.commands, name
        for spelling, option in options(name).items():
            assert option.help, f"{name} {spelling}"


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (None, None),
        ([], None),
        (["a,b"], ["a", "b"]),
        (["a", "b"], ["a", "b"]),
        (["a, b", "c"], ["a", "b", "c"]),
    ],
)
def test_lists_are_repeated_or_separated_by_commas(given, names):
    assert listed(given) == names


def test_the_version_is_printed_and_nothing_else():
    done = CliRunner().invoke(app, ["--version"])
    assert (done.exit_code, done.stdout) == (0, f"ray-audit {ray_audit.__version__}\n")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SpecificationError("wrong"), 2),
        (CheckpointError("wrong"), 2),
        (StorageError("away"), 1),
        (RunError("failed"), 1),
        (Interrupted(signal.SIGINT), 130),
        (Interrupted(signal.SIGTERM), 143),
    ],
    ids=lambda item: type(item).__name__,
)
def test_an_error_has_its_exit_code_and_a_line(error, code, capsys):
    def fail():
        with ending():
            raise error

    with pytest.raises(typer.Exit) as ended:
        fail()
    assert ended.value.exit_code == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error ")
    assert "Traceback" not in captured.err


def test_a_breached_gate_still_gives_its_answer(capsys):
    def breach():
        with ending(as_json=True) as answer:
            answer({"state": "complete"})
            raise typer.Exit(ExitCode.GATE_BREACHED)

    with pytest.raises(typer.Exit) as ended:
        breach()
    assert ended.value.exit_code == 3
    assert json.loads(capsys.readouterr().out) == {"state": "complete"}


def test_numbers_that_are_none_are_null_in_an_answer(capsys):
    with ending(as_json=True) as answer:
        answer({"a": float("nan"), "b": [float("inf"), 1.5], "c": (1,)})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, 1.5], "c": [1]}


def test_main_returns_the_exit_code(capsys):
    assert main(["--version"]) == 0
    assert main(["status"]) == 2
    assert main(["evaluate", "nowhere", "--truth", "none.csv"]) == 1


def test_a_command_in_which_something_leaves_the_process_has_failed(capsys):
    with pytest.raises(typer.Exit) as end, ending():
        sys.exit(0)
    assert end.value.exit_code == ExitCode.FAILED
    assert "ended the process with exit code 0" in capsys.readouterr().err


LEAVES = """
import os, sys, threading
from ray_audit.cli.ending import ending
how = sys.argv[1]
with ending():
    if how == "fork" and os.fork() == 0:
        os._exit(0)  # as `multiprocessing` ends a child
    if how == "main":
        os._exit(0)
    if how == "code":
        os._exit(7)
print("went on")
"""


@pytest.mark.parametrize(
    ("how", "code", "said"), [("main", 1, "error "), ("code", 7, ""), ("fork", 0, "went on")]
)
def test_a_process_that_something_ends_at_once_is_no_success(how, code, said):
    done = subprocess.run(
        [sys.executable, "-c", LEAVES, how], capture_output=True, text=True, check=False
    )
    assert done.returncode == code
    assert said in done.stdout + done.stderr
