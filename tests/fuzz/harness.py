"""What the fuzzers share: atheris where it is installed, and a folder in memory."""

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path


def atheris_or_exit():
    """The fuzzer, or a message that says how to get it."""
    try:
        import atheris
    except ImportError:
        sys.exit("fuzzing needs atheris, which is not installed: pip install atheris")
    return atheris


def scratch():
    """A folder for the file under test; in memory where the machine has such a place."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir=memory if memory.is_dir() else None))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def fuzz(atheris, one_input, seeds):
    """Go on from good inputs until the time is up or something is found.

    Args:
        atheris: the fuzzer.
        one_input: takes bytes.
        seeds: good inputs.
    """
    corpus = scratch()
    for number, seed in enumerate(seeds):
        (corpus / str(number)).write_bytes(seed)
    child = os.fork()  # libFuzzer ends its process without a chance to clear up
    if child:
        _, status = os.waitpid(child, 0)
        sys.exit(os.waitstatus_to_exitcode(status))
    atheris.Setup(
        [*sys.argv, "-max_len=20000", f"-artifact_prefix={corpus}-", str(corpus)], one_input
    )
    atheris.Fuzz()
