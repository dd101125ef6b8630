"""Published datasets, tiny, as published: every label that is read back is compared.

Each is read by its recipe, or by the specification of the docs, and by what `init` writes for it.
"""

import inspect

import pytest

import ray_audit
from ray_audit.config import DatasetConfig
from ray_audit.layouts import recipe_names
from tests.support.published import Built, images, masks, objects, same_labels, video, volumes

FAMILIES = (masks, objects, volumes, video, images)


def builds(function):
    """Whether a function needs nothing but the folder to build in."""
    first, *others = inspect.signature(function).parameters.values()
    return first.name == "root" and all(other.default is not other.empty for other in others)


BUILDERS = {
    name: function
    for family in FAMILIES
    for name, function in inspect.getmembers(family, inspect.isfunction)
    if function.__module__ == family.__name__ and not name.startswith("_") and builds(function)
}


@pytest.mark.parametrize("name", BUILDERS)
def test_every_label_is_read_back_and_init_writes_what_reads_it(tmp_path, name):
    root = tmp_path / "set"
    built = BUILDERS[name](root)
    assert isinstance(built, Built)
    config = DatasetConfig.model_validate(built.section(root))
    same_labels(config, built.expected)
    if built.init:
        draft = ray_audit.init(root)
        drafted = DatasetConfig.model_validate(draft.specification["dataset"])
        same_labels(drafted, built.expected)


def test_every_recipe_is_built_here(tmp_path):
    built = {function(tmp_path / name).layout for name, function in BUILDERS.items()}
    assert sorted(set(recipe_names()) - built) == []


@pytest.mark.parametrize(
    ("name", "layout"), [("cholec80", "NCHW"), ("ms_tcn", "ND"), ("camus", None)]
)
def test_a_draft_says_what_to_write_for_a_model_of_single_frames(tmp_path, name, layout):
    BUILDERS[name](tmp_path)
    text = " ".join(ray_audit.init(tmp_path).text.replace("#", "").split())
    said = "{layout: %s} where the model looks at single frames"
    found = [order for order in ("NCHW", "ND") if said % order in text]
    assert found == ([] if layout is None else [layout])
