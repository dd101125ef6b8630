"""An actor's calls come in threads of their own."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("num_threads", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_call_in_a_thread_of_its_own_computes_with_threads_per_actor(tmp_path, num_threads):
    # Else what the environment says: findings/another_thread_has_other_threads.sh shows it.
    program = [sys.executable, "-m", "tests.support.new_threads", str(tmp_path), str(num_threads)]
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    answer = subprocess.run(program, env=environment, capture_output=True, text=True, check=True)
    assert int(answer.stdout) == num_threads - 1
