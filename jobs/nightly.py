"""One night as a Ray job: `python nightly.py SPEC [--date YYYY-MM-DD]`.

Audits the logical date once, compares it with the night before, applies the gates, and tells
Prometheus. Running it twice for a date does nothing the second time.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from ray_audit.config import AuditConfig
from ray_audit.console.lines import fail, say
from ray_audit.console.outcome import print_outcome
from ray_audit.console.progress import ConsoleReporter
from ray_audit.engine.run.audit import RunOutcome, run_audit
from ray_audit.errors import RayAuditError, SpecificationError
from ray_audit.nightly.night import resolve_date, run_night, scheduled_date, time_zone


def _arguments(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("spec")
    parser.add_argument(
        "--date",
        help="logical date; default: that of a RayCronJob's tick, else today in the time zone",
    )
    parser.add_argument("--time-zone", default="UTC", help="of the schedule, e.g. Europe/Berlin")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--address", default=os.environ.get("RAY_ADDRESS"))
    parser.add_argument("--local", action="store_true", help="without Ray")
    parser.add_argument("--limit", type=int, help="only the first N shards")
    parser.add_argument("--wait-s", type=float, default=6 * 3600.0, help="for another night")
    parser.add_argument("--gate-fails", action="store_true", help="a breached gate ends with 3")
    return parser.parse_args(given)


def main(given: Sequence[str]) -> int:
    """Run the night; the exit code of the job."""
    options = _arguments(given)
    try:
        config = AuditConfig.load(options.spec, options.set)
        zone = time_zone(options.time_zone)
        ticked = scheduled_date(os.environ.get("RAY_CLUSTER_NAME", ""), zone)
        date = resolve_date(options.date or ticked, zone)

        def audit(config: AuditConfig) -> RunOutcome:
            with ConsoleReporter() as reporter:
                outcome = run_audit(
                    config,
                    address=options.address,
                    local=options.local,
                    limit=options.limit,
                    logical_date=date,
                    reporter=reporter,
                )
            print_outcome(outcome)
            return outcome

        night = run_night(config, date, audit, say, options.wait_s)
    except RayAuditError as error:
        fail(str(error))
        return 2 if isinstance(error, SpecificationError) else 1
    for line in (*night.notes, *(f"gate breached: {gate}" for gate in night.breached_gates)):
        say(line)
    return 3 if night.breached_gates and options.gate_fails else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
