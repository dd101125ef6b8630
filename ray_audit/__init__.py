"""Finds and corrects wrong labels in video and image datasets, on Ray.

    >>> import ray_audit
    >>> run = ray_audit.audit("audit.yaml")                    # doctest: +SKIP
    >>> run.findings().to_pandas()                             # doctest: +SKIP
    >>> run.correct("corrected")                               # doctest: +SKIP

Importing this package starts nothing and imports neither ray nor torch.
"""

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
from ray_audit.config import AuditConfig
from ray_audit.errors import (
    CheckpointError,
    FailureBudgetError,
    LabelError,
    PlanError,
    RayAuditError,
    RunError,
    SpecificationError,
    StalledError,
    StorageError,
)

__all__ = [
    "AuditConfig",
    "CheckpointError",
    "FailureBudgetError",
    "LabelError",
    "PlanError",
    "RayAuditError",
    "Run",
    "RunError",
    "SpecificationError",
    "StalledError",
    "StorageError",
    "__version__",
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

__version__ = "0.2.0"
