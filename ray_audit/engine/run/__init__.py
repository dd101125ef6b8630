"""What the verbs call: a whole audit, its dry run, its state."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ray_audit.engine.run.audit import run_audit

__all__ = ["run_audit"]


def __getattr__(name: str) -> Any:
    # Only where it is asked for: what looks at states and progress does without torch.
    if name != "run_audit":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ray_audit.engine.run.audit import run_audit

    return run_audit
