"""The JSON schema, and the pages that are written from it."""

import json
from pathlib import Path

import jsonschema
import pytest
from typer.testing import CliRunner

from ray_audit.cli import app
from ray_audit.config.page import filled, keys_of, table
from ray_audit.config.schema import json_schema
from tests.support.specifications import SPEC

DOCS = Path(__file__).parents[3] / "docs"
SECTIONS = {"": json_schema(), **json_schema()["$defs"]}


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_is_described_in_a_sentence(section):
    for name, key in SECTIONS[section]["properties"].items():
        assert key["description"].endswith("."), f"{section}.{name} needs a docstring"
        assert "\n" not in key["description"]


def test_the_command_prints_the_schema_as_one_object():
    done = CliRunner().invoke(app, ["schema"])
    assert (done.exit_code, json.loads(done.stdout)) == (0, json_schema())


@pytest.mark.parametrize(
    ("changes", "is_valid"),
    [({}, True), ({"outptu": "x"}, False), ({"protocol": "test"}, False), ({"output": ""}, False)],
)
def test_an_editor_tells_right_from_wrong_by_it(changes, is_valid):
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert jsonschema.Draft202012Validator(schema).is_valid({**SPEC, **changes}) == is_valid


@pytest.mark.parametrize("name", ["specification.md", "training.md"])
def test_the_tables_of_keys_are_what_the_program_writes(name):
    page = (DOCS / name).read_text(encoding="utf-8")
    assert filled(page) == page, "python -m ray_audit.config.page docs/*.md"


def test_every_section_has_its_table():
    pages = "".join((DOCS / f"{name}.md").read_text() for name in ("specification", "training"))

    def sections(above):
        for key in keys_of(above):
            if key.section is not None:
                name = f"{above}.{key.name}".lstrip(".")
                yield name
                yield from sections(name)

    assert [name for name in sections("") if f"<!-- keys: {name} -->" not in pages] == []


def test_a_table_shows_values_defaults_and_what_is_required():
    rows = table("dataset.clip").splitlines()
    assert rows[2].startswith("| `frames` | integer above 0 | Frames of a clip;")
    assert rows[2].endswith("| `32` |")
    assert "| `kind` | video, images, sequences |" in table("dataset")
    assert "| **required** |" in table("dataset")
    assert "`3e8`" in table("dataset")


def test_an_unknown_section_is_an_error():
    with pytest.raises(KeyError):
        table("dataset.clips")
