"""Checkpoint files as their trainers save them, and files that are made to do harm."""

import argparse
import collections
import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from safetensors.torch import save_file
from torch import nn

from ray_audit.checkpoints.catalog import list_checkpoints, read_catalog
from ray_audit.checkpoints.file_tensors import read_state
from ray_audit.checkpoints.loading import load_weights
from ray_audit.config import WeightsConfig
from ray_audit.errors import CheckpointError


def net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Linear(4, 2))


STATE = net().state_dict()


def prefixed(prefix, state=STATE):
    return {prefix + name: tensor for name, tensor in state.items()}


def loaded(path, **weights):
    model = net(seed=1)
    load_weights(model, str(path), WeightsConfig(**weights))
    return model.state_dict()


def assert_loaded(path, expected=STATE, **weights):
    actual = loaded(path, **weights)
    for name, tensor in expected.items():
        assert torch.equal(actual[name], tensor), name


def refusal(path, **weights):
    with pytest.raises(CheckpointError) as error:
        loaded(path, **weights)
    assert str(path) in str(error.value)
    return str(error.value)


class History:
    """A class of the trainer, which is not there when the file is audited."""

    def __init__(self):
        self.values = [1.0, 2.0]


EXTRA_VALUES = {
    "a namespace": argparse.Namespace(lr=0.1),
    "a numpy scalar": np.float64(0.7),
    "a numpy array": np.arange(3),
    "a default dict": collections.defaultdict(list, a=[1]),
    "a path": Path("x/y"),
    "a counter": collections.Counter("aab"),
    "a class of the trainer's own": History(),
    "a loss": nn.CrossEntropyLoss(weight=torch.ones(2)),
    "a set, a range and a slice": [{1, 2}, range(3), slice(1), frozenset([1])],
    "an optimiser": torch.optim.SGD(net().parameters(), 0.1).state_dict(),
}


@pytest.mark.parametrize("name", EXTRA_VALUES)
@pytest.mark.parametrize("zipped", [True, False])
def test_what_lies_beside_the_weights_does_not_stand_in_the_way(tmp_path, name, zipped):
    path = tmp_path / "w.ckpt"
    content = {"epoch": 3, "beside": EXTRA_VALUES[name], "state_dict": STATE}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    assert_loaded(path)


@pytest.mark.parametrize("suffix", [".pth.tar", ".model", ".pyth", ".pkl", ".th"])
def test_files_are_told_apart_by_content(tmp_path, suffix):
    torch.save(STATE, tmp_path / f"w{suffix}")
    assert_loaded(tmp_path / f"w{suffix}")
    assert [checkpoint.name for checkpoint in list_checkpoints(f"{tmp_path}/*")] == [f"w{suffix}"]


DTYPES = [
    *(torch.float32, torch.float64, torch.float16, torch.bfloat16),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
    *(torch.complex64, torch.float8_e4m3fn, torch.uint16),
]


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_of_every_type_shape_and_view_come_as_torch_loads_them(tmp_path, zipped):
    whole = torch.arange(24.0).reshape(4, 6)
    dtypes = DTYPES if zipped else DTYPES[:-2]  # those of torch's own storage classes
    state = {str(dtype): (whole % 2).to(dtype) for dtype in dtypes}
    state |= {"view": whole[1:3, ::2], "turned": whole.T, "empty": torch.empty(0, 3)}
    state |= {"scalar": torch.tensor(3.5), "parameter": nn.Parameter(whole), "shared": whole}
    torch.save(state, tmp_path / "w.pt", _use_new_zipfile_serialization=zipped)
    expected = torch.load(tmp_path / "w.pt", weights_only=True)
    actual = read_state(str(tmp_path / "w.pt"))
    assert actual.keys() == expected.keys()
    for name, tensor in expected.items():
        assert actual[name].dtype == tensor.dtype
        assert actual[name].stride() == tensor.stride()
        first, other = (t.detach().contiguous().reshape(-1) for t in (actual[name], tensor))
        assert torch.equal(first.view(torch.uint8), other.view(torch.uint8))


@pytest.mark.parametrize(
    "prefix",
    ["backbone.", "network.", "segmentor.", "_model.", "_forward_module.module.", "a.b.c."],
)
def test_the_one_prefix_that_makes_all_names_fit_is_taken_off(tmp_path, prefix):
    save_file(prefixed(prefix) | {"loss.weight": torch.ones(2)}, tmp_path / "w.safetensors")
    assert_loaded(tmp_path / "w.safetensors")


def test_two_prefixes_that_fit_are_asked_about(tmp_path):
    both = prefixed("student.") | prefixed("teacher.", net(5).state_dict())
    torch.save(both, tmp_path / "w.pt")
    assert "'student.' and 'teacher.': say which in model.weights.strip" in refusal(
        tmp_path / "w.pt"
    )
    ignored = ["student.*"]
    assert_loaded(tmp_path / "w.pt", net(5).state_dict(), strip="teacher.", ignore=ignored)


def test_weights_of_two_kinds_are_asked_about(tmp_path):
    averaged = net(5).state_dict()
    torch.save({"state_dict": STATE, "state_dict_ema": averaged}, tmp_path / "w.pth")
    message = refusal(tmp_path / "w.pth")
    assert "'state_dict' and 'state_dict_ema': say which in model.weights.key" in message
    assert_loaded(tmp_path / "w.pth", averaged, key="state_dict_ema")
    assert "holds no tensors under model.weights.key 'ema'; it holds state_dict" in refusal(
        tmp_path / "w.pth", key="ema"
    )


@pytest.mark.parametrize("key", ["net", "network_weights", "ema", "teacher", "params", "a.b"])
def test_weights_are_found_under_any_key(tmp_path, key):
    content = STATE
    for part in reversed(key.split(".")):
        content = {part: content, "step": 7}
    torch.save(content, tmp_path / "w.pt")
    assert_loaded(tmp_path / "w.pt")


def test_names_are_stripped_added_and_ignored_as_asked(tmp_path):
    save_file(prefixed("x.") | {"x.total_ops": torch.ones(1)}, tmp_path / "w.safetensors")
    message = refusal(tmp_path / "w.safetensors", strip="x.")
    assert "1 superfluous key(s): total_ops" in message
    assert "model.weights.ignore: ['x.total_ops']" in message
    assert_loaded(tmp_path / "w.safetensors", strip="x.", ignore=["x.total_ops"])
    assert_loaded(tmp_path / "w.safetensors", strip="x.", ignore=["*total_ops"])
    short = {name.removeprefix("0."): value for name, value in STATE.items() if name[0] == "0"}
    save_file(short, tmp_path / "head.safetensors")
    message = refusal(tmp_path / "head.safetensors")
    assert "bias would be 0.bias with model.weights.add: '0.'" in message


def test_what_a_file_leaves_out_comes_from_the_base(tmp_path):
    torch.save({"state_dict": prefixed("net.", net(7).state_dict())}, tmp_path / "base.pth")
    head = {name: tensor for name, tensor in STATE.items() if name.startswith("2.")}
    save_file(head, tmp_path / "w.safetensors")
    assert "model.weights.base" in refusal(tmp_path / "w.safetensors")
    expected = net(7).state_dict() | head
    assert_loaded(tmp_path / "w.safetensors", expected, base=str(tmp_path / "base.pth"))


def test_an_error_names_the_nearest_key(tmp_path):
    state = {name.replace("2.", "head."): tensor for name, tensor in STATE.items()}
    torch.save(state, tmp_path / "w.pt")
    assert "The nearest to 2.bias in the file is head.bias" in refusal(tmp_path / "w.pt")


@pytest.mark.parametrize(
    ("more", "pattern"),
    [
        ({"0.total_ops": torch.ones(1), "2.total_ops": torch.ones(1)}, "*.total_ops"),
        (prefixed("teacher.", net(7).state_dict()), "teacher.*"),
    ],
)
def test_an_error_names_patterns_that_leave_out_all_that_is_too_much(tmp_path, more, pattern):
    save_file(STATE | more, tmp_path / "w.safetensors")
    assert f"model.weights.ignore: [{pattern!r}]" in refusal(tmp_path / "w.safetensors")
    assert_loaded(tmp_path / "w.safetensors", ignore=[pattern])


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 3, bias=False)
        self.second = nn.Linear(3, 3, bias=False)
        self.second.weight = self.first.weight


def test_tied_weights_load_as_safetensors_loads_them(tmp_path):
    torch.manual_seed(3)
    saved, model = Tied(), Tied()
    safetensors.torch.save_model(saved, str(tmp_path / "w.safetensors"))
    load_weights(model, str(tmp_path / "w.safetensors"))
    assert torch.equal(model.first.weight, saved.first.weight)
    assert model.second.weight is model.first.weight


def test_batch_norms_that_counted_no_batches_load_as_torch_loads_them(tmp_path):
    old = {name: value for name, value in STATE.items() if not name.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "w.pth")
    assert_loaded(tmp_path / "w.pth", old)


def split(folder, *parts):
    """A model in several files, as Hugging Face saves it."""
    folder.mkdir(parents=True)
    names = sorted(STATE)
    where = {}
    for part in range(2):
        file = f"model-0000{part + 1}-of-00002.safetensors"
        save_file({name: STATE[name] for name in names[part::2]}, folder / file)
        where |= dict.fromkeys(names[part::2], file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))


def test_folders_of_hugging_face_are_checkpoints(tmp_path):
    split(tmp_path / "checkpoint-500")
    for step in (1000, 90):
        (tmp_path / f"checkpoint-{step}").mkdir()
        save_file(net(step).state_dict(), tmp_path / f"checkpoint-{step}/model.safetensors")
    found = list_checkpoints(f"{tmp_path}/checkpoint-*")
    assert [item.name for item in found] == [
        "checkpoint-90/model.safetensors",
        "model.safetensors.index.json",
        "checkpoint-1000/model.safetensors",
    ]
    assert_loaded(found[1].uri)
    assert found[1].size_bytes > sum(value.numel() * 4 for value in STATE.values())
    (tmp_path / "checkpoint-500/model-00001-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match="model-00001-of-00002"):
        list_checkpoints(f"{tmp_path}/checkpoint-*")


def test_a_model_saved_again_in_one_piece_comes_before_its_stale_index(tmp_path):
    split(tmp_path / "m")
    save_file(net(5).state_dict(), tmp_path / "m/model.safetensors")
    (found,) = list_checkpoints(str(tmp_path / "m"))
    assert_loaded(found.uri, net(5).state_dict())


@pytest.mark.parametrize("kind", ["script", "distributed", "tar", "model"])
def test_what_is_not_read_is_refused_by_its_own_name(tmp_path, kind):
    path = tmp_path / "w.pt"
    if kind == "script":
        torch.jit.save(torch.jit.script(net()), path)
        assert "TorchScript" in refusal(path)
    elif kind == "distributed":
        (tmp_path / "step").mkdir()
        (tmp_path / "step/__0_0.distcp").write_bytes(b"x")
        with pytest.raises(CheckpointError, match="distributed checkpoint"):
            list_checkpoints(str(tmp_path / "step"))
    elif kind == "tar":
        path.write_bytes(b"\0" * 257 + b"ustar" + b"\0" * 250)
        assert "tar archive" in refusal(path)
    else:
        torch.save(net(), path)
        assert "torch.nn.modules.container.Sequential" in refusal(path)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\n", "run `git lfs pull`"),
        (b"<!DOCTYPE html>\n<html><body>Not found</body></html>", "an HTML page"),
        (b"\x89HDF\r\n\x1a\n" + bytes(99), "an HDF5 file, as Keras writes"),
        (b"GGUF\x03" + bytes(99), "a GGUF file"),
    ],
)
def test_files_of_another_kind_are_refused_by_their_own_name(tmp_path, content, kind):
    (tmp_path / "w.bin").write_bytes(content)
    assert kind in refusal(tmp_path / "w.bin")


def test_archives_of_another_kind_are_refused_by_their_own_name(tmp_path):
    np.savez(tmp_path / "w.npz", **{name: value.numpy() for name, value in STATE.items()})
    assert "npz file of arrays" in refusal(tmp_path / "w.npz")
    program = torch.export.export(nn.Linear(2, 2), (torch.ones(1, 2),))
    torch.export.save(program, tmp_path / "w.pt2")
    assert "a program of torch.export, which holds code" in refusal(tmp_path / "w.pt2")


@pytest.mark.parametrize("dtype", [torch.int8, torch.complex64])
def test_weights_that_mean_other_numbers_than_they_store_are_refused(tmp_path, dtype):
    state = {
        name: value.to(dtype) if "num_" not in name else value for name, value in STATE.items()
    }
    torch.save(state, tmp_path / "w.pt")
    assert f"is {dtype}, the model has torch.float32" in refusal(tmp_path / "w.pt")


def lightning(folder, epochs=3):
    folder.mkdir()
    for epoch in range(epochs):
        name = f"epoch={epoch}-step={10 * epoch}.ckpt"
        torch.save({"state_dict": net(epoch).state_dict(), "epoch": epoch}, folder / name)


def test_copies_by_the_names_last_and_best_are_left_out_and_named(tmp_path):
    lightning(tmp_path / "l")
    (tmp_path / "l/last.ckpt").write_bytes((tmp_path / "l/epoch=2-step=20.ckpt").read_bytes())
    # The same weights with something else beside them: other bytes.
    torch.save({"state_dict": net(1).state_dict(), "best": True}, tmp_path / "l/best.ckpt")
    catalog = read_catalog(f"{tmp_path}/l/*.ckpt")
    assert [checkpoint.name for checkpoint in catalog.checkpoints] == [
        f"epoch={epoch}-step={10 * epoch}.ckpt" for epoch in range(3)
    ]
    assert "best.ckpt is left out: it has the same weights as epoch=1-step=10" in catalog.notes[0]
    assert "last.ckpt is left out: it has the same weights as epoch=2-step=20" in catalog.notes[1]


def test_a_last_of_its_own_weights_stays_and_so_does_what_is_listed(tmp_path):
    lightning(tmp_path / "l")
    torch.save({"state_dict": net(9).state_dict()}, tmp_path / "l/last.ckpt")
    assert len(list_checkpoints(f"{tmp_path}/l/*.ckpt")) == 4
    (tmp_path / "l/last.ckpt").write_bytes((tmp_path / "l/epoch=2-step=20.ckpt").read_bytes())
    catalog = read_catalog([f"{tmp_path}/l/epoch*.ckpt", f"{tmp_path}/l/last.ckpt"])
    assert [checkpoint.name for checkpoint in catalog.checkpoints][-1] == "last.ckpt"
    assert "have the same content, and each counts as a step" in catalog.notes[0]
