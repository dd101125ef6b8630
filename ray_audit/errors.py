"""The errors of ray_audit, as one tree.

    RayAuditError
    ├── SpecificationError          what was asked for is wrong; nothing was started (exit code 2)
    │   ├── LabelError              a label table contradicts the specification or the data
    │   ├── MeasureError            a declared measure is wrong, or is not what is computed
    │   ├── CheckpointError         a checkpoint cannot be read, or does not fit the model
    │   └── PlanError               the plan cannot fit the cluster
    ├── StorageError                an object cannot be listed, read or written
    │   └── AlreadyThereError       somebody else wrote it first
    ├── SampleError                 one sample or shard is bad: becomes a row of the errors table
    └── RunError                    a run that started could not be completed (exit code 1)
        ├── FailureBudgetError      more samples failed than the specification allows
        └── StalledError            nothing was finished for too long

A message says what was got, where, what was expected, and what to do. It never repeats a
credential, whatever the library that it comes from wrote.
"""

import re
from collections.abc import Mapping

_QUERY_SECRET = re.compile(
    r"([?&;](?:x-amz-(?:signature|credential|security-token)|awsaccesskeyid|accesskeyid|"
    r"access_?key(?:_id)?|secret(?:_?access)?_?key|signature|sig|(?:access_|session)?token|"
    r"password|secret|x-goog-(?:signature|credential))=)[^&;\s'\"<>]*",
    re.IGNORECASE,
)
_USER_INFO = re.compile(r"(\w://)[^/\s@'\"]+@")


def redacted(text: str) -> str:
    """The text with credentials in URIs replaced by `***`.

    >>> redacted("GET https://me:secret@h/a?X-Amz-Signature=0f1e&x=1 failed")
    'GET https://***@h/a?X-Amz-Signature=***&x=1 failed'
    """
    return _USER_INFO.sub(r"\1***@", _QUERY_SECRET.sub(r"\1***", text))


class RayAuditError(Exception):
    """Any error that ray_audit raises on purpose; its message is redacted."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(redacted(arg) if isinstance(arg, str) else arg for arg in args))


class SpecificationError(RayAuditError):
    """The specification, or what it points to, is wrong; nothing was started."""


class LabelError(SpecificationError):
    """A label table contradicts the specification or the data."""


class MeasureError(SpecificationError):
    """A declared measure is wrong, or what is declared is not what is computed."""


class CheckpointError(SpecificationError):
    """A checkpoint cannot be read safely, or does not fit the model."""


class PlanError(SpecificationError):
    """The plan cannot fit the cluster."""


class StorageError(RayAuditError):
    """An object cannot be listed, read or written.

    Args:
        message: what was got, where, and what to do.
        may_pass: whether another try could do better: the store did not answer, or answered badly.

    Attributes:
        attempts: how often it was tried.
        of_label: whether it is the label of a sample.
    """

    def __init__(self, message: str, may_pass: bool = False) -> None:
        super().__init__(message)
        self.may_pass = may_pass
        self.attempts = 1
        self.of_label = False

    def named(self, what: str) -> RayAuditError:
        """The error of a specification that names what is not there.

        Where another try could do better it stays one of the store: nothing is wrong with what was
        asked for, and a scheduler must not be told so.
        """
        message = f"{what}: {self}"
        return StorageError(message, True) if self.may_pass else SpecificationError(message)


class AlreadyThereError(StorageError):
    """An object that was to be created is there already."""


class SampleError(RayAuditError):
    """One sample (or one shard) cannot be audited; the run goes on without it.

    Args:
        error_class: a short name from the closed list in `docs/tables.md`, e.g. `mask_size`.
        message: what was got, what was expected, and what to do.
        of_label: whether its label is at fault, wherever that was found.
    """

    def __init__(self, error_class: str, message: str, of_label: bool = False) -> None:
        super().__init__(message)
        self.error_class = error_class
        self.of_label = of_label


class RunError(RayAuditError):
    """A run that had started could not be completed."""


class FailureBudgetError(RunError):
    """More samples failed than `failures` in the specification allows.

    Args:
        message: what is told.
        counts: samples by outcome, where the run came to its end.
    """

    def __init__(self, message: str, counts: Mapping[str, int] | None = None) -> None:
        super().__init__(message)
        self.counts = dict(counts or {})


class StalledError(RunError):
    """No batch was finished for longer than the stated time."""
