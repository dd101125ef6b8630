"""Tells how a run ended: `metrics.prom` in its folder and, where asked for, a Pushgateway."""

from urllib.error import URLError

from prometheus_client import pushadd_to_gateway

from ray_audit import storage
from ray_audit.config import AuditConfig
from ray_audit.metrics import RunResult, registry_of, render_outcome
from ray_audit.tables.manifest import METRICS

_JOB = "ray_audit"
_PUSH_TIMEOUT_S = 10.0


def tell_outcome(config: AuditConfig, run_uri: str, result: RunResult) -> list[str]:
    """Write the metrics of a run; push them where the specification says so.

    Returns:
        What went wrong with the push, for the manifest's notes: an audit does not fail by it.
    """
    storage.write_bytes(storage.join(run_uri, METRICS), render_outcome(result))
    gateway = config.metrics.pushgateway
    if gateway is None:
        return []
    try:
        # Adding keeps the time of the last success when a failed run says nothing of it.
        pushadd_to_gateway(
            gateway,
            job=_JOB,
            registry=registry_of(result),
            grouping_key={"audit": config.audit_label},
            timeout=_PUSH_TIMEOUT_S,
        )
    except (OSError, ValueError) as error:
        why = error.reason if isinstance(error, URLError) else error
        return [f"the Pushgateway at {gateway} was not told: {why}; metrics.prom has the outcome"]
    return []
