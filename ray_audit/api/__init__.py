"""The verbs of `import ray_audit`, and a run as they return it; each loads what it needs."""

from ray_audit.api.run import Run
from ray_audit.api.verbs import (
    audit,
    correct,
    evaluate,
    export,
    init,
    inject,
    open_run,
    plan,
    status,
    train,
)

__all__ = [
    "Run",
    "audit",
    "correct",
    "evaluate",
    "export",
    "init",
    "inject",
    "open_run",
    "plan",
    "status",
    "train",
]
