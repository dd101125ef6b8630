import os
import subprocess
import sys

import pytest

from tests.cluster.check import differences

SENT = {"a": [{"b": 1}, {"c": "x"}], "d": {"e": "2"}}


@pytest.mark.parametrize(
    ("stored", "found"),
    [
        (SENT | {"status": {}}, []),
        ({"a": [{"b": 1, "default": 0}, {"c": "x"}], "d": {"e": "2"}}, []),
        ({"a": [{"b": 1}], "d": {"e": "2"}}, [".a"]),
        ({"a": [{"b": 1}, {"c": "y"}], "d": {}}, [".a[1].c", ".d.e"]),
        (None, [""]),
    ],
)
def test_a_server_may_add_and_never_take_away(stored, found):
    assert differences(SENT, stored) == found


def test_without_a_server_the_check_fails_with_a_sentence(tmp_path):
    env = os.environ | {"KUBECONFIG": str(tmp_path / "none")}
    command = [sys.executable, "-m", "tests.cluster.check"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr.startswith("error ")
    assert "KUBECONFIG" in done.stderr or "kubectl is not installed" in done.stderr
    assert "Traceback" not in done.stderr
