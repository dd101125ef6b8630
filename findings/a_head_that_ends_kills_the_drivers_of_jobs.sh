#!/usr/bin/env bash
# Ray: a head that is told to end by SIGTERM kills the driver of a job, which is never told.
set -euo pipefail
work=$(mktemp -d /tmp/surprise.XXXXXX) # sockets of Ray need short paths
head=
end() {
  [ -z "$head" ] || kill -9 -- "-$head" 2> /dev/null || true
  rm -rf "$work"
}
trap end EXIT
unset PYTHONPATH RAY_ADDRESS
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check "ray[default]==2.60.0"
cat > "$work/job.py" <<'PYTHON'
import os
import signal
import sys
import time


def told(number, frame):
    open(f"{sys.argv[1]}/told", "w").write(str(number))
    sys.exit(143)


for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, told)
open(f"{sys.argv[1]}/pid.part", "w").write(str(os.getpid()))
os.rename(f"{sys.argv[1]}/pid.part", f"{sys.argv[1]}/pid")
time.sleep(600)
PYTHON
cat > "$work/show.py" <<'PYTHON'
import os
import platform
import signal
import sys
import time

import ray
from ray.job_submission import JobSubmissionClient

work, head = sys.argv[1], int(sys.argv[2])


def wait_for(check, limit_s):
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        try:
            if (answer := check()):
                return answer
        except (RuntimeError, OSError):
            pass
        time.sleep(0.5)
    raise SystemExit("Ray did not start in time")


def is_there(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


print(f"Python {platform.python_version()}, Ray {ray.__version__}")
print("input: `ray start --head --block`, and a job whose driver handles SIGTERM, SIGINT and SIGHUP")
print("guess: SIGTERM to the head tells the driver too, so that it can end cleanly")
command = f"{sys.executable} {work}/job.py {work}"
wait_for(lambda: JobSubmissionClient("http://127.0.0.1:27392").submit_job(entrypoint=command), 120)
wait_for(lambda: os.path.exists(f"{work}/pid"), 120)
driver = int(open(f"{work}/pid").read())
began_s = time.monotonic()
os.kill(head, signal.SIGTERM)
while (is_there(head) or is_there(driver)) and time.monotonic() - began_s < 90:
    time.sleep(0.2)
took_s = time.monotonic() - began_s
was_told = os.path.exists(f"{work}/told")
print(f"seen:  after {took_s:.0f} s the head is there: {is_there(head)}, the driver: {is_there(driver)};")
print(f"       the driver was told by any of the three signals: {was_told}")
assert not is_there(driver) and not was_told, "drivers are told now"
print("unchanged: whoever stops a head, such as Kubernetes a pod, tells the driver first")
PYTHON
export RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=token RAY_AUTH_TOKEN=$(printf 'ab%.0s' {1..32})
setsid "$work/venv/bin/ray" start --head --block --port=27391 --dashboard-port=27392 --num-cpus=1 \
  --temp-dir="$work/ray" --disable-usage-stats > "$work/ray.log" 2>&1 &
head=$!
"$work/venv/bin/python" "$work/show.py" "$work" "$head"
