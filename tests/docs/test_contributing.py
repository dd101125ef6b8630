"""The examples of CONTRIBUTING.md do what it says."""

import functools
import re
import textwrap
from pathlib import Path

import yaml

from ray_audit.config import DatasetConfig
from ray_audit.exports.content import Content
from ray_audit.layouts import catalogue
from tests.support.published import masks, same_labels

PAGE = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")


def section(title):
    """What stands below a heading."""
    return re.split(r"^## ", PAGE.split(f"## {title}\n")[1], flags=re.MULTILINE)[0]


def indented(text):
    """The first block of code by indentation."""
    (first, *_) = re.findall(r"(?:^ {4}.*\n|^\n(?= {4}))+", text, re.MULTILINE)
    return textwrap.dedent(first)


def defined(code, namespace):
    exec(compile(code, "CONTRIBUTING.md", "exec"), namespace)
    return namespace


def test_the_layout_recipe_is_listed_and_reads_what_its_builder_built(tmp_path, monkeypatch):
    text = section("Add a layout recipe")
    recipe, builder = (re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)[0] for kind in KINDS)
    file = tmp_path / "leaf-spots.yaml"
    file.write_text(recipe)
    ours = catalogue._places()
    monkeypatch.setattr(catalogue, "_places", lambda: ours | {"leaf-spots": file})
    assert "leaf-spots" in catalogue.recipe_names()
    built = defined(builder, dict(vars(masks)))["leaf_spots"](tmp_path / "set")
    same_labels(DatasetConfig.model_validate(built.section(tmp_path / "set")), built.expected)
    assert yaml.safe_load(recipe)["title"] == "Leaf spots"


KINDS = ("yaml", "python")
