"""The examples of CONTRIBUTING.md, which are tried."""

import re
import textwrap
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")


def section(title):
    """What stands below a heading."""
    return re.split(r"^## ", PAGE.split(f"## {title}\n")[1], flags=re.MULTILINE)[0]


def indented(text):
    """The first block of code by indentation."""
    blocks = re.findall(r"(?:^(?: {4}.*)?\n)+", text, re.MULTILINE)
    return textwrap.dedent(next(block for block in blocks if block.strip())).lstrip("\n")
