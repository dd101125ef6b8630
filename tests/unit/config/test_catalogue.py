"""Recipes of published layouts: what they stand for, and how one is named."""

import json
import re
from importlib.metadata import EntryPoint

import pytest
import yaml
from typer.testing import CliRunner

from ray_audit.cli import app
from ray_audit.config import AuditConfig, DatasetConfig
from ray_audit.errors import SpecificationError
from ray_audit.layouts import catalogue, recipe_named, recipe_names, recipes
from ray_audit.layouts.shown import yaml_lines
from tests.support.specifications import SPEC

GROUPS = {"masks", "volumes", "video", "sequences", "images"}


def written_out(dataset):
    return dataset.model_dump(mode="json", exclude_unset=True)


def stands_for(name, **overrides):
    return DatasetConfig.model_validate({"layout": name, "root": "s3://b/sets/x", **overrides})


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_stands_for_a_valid_section(name):
    recipe = recipe_named(name)
    assert recipe.name == name
    assert recipe.group in GROUPS
    text = str(recipe.dataset.get("classes", ""))
    open_ = {"classes": ["a", "b"]} if "{root}" in text or "classes" in recipe.asks else {}
    labels = recipe.dataset["labels"]
    if "panoptic" in labels or str(labels.get("masks")).endswith(".json"):
        open_["labels"] = {"values": {1: "void"}}  # else the document is read
    section = stands_for(name, **open_)
    assert "{root}" not in json.dumps(written_out(section))
    assert set(recipe.asks) <= set(DatasetConfig.model_fields)


def test_what_is_dumped_is_what_a_layout_stands_for_and_reads_the_same():
    section = stands_for("cholec80")
    plain = DatasetConfig.model_validate(
        {
            "kind": "video",
            "uri": "s3://b/sets/x/videos/*.mp4",
            "labels": {
                "frames": "s3://b/sets/x/phase_annotations/{stem}-phase.txt",
                "columns": {"frame": "Frame", "label": "Phase"},
            },
            "classes": section.classes,
            "clip": {"every": 25},
        }
    )
    assert section.model_dump() == plain.model_dump()
    assert written_out(section) == written_out(plain)
    assert DatasetConfig.model_validate(section.model_dump()) == plain


def test_keys_that_are_given_beside_a_layout_win_each_alone():
    section = stands_for("autolaparo", clip={"frames": 8}, labels={"columns": {"label": "P"}})
    assert section.clip.frames == 8
    assert section.clip.every == 25
    assert (section.labels.columns.frame, section.labels.columns.label) == ("Frame", "P")
    assert section.labels.fps == 1
    assert section.expansion.overrides == ("clip.frames", "labels.columns")
    ade = stands_for("ade20k", void=[], labels={"values": {0: "void", "1..150": "wall"}})
    assert ade.labels.first_value is None


def test_labels_of_another_form_replace_those_of_a_layout():
    section = stands_for("cholec80", labels={"segments": "s3://b/mine.csv"})
    assert section.labels.form == "segments"
    assert section.labels.columns.label == "label"


def test_wildcards_in_the_name_of_the_root_are_no_wildcards():
    section = DatasetConfig.model_validate({"layout": "cholec80", "root": "/d/[old]/"})
    assert section.uri == "/d/[[]old]/videos/*.mp4"
    assert section.labels.frames == "/d/[old]/phase_annotations/{stem}-phase.txt"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"layout": "colec80", "root": "/x"}, "did you mean cholec80"),
        ({"layout": "zzz", "root": "/x"}, "'zzz' is no known layout; .* `ray-audit layouts`"),
        ({"layout": "cholec80"}, "layout cholec80 needs root"),
        ({"layout": "cholec80", "root": "/x/{y}"}, "has braces"),
        ({"layout": "kinetics", "root": "/x"}, "leaves open classes: the names of the actions"),
        ({"kind": "images", "root": "/x"}, "root goes with layout"),
        ({"layout": "nowhere.yaml", "root": "/x"}, "cannot read the specification nowhere.yaml"),
        ({"layout": "cholec80", "root": "s3://key:secret@b/x"}, "credentials must not stand"),
    ],
)
def test_a_layout_that_cannot_be_expanded_is_refused_with_what_to_do(given, message):
    with pytest.raises(SpecificationError, match=message):
        AuditConfig.parse({**SPEC, "dataset": given})


OWN = {
    "title": "Ours",
    "files": ["pictures/*.png"],
    "dataset": {
        "kind": "images",
        "uri": "{root}/pictures/*.png",
        "labels": {"masks": "{root}/masks/{stem}.png"},
        "classes": ["a", "b"],
    },
}


def test_a_recipe_may_be_a_file_of_ones_own(tmp_path):
    path = tmp_path / "ours.yaml"
    path.write_text(yaml.safe_dump(OWN))
    section = DatasetConfig.model_validate({"layout": str(path), "root": "d"})
    assert section.labels.masks == "d/masks/{stem}.png"
    path.write_text(yaml.safe_dump({**OWN, "flies": []}))
    with pytest.raises(SpecificationError, match=r"ours\.yaml: flies: unknown key; did you mean f"):
        DatasetConfig.model_validate({"layout": str(path), "root": "d"})


@pytest.fixture
def offered(tmp_path, monkeypatch):
    """A package that offers one recipe."""
    folder = tmp_path / "acme_layouts"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "acme.yaml").write_text(yaml.safe_dump(OWN))
    monkeypatch.syspath_prepend(str(tmp_path))
    point = EntryPoint("acme", "acme_layouts", catalogue.GROUP)
    monkeypatch.setattr(catalogue, "entry_points", lambda group: [point])
    catalogue._places.cache_clear()
    yield folder
    catalogue._places.cache_clear()


def test_an_installed_package_offers_recipes(offered):
    assert "acme" in recipe_names()
    assert stands_for("acme").uri == "s3://b/sets/x/pictures/*.png"
    (offered / "cholec80.yaml").write_text(yaml.safe_dump(OWN))
    catalogue._places.cache_clear()
    with pytest.raises(SpecificationError, match="a recipe of the name cholec80 is there already"):
        recipe_names()


def test_the_command_lists_layouts_and_shows_one():
    done = CliRunner().invoke(app, ["layouts", "--json"])
    names = [layout["name"] for layout in json.loads(done.stdout)["layouts"]]
    assert names == [recipe.name for recipe in recipes()]
    assert CliRunner().invoke(app, ["layouts"]).stdout.count("\n") > len(names)
    shown = CliRunner().invoke(app, ["layouts", "camvid"])
    assert (shown.exit_code, '"#408040"' in shown.stdout or "'#408040'" in shown.stdout) == (
        0,
        True,
    )
    assert CliRunner().invoke(app, ["layouts", "camvit"]).exit_code == 2


def test_a_section_that_is_shown_whole_reads_as_it_was():
    for recipe in recipes():
        text = "\n".join(yaml_lines(recipe.dataset, None))
        assert yaml.safe_load(text) == recipe.dataset, recipe.name
        assert len(yaml_lines(recipe.dataset)) <= 12
        assert not re.search(r".{140}", recipe.title)
