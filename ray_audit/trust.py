"""Whose model may be called: that of a specification on this machine, never that of a result alone.

A specification is code: it names a function, which is called. A run's manifest has the same words,
and whoever may write to an output, or hands a run on, writes them. So they are called where this
user ran that specification before, gives one now, or says so.
"""

import contextlib
import json
import os
from pathlib import Path

from ray_audit import storage
from ray_audit.config import ModelConfig
from ray_audit.errors import SpecificationError

_MAX_KNOWN = 10_000


def check_trusted(model: ModelConfig, is_trusted: bool) -> None:
    """Refuse to call what only a manifest names.

    Raises:
        SpecificationError: says how to allow it.
    """
    if not (is_trusted or is_known(model)):
        raise SpecificationError(
            f"this needs the run's model, and its manifest names {model.factory} with "
            f"{_shown(model)}: a function that would be called here. Give your own specification "
            "(--spec FILE), or --trust if you know who wrote this run"
        )


def is_known(model: ModelConfig) -> bool:
    """Whether this user audited with that factory and these arguments on this machine."""
    try:
        return _digest(model) in _file().read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return False


def remember(model: ModelConfig) -> None:
    """Keep that a specification of this user names that factory; no harm where it cannot be."""
    digest = _digest(model)
    with contextlib.suppress(OSError, ValueError):
        file = _file()
        known = file.read_text(encoding="ascii").split() if file.exists() else []
        if digest not in known:
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with file.open("a", encoding="ascii") as stream:
                stream.write(f"{digest}\n")
        if len(known) > _MAX_KNOWN:
            storage.write_bytes(str(file), "\n".join([*known[_MAX_KNOWN // 2 :], ""]).encode())


def _file() -> Path:
    folder = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state"
    return Path(folder) / "ray-audit/models"


def _digest(model: ModelConfig) -> str:
    return storage.digest(model.factory, json.dumps(model.kwargs, sort_keys=True, default=str))


def _shown(model: ModelConfig) -> str:
    text = json.dumps(model.kwargs, sort_keys=True, default=str)
    return text if len(text) <= 200 else f"{text[:200]}..."
