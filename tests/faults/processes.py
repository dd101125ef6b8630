"""Processes below one of ours, found by parentage: never by name alone, others run Ray too."""

import contextlib
import os
import signal
import time
from collections import defaultdict
from pathlib import Path


def below(pid):
    """Every living process that `pid` started, directly or not: pid to command line."""
    children, commands = defaultdict(list), {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            commands[int(folder.name)] = (
                (folder / "cmdline").read_bytes().decode("utf-8", "replace")
            )
        except (OSError, ValueError):  # it has ended meanwhile
            continue
        children[parent].append(int(folder.name))
    found, waiting = {}, list(children[pid])
    while waiting:
        process_id = waiting.pop()
        waiting += children[process_id]
        if commands.get(process_id):
            found[process_id] = commands[process_id].replace("\0", " ").strip()
    return found


def pool_actors(pid):
    """Pids of the pools' actors below a driver or a node."""
    return sorted(
        p for p, name in below(pid).items() if name.startswith("ray::") and "PoolActor" in name
    )


def raylet(pid):
    """Pid of the raylet below a node."""
    (found,) = (p for p, name in below(pid).items() if Path(name.split()[0]).name == "raylet")
    return found


def outliving(others, limit_s):
    """What of `below`'s processes is still there after so many seconds."""
    deadline = time.monotonic() + limit_s
    while left := {pid: name for pid, name in others.items() if _is_there(pid)}:
        if time.monotonic() > deadline:
            return left
        time.sleep(0.2)
    return {}


def _is_there(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""  # empty: a zombie
    except OSError:
        return False


def kill(pid):
    """SIGKILL: the process has no time for anything."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def kill_tree(pid):
    """SIGKILL a process and all below it."""
    for item in (*below(pid), pid):
        kill(item)
