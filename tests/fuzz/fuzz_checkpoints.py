"""Mutated checkpoint files: nothing runs, nothing is imported, and every error is one of ours.

In one process, without atheris: `python -m tests.fuzz.fuzz_checkpoints [CASES] [SEED]` changes
bytes of small good files of each form (zip and legacy files of `torch.save`, pickles of objects,
split and single safetensors), also within the pickle of a zip whose checksums are put right, and
reads them. Whether a module is imported, code run or a process started is watched.
"""

import argparse
import io
import json
import pickle
import resource
import sys
import time
import warnings
import zipfile
from collections import Counter, OrderedDict, defaultdict

import numpy as np
import torch
from safetensors.torch import save

from ray_audit.checkpoints.file_tensors import read_state
from ray_audit.checkpoints.loading import load_weights
from ray_audit.errors import RayAuditError
from tests.fuzz.harness import scratch

SLOW_S = 5.0  # of processor time: a machine that is busy says nothing of a file
GROWTH_KIB = 600 * 1024
WATCHED = ("import", "exec", "os.system", "subprocess.Popen", "os.posix_spawn", "os.fork", "socket")


class _Watch:
    """Notes what the process is asked to do while a file is read."""

    def __init__(self):
        self.is_on, self.seen = False, []
        sys.addaudithook(self._hook)

    def _hook(self, event, arguments):
        # zipfile and pickle decode names: the codecs of the standard library are no surprise.
        if self.is_on and event.startswith(WATCHED) and "encodings" not in str(arguments):
            self.seen.append((event, str(arguments)[:200]))


def _state():
    torch.manual_seed(0)
    state = OrderedDict(weight=torch.randn(3, 4), bias=torch.zeros(3, dtype=torch.float64))
    state["halves"] = torch.ones(2, dtype=torch.float16)
    state["view"] = state["weight"].T
    return state


def _extra_objects():
    return {
        "args": argparse.Namespace(lr=0.1),
        "best": np.float64(0.5),
        "history": defaultdict(list, a=[1, 2.0]),
        "counts": Counter("aab"),
        "set": {1, 2},
        "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 0.1}]},
    }


def good_files():
    """A small good file of each form, by its name."""
    files = {}
    for name, content in (
        ("plain", _state()),
        ("beside", {"state_dict": _state(), **_extra_objects()}),
    ):
        for form, zipped in (("zip", True), ("legacy", False)):
            sink = io.BytesIO()
            torch.save(content, sink, _use_new_zipfile_serialization=zipped)
            files[f"{name}.{form}.pt"] = sink.getvalue()
    files["objects.pkl"] = pickle.dumps(_extra_objects(), protocol=2)
    files["objects4.pkl"] = pickle.dumps(_extra_objects() | {"frozen": frozenset("ab")}, protocol=5)
    files["w.safetensors"] = save({k: v.contiguous() for k, v in _state().items()})
    files["w.bin.index.json"] = json.dumps({"weight_map": {"weight": "plain.zip.pt"}}).encode()
    return files


def mutated(content, rng):
    """A few bytes changed, moved, repeated or taken out, or the end cut off."""
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(0, len(changed)))
        way = rng.random()
        if way < 0.6:
            changed[at] = int(rng.choice([0, 255, 127, 128, int(rng.choice(list(_MEANT)))]))
        elif way < 0.75:
            to = int(rng.integers(0, len(changed)))
            changed[to:to] = changed[at : at + int(rng.integers(1, 40))]
        elif way < 0.9:
            del changed[at : at + int(rng.integers(1, 12))]
        else:
            name = _NAMES[int(rng.integers(len(_NAMES)))]
            changed[at:at] = name
        changed = changed or bytearray(b"\x80")
    if rng.random() < 0.1:
        del changed[int(rng.integers(0, len(changed))) :]
    return bytes(changed)


_MEANT = {ord(op.code) for op in __import__("pickletools").opcodes}
_NAMES = [
    b"cos\nsystem\n",
    b"cbuiltins\neval\n",
    b"X\x02\x00\x00\x00ab",
    b"(",
    b")R",
    b"b",
    b"\x93",
    b"}",
    b"]",
]


def within_zip(content, rng):
    """The file with its pickle changed, and checksums that are right."""
    sink = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(sink, "w") as new:
        for info in old.infolist():
            member = old.read(info)
            if info.filename.endswith("data.pkl"):
                member = mutated(member, rng)
            new.writestr(info.filename, member)
    return sink.getvalue()


class _Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        for name, value in _state().items():
            self.register_buffer(name, value.clone())


def main(num_cases, seed):
    rng, folder = np.random.default_rng(seed), scratch()
    good = good_files()
    for name, content in good.items():
        (folder / name).write_bytes(content)
    model, watch = _Model(), _Watch()
    warnings.simplefilter("ignore")
    for name in good:  # whatever is imported at a first use is
        try:
            read_state(str(folder / name))
            load_weights(model, str(folder / name))
        except RayAuditError:
            pass
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes = Counter()
    for case in range(num_cases):
        name = list(good)[case % len(good)]
        is_inner = name.endswith(".zip.pt") and rng.random() < 0.7
        path = folder / f"x.{name}"
        path.write_bytes((within_zip if is_inner else mutated)(good[name], rng))
        begin = time.process_time()
        watch.is_on = True
        try:
            load_weights(model, str(path)) if case % 2 else read_state(str(path))
            outcome = "read"
        except RayAuditError as error:
            outcome = type(error).__name__
        except BaseException:
            print(f"case {case} of seed {seed}, {name}: {path.read_bytes()!r}")
            raise
        finally:
            watch.is_on = False
        took = time.process_time() - begin
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert not watch.seen, (case, seed, name, watch.seen)
        assert took < SLOW_S, (case, seed, name, took)
        assert grown < GROWTH_KIB, (case, seed, name, grown)
        outcomes[outcome] += 1
    print(f"{num_cases} cases, seed {seed}: {dict(sorted(outcomes.items()))}")


if __name__ == "__main__":
    numbers = [int(text) for text in sys.argv[1:]]
    main(*(numbers + [20_000, 0][len(numbers) :]))
