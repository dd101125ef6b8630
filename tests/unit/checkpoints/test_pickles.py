import collections
import io
import json
import pickle
import struct
import sys
import zipfile

import pytest
import torch

from ray_audit.checkpoints.catalog import list_checkpoints
from ray_audit.checkpoints.file_tensors import read_state
from ray_audit.errors import CheckpointError

MARKER = "marker_module_of_the_hostile_set"


CALLS = {
    "GLOBAL and REDUCE": b"c{m}\n{n}\n(VX\ntR.",
    "STACK_GLOBAL": b"\x80\x04\x8c{lm}{m}\x8c{ln}{n}\x93(VX\ntR.",
    "INST": b"(VX\ni{m}\n{n}\n.",
    "OBJ": b"(c{m}\n{n}\nVX\no.",
    "NEWOBJ": b"\x80\x02c{m}\n{n}\n(VX\nt\x81.",
    "NEWOBJ_EX": b"\x80\x04c{m}\n{n}\n(VX\nt}}\x92.",
    "BUILD": b"c{m}\n{n}\n(VX\ntR}}VX\nVX\nsb.",
    "in a list": b"(lc{m}\n{n}\n(VX\ntRa.",
    "as a key": b"}}c{m}\n{n}\n(VX\ntRVX\ns.",
    "called again": b"c{m}\n{n}\n(VX\ntR(VX\ntR.",
}


NAMES = [
    *("os.system", "posix.system", "builtins.eval", "builtins.exec", "builtins.__import__"),
    *("builtins.getattr", "subprocess.Popen", "importlib.import_module", "runpy.run_module"),
    *("torch.load", "torch.hub.load", "torch.jit.load", "torch.storage._load_from_bytes"),
    *("pickle.loads", "numpy.load", "functools.partial", "operator.attrgetter"),
    *("torch._utils._rebuild_tensor_v2.__globals__", f"{MARKER}.run"),
]


def pickled(form, full):
    module, _, name = full.rpartition(".")
    content = form
    for key, value in ((b"{lm}", bytes([len(module)])), (b"{ln}", bytes([len(name)]))):
        content = content.replace(key, value)
    content = content.replace(b"{m}", module.encode()).replace(b"{n}", name.encode())
    content = content.replace(b"{{", b"{").replace(b"}}", b"}")
    return content if content.startswith(b"\x80") else b"\x80\x02" + content


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("zipped", [True, False])
def test_nothing_that_a_file_names_is_imported_or_called(tmp_path, monkeypatch, call, name, zipped):
    (tmp_path / f"{MARKER}.py").write_text("def run(*_): raise AssertionError('called')\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    content = pickled(CALLS[call], name)
    path = tmp_path / "w.pt"
    if zipped:
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("archive/data.pkl", content)
    else:
        path.write_bytes(content)

    def called(*_, **__):
        raise AssertionError(f"{name} was called")

    monkeypatch.setattr("os.system", called)
    monkeypatch.setattr("subprocess.Popen", called)
    with pytest.raises(CheckpointError):
        read_state(str(path))
    imported = {item.partition(".")[0] for item in set(sys.modules) - before}
    assert imported <= {"encodings", "torch"}
    assert MARKER not in sys.modules


def hostile_tensor(size, stride, offset=0, num=4):
    """A file whose tensor claims other elements than its storage has."""
    torch.save({"w": torch.zeros(4)}, sink := io.BytesIO())
    with zipfile.ZipFile(sink) as file:
        members = {name: file.read(name) for name in file.namelist()}
    (pickled_name,) = (name for name in members if name.endswith("data.pkl"))

    class Claim:
        def __reduce__(self):
            arguments = (Persistent(), offset, size, stride, False, collections.OrderedDict())
            return torch._utils._rebuild_tensor_v2, arguments

    class Persistent:
        pass

    class Pickler(pickle.Pickler):
        def persistent_id(self, item):
            return (
                ("storage", torch.FloatStorage, "0", "cpu", num)
                if isinstance(item, Persistent)
                else None
            )

    stream = io.BytesIO()
    Pickler(stream, 2).dump({"w": Claim()})
    members[pickled_name] = stream.getvalue()
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return made.getvalue()


@pytest.mark.parametrize(
    ("size", "stride", "offset", "num"),
    [
        ((5,), (1,), 0, 4),
        ((4,), (1,), 1, 4),
        ((2,), (10**9,), 0, 4),
        ((4,), (-1,), 3, 4),
        ((4,), (1,), -1, 4),
        ((4,), (1,), 0, 10**12),
        ((1,) * 100, (1,) * 100, 0, 4),
    ],
)
def test_a_tensor_beyond_its_storage_is_refused(tmp_path, size, stride, offset, num):
    (tmp_path / "w.pt").write_bytes(hostile_tensor(size, stride, offset, num))
    with pytest.raises(CheckpointError, match="damaged"):
        read_state(str(tmp_path / "w.pt"))


def test_the_maker_of_hostile_tensors_makes_sound_ones_too(tmp_path):
    (tmp_path / "w.pt").write_bytes(hostile_tensor((2, 2), (2, 1)))
    assert read_state(str(tmp_path / "w.pt"))["w"].shape == (2, 2)


def test_an_index_names_files_beside_it_only(tmp_path):
    (tmp_path / "m.index.json").write_text(json.dumps({"weight_map": {"a": "../x.safetensors"}}))
    with pytest.raises(CheckpointError, match="names no files beside it"):
        list_checkpoints(str(tmp_path / "m.index.json"))


def test_a_legacy_file_that_claims_much_is_refused(tmp_path):
    sink = io.BytesIO()
    torch.save({"w": torch.zeros(4)}, sink, _use_new_zipfile_serialization=False)
    content = sink.getvalue()
    at = content.index(b"cpu") + 3
    claim = content[:at] + content[at:].replace(b"K\x04", b"J" + struct.pack("<i", 2**30), 1)
    (tmp_path / "w.pt").write_bytes(claim)
    with pytest.raises(CheckpointError, match="damaged"):
        read_state(str(tmp_path / "w.pt"))
