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


Uri = Annotated[str, Field(min_length=1), AfterValidator(_without_credentials)]


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
