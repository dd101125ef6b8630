"""A user's function, imported and called: whatever it does, the audit ends with a sentence."""

import contextlib
import importlib
import inspect
import os
import reprlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from torch import nn

from ray_audit.checkpoints.model_identity import see_working_directory
from ray_audit.config import ModelConfig
from ray_audit.errors import SpecificationError
from ray_audit.processes import use_large_pages
from ray_audit.supervisor import LateError, watch_from_outside, within

Value = TypeVar("Value")

_SHOWN = reprlib.Repr()
_SHOWN.maxlevel, _SHOWN.maxstring = 3, 80


def build_model(config: ModelConfig, limit_s: float | None = None) -> nn.Module:
    """Call the user's factory; the model comes frozen and in eval mode.

    Args:
        config: names the factory.
        limit_s: seconds after which one that hangs is left behind; None waits.

    Raises:
        SpecificationError: the factory cannot be imported, raises, returns no module, or hangs.
    """
    return new_model(config, limit_s).eval().requires_grad_(False)


def new_model(config: ModelConfig, limit_s: float | None = None) -> nn.Module:
    """Call the user's factory, and leave the model as it gives it: for training.

    Args:
        config: names the factory.
        limit_s: seconds after which one that hangs is left behind; None waits.

    Raises:
        SpecificationError: the factory cannot be imported, raises, returns no module, or hangs.
    """
    use_large_pages()
    model = call_factory("model.factory", config.factory, config.kwargs, limit_s)
    if not isinstance(model, nn.Module):
        raise SpecificationError(
            f"model.factory {config.factory} returned {type(model).__name__}, "
            "expected a torch.nn.Module"
        )
    return model


def call_factory(
    key: str, path: str, kwargs: Mapping[str, Any], limit_s: float | None = None
) -> Any:
    """Import a user's function and call it; what it prints goes to standard error.

    Args:
        key: of the specification, for messages.
        path: `package.module:function`.
        kwargs: its arguments.
        limit_s: seconds after which a call that hangs is left behind; None waits.

    Raises:
        SpecificationError: it cannot be imported, raises, hangs, or ends the process.
    """
    if limit_s is None:
        return _called(key, path, kwargs)
    return started_within(limit_s, f"{key} {path}", lambda: _called(key, path, kwargs))


def _called(key: str, path: str, kwargs: Mapping[str, Any]) -> Any:
    module_name, _, attribute = path.partition(":")
    see_working_directory()
    with _contained():
        try:
            factory: Any = importlib.import_module(module_name)
            for part in attribute.split("."):
                factory = getattr(factory, part)
        except (Exception, SystemExit) as error:  # a user's module may raise anything
            raise SpecificationError(
                f"{key} {path}: cannot be imported ({_said(error)})"
                "; it must be on the Python path of every worker, as package.module:function"
            ) from error
        _hold_arguments(key, path, factory, kwargs)
        try:
            return factory(**kwargs)
        except (Exception, SystemExit) as error:
            given = _SHOWN.repr(dict(kwargs))
            raise SpecificationError(f"{key} {path} with {given} raised {_said(error)}") from error


def _hold_arguments(key: str, path: str, factory: Any, kwargs: Mapping[str, Any]) -> None:
    """Refuse arguments that a function does not take, with those that it does."""
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):  # of C: its call will tell
        return
    try:
        signature.bind(**kwargs)
    except TypeError as error:
        taken = signature.replace(return_annotation=inspect.Signature.empty)
        where = {"model.factory": "model.kwargs"}.get(key, f"{key}_kwargs")
        raise SpecificationError(
            f"{key} {path}: {error}; it takes {taken}, and {where} gives "
            f"{_SHOWN.repr(dict(kwargs))}"
        ) from error


def started_within(limit_s: float, what: str, call: Callable[[], Value]) -> Value:
    """Give what a call gives, unless it takes too long: then it is left behind.

    Args:
        limit_s: `engine.start_timeout_s`.
        what: is called, for the message.
        call: may hang.

    Raises:
        SpecificationError: it did not end in time.
    """
    watch_from_outside(limit_s)  # before it may take Python's lock
    try:
        return within(limit_s, call)
    except LateError:
        raise SpecificationError(
            f"{what} did not end within engine.start_timeout_s ({limit_s:g} s): does it wait for a "
            "download, a lock or an answer?"
        ) from None
    finally:
        watch_from_outside(None)


@contextlib.contextmanager
def _contained() -> Iterator[None]:
    """Keep a user's code from writing where results go, and from coming back twice."""
    process = os.getpid()
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        if os.getpid() != process:
            os._exit(1)  # a fork of the factory's, which would run the audit once more


def _said(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"SystemExit: it ended the process with sys.exit({error.code!r})"
    return f"{type(error).__name__}: {error}"
