"""What all sections of a specification share: their base class and their types."""

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from ray_audit.errors import SpecificationError, redacted
from ray_audit.spec_yaml import explain

Auto = Literal["auto"]
Count = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


def _user_info(uri: str) -> bool:
    try:
        parts = urlsplit(uri)
    except ValueError:  # a glob such as s3://[ab]/x is no URL, and may hold anything
        return "@" in uri.partition("://")[2].partition("/")[0]
    return bool(parts.scheme) and "@" in parts.netloc


def _without_credentials(uri: str) -> str:
    if _user_info(uri) or redacted(uri) != uri:
        raise ValueError(
            "credentials must not stand in a URI: leave them to the environment "
            "(AWS_ACCESS_KEY_ID, a profile, or a role)"
        )
    return uri


def _unchained(uri: str) -> str:
    """A chain of fsspec to a member of a zip archive as one URI; any other chain is refused.

    >>> _unchained("zip://train/*/*.png::s3://b/train.zip")
    'zip://s3://b/train.zip!/train/*/*.png'
    """
    if "::" not in uri:
        return uri
    inner, _, outer = uri.partition("::")
    if not inner.startswith("zip://") or "::" in outer or outer.startswith("zip://"):
        raise ValueError(
            f"{uri} chains filesystems; only zip://MEMBER::ARCHIVE is read, one archive deep. "
            "Unpack the archive, or copy the files to where they can be read directly"
        )
    return f"zip://{outer.removeprefix('file://')}!/{inner.removeprefix('zip://').lstrip('/')}"


Uri = Annotated[
    str, Field(min_length=1), AfterValidator(_without_credentials), AfterValidator(_unchained)
]


class Section(BaseModel):
    """A frozen mapping of known keys, each with a docstring, which is its description.

    Raises:
        SpecificationError: a key is unknown, missing or wrong; the message names the key and, for
            an unknown one, the nearest known.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise SpecificationError(explain(type(self), error, type(self).__name__)) from error

    # Else pydantic would call it for sections within sections, whose errors would lose their keys.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]
