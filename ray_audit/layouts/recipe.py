"""A recipe: what a published dataset looks like, and the specification that reads it."""

from pathlib import PurePosixPath
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ray_audit.errors import SpecificationError
from ray_audit.spec_yaml import explain, read_mapping

ROOT = "{root}"
"""Stands for the folder of the dataset in every text of a recipe."""

_Text = Annotated[str, Field(min_length=1)]


class Recipe(BaseModel):
    """A layout as data; each key of a recipe's file is described here."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    """What `dataset.layout` calls it; the file is named like it."""
    title: _Text
    """What people call it."""
    group: _Text = "your own"
    """Heading under which the docs have it: masks, volumes, video, sequences or images."""
    source: _Text = "your own"
    """Paper or site that describes it."""
    files: Annotated[list[_Text], Field(min_length=1)]
    """Patterns below the root that are all found where this dataset lies; `*` stays within one
    folder."""
    dataset: dict[str, Any]
    """The section `dataset` that it stands for, with `{root}` for the folder."""
    asks: dict[str, str] = {}
    """Keys that the layout does not settle, and what to give for them."""
    is_general: bool = False
    """Whether many datasets are laid out so: `init` looks closer then."""
    note: str = ""
    """What else is worth knowing."""

    @classmethod
    def load(cls, path: str) -> Self:
        """Read a recipe's file, local or in a store.

        Raises:
            SpecificationError: it cannot be read, or is no recipe; names the key.
        """
        values = read_mapping(path)
        values.setdefault("name", PurePosixPath(path).stem)
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise SpecificationError(explain(cls, error, f"recipe {path}")) from error
