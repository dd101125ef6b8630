"""What the status of a RayJob says about its end.

KubeRay keeps two states: of the deployment (`jobDeploymentStatus`) and of the job that ran in it
(`jobStatus`). A job that somebody stopped is `Complete` too, and only `SUCCEEDED` is success.
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Any, Self

from ray_audit.printable import printable

SUSPENDED = ("Suspending", "Suspended")
WRONG_USAGE, GATE_BREACHED = 2, 3
# Ray's own words, before the end of the job's log.
_EXIT_CODE = re.compile(r"Job entrypoint command failed with exit code (\d+)")
_MAX_MESSAGE = 4000
_INSTANCE, _NAME = "app.kubernetes.io/instance", "app.kubernetes.io/name"


class Outcome(Enum):
    """How a RayJob ended, for whoever waited for it."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"
    INVALID = "invalid"
    DELETED = "deleted"
    SUSPENDED = "suspended"
    UNFINISHED = "unfinished"


@dataclass(frozen=True)
class JobState:
    """A RayJob as the API server shows it.

    Attributes:
        deployment: KubeRay's state, empty before its operator saw it.
        job: Ray's state.
        reason: KubeRay's word for a failure, e.g. `PreRunningDeadlineExceeded`.
        message: what KubeRay or Ray say, safe to print.
        uid: another one means another object of the same name.
        owner: the audit that it belongs to, by its labels.
        is_deleting: somebody asked for its deletion.
    """

    deployment: str
    job: str
    reason: str
    message: str
    uid: str = ""
    owner: str = ""
    is_deleting: bool = False

    @classmethod
    def of(cls, rayjob: dict[str, Any], name: str) -> Self:
        """Read the RayJob of a name.

        Raises:
            ValueError: it is something else.
        """
        metadata, status = _mapping(rayjob.get("metadata")), _mapping(rayjob.get("status"))
        is_job = rayjob.get("kind", "RayJob") == "RayJob" and (metadata or status)
        if not is_job or metadata.get("name", name) != name:
            actual = printable(f"{rayjob.get('kind')} {metadata.get('name')}")[:100]
            raise ValueError(f"expected RayJob {name}, got {actual}")
        return cls(
            deployment=_text(status.get("jobDeploymentStatus")),
            job=_text(status.get("jobStatus")),
            reason=_text(status.get("reason")),
            message=_text(status.get("message")),
            uid=_text(metadata.get("uid")),
            owner=owner_of(metadata),
            is_deleting=bool(metadata.get("deletionTimestamp")),
        )

    @property
    def outcome(self) -> Outcome | None:
        """How it ended; None while it can still change."""
        if self.deployment == "ValidationFailed":
            return Outcome.INVALID
        if self.deployment not in ("Complete", "Failed"):
            return None
        if self.job == "STOPPED":
            return Outcome.STOPPED
        is_success = self.deployment == "Complete" and self.job == "SUCCEEDED"
        return Outcome.SUCCEEDED if is_success else Outcome.FAILED

    @property
    def exit_code(self) -> int | None:
        """Of the job's own command, where Ray tells it."""
        found = _EXIT_CODE.match(self.message)
        return int(found[1]) if found else None

    @property
    def may_be_tried_again(self) -> bool:
        """Whether the same job could do better: not after a wrong specification or its deadline."""
        if self.outcome is not Outcome.FAILED or self.deployment != "Failed":
            return False
        if self.reason == "DeadlineExceeded":
            return False
        return self.exit_code not in (WRONG_USAGE, GATE_BREACHED)

    def __str__(self) -> str:
        parts = (self.deployment or "not started", self.job, self.reason)
        states = ", ".join(part for part in parts if part)
        return f"{states}: {self.message}" if self.message else states


def owner_of(metadata: dict[str, Any]) -> str:
    """The audit that an object belongs to; empty where no label says it."""
    labels = _mapping(metadata.get("labels"))
    return _text(labels.get(_INSTANCE)) or _text(labels.get(_NAME))


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return printable(value, keep="\n")[:_MAX_MESSAGE] if isinstance(value, str) else ""
