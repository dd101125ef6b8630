"""Names of files, classes and servers cannot act on a terminal, nor forge a line of a log."""

import io

import pytest
from rich.table import Table
from rich.text import Text

from ray_audit.console.lines import SafeConsole, fail, say

TITLE = "x\x1b]0;TITLE\x07.png"
SEEN = {"\x1b", "\x07", "\x9b", "\u202e", "\r"}


def shown(*objects, **options):
    stream = io.StringIO()
    SafeConsole(file=stream, width=200).print(*objects, **options)
    return stream.getvalue()


@pytest.mark.parametrize(
    "name", [TITLE, "a\x9b31mb", "a\u202egnp.exe", "a\rb", "a\x08b"], ids=ascii
)
def test_what_a_terminal_acts_on_is_shown_as_an_escape(name):
    table = Table(name)
    table.add_row(name)
    for item in (name, Text(name), table):
        text = shown(item)
        assert not SEEN & set(text)
        assert text.strip()


def test_a_name_makes_no_line_of_its_own(capsys):
    name = "a\nerror everything is deleted\n\nnote x.png"
    for tell in (say, fail):
        tell(name)
        first, *rest = capsys.readouterr().err.splitlines()
        assert first.endswith("a")
        assert all(not line or line.startswith("  ") for line in rest)


def test_what_is_ours_stays_as_it_is():
    assert shown("\n[bold]Run[/] 手術 🙂") == "\nRun 手術 🙂\n"


def test_colours_still_reach_a_terminal():
    stream = io.StringIO()
    SafeConsole(file=stream, force_terminal=True, color_system="standard").print("[red]x[/]")
    assert "\x1b[31m" in stream.getvalue()
