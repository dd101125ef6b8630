"""Pages about datasets say what the recipes say."""

import re
from pathlib import Path

import yaml

from ray_audit.config import AuditConfig
from ray_audit.layouts import recipes
from ray_audit.layouts.page import filled, table

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGE = ROOT / "docs/datasets.md"


def test_the_tables_of_layouts_are_written_from_the_recipes():
    page = PAGE.read_text(encoding="utf-8")
    assert filled(page) == page, "python -m ray_audit.layouts.page docs/datasets.md"


def test_every_layout_has_its_row():
    page = PAGE.read_text(encoding="utf-8")
    assert [recipe.name for recipe in recipes() if f"| `{recipe.name}` " not in page] == []
    assert table("masks").count("\n") > 10


def test_the_first_specification_of_the_landing_page_is_one_of_the_layouts():
    (first, *_) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    config = AuditConfig.parse(yaml.safe_load(first))
    assert config.dataset.expansion.recipe.name in {recipe.name for recipe in recipes()}
    assert config.dataset.clip.every == 5
