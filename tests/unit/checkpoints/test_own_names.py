"""Classes that call their tensors otherwise in files: as transformers and peft do."""

import copy

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ray_audit.checkpoints.loading import load_weights
from ray_audit.config import WeightsConfig
from ray_audit.errors import CheckpointError
from tests.support.audits import audit
from tests.support.small_sets import class_folders
from tests.support.tiny_models import RenamedModel
from tests.unit.checkpoints.test_weights import split


def state_of(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def in_files(state, prefix=""):
    """Under the names that the class gives them in files: `old.` instead of `head.`."""
    return {prefix + name.replace("head.", "old."): tensor for name, tensor in state.items()}


def model(seed):
    torch.manual_seed(seed)
    return RenamedModel(3)


class Wrapped(nn.Module):
    """A model of one's own around one of such a class."""

    def __init__(self, seed):
        super().__init__()
        self.body = model(seed)
        self.last = nn.Linear(3, 2)


def assert_loaded(into, path, expected, **weights):
    load_weights(into, str(path), WeightsConfig(**weights))
    for name, tensor in expected.items():
        assert torch.equal(into.state_dict()[name], tensor), name


@pytest.mark.parametrize("prefix", ["", "model.", "module.model."])
def test_names_that_a_class_changes_as_it_loads_are_changed_by_that_class(tmp_path, prefix):
    state = state_of(model(0))
    torch.save({"state_dict": in_files(state, prefix)}, tmp_path / "w.ckpt")
    assert_loaded(model(1), tmp_path / "w.ckpt", state)
    requested = in_files(state, f"student.{prefix}") | {"teacher.x": torch.ones(1)}
    torch.save(requested, tmp_path / "w.ckpt")
    strip, ignore = f"student.{prefix}", ["teacher.*"]
    assert_loaded(model(1), tmp_path / "w.ckpt", state, strip=strip, ignore=ignore)


def test_a_class_within_a_model_of_ones_own_changes_its_part(tmp_path):
    state = state_of(Wrapped(0))
    save_file(in_files(state), tmp_path / "w.safetensors")
    assert_loaded(Wrapped(1), tmp_path / "w.safetensors", state)


def test_a_split_file_and_what_is_left_to_a_base_are_changed_too(tmp_path, monkeypatch):
    state = state_of(model(0))
    monkeypatch.setattr("tests.unit.checkpoints.test_weights.STATE", in_files(state))
    split(tmp_path / "m")
    assert_loaded(model(1), tmp_path / "m/model.safetensors.index.json", state)
    parts = {"old.bias": state["head.bias"]}
    save_file(parts, tmp_path / "w.safetensors")
    base = state_of(model(2))
    (tmp_path / "base").mkdir()
    save_file(in_files(base), tmp_path / "base/model.safetensors")
    expected = base | {"head.bias": state["head.bias"]}
    assert_loaded(model(1), tmp_path / "w.safetensors", expected, base=str(tmp_path / "base"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: {k: v for k, v in state.items() if "bias" not in k}, "1 missing.*head.bias"),
        (lambda state: state | {"more": torch.ones(1)}, "1 superfluous key.*more"),
        (lambda state: state | {"old.bias": torch.ones(7)}, "RuntimeError"),
    ],
)
def test_what_a_class_does_not_find_is_named_and_never_left_at_random(tmp_path, change, said):
    save_file(change(in_files(state_of(model(0)))), tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match=f"RenamedModel.*{said}"):
        load_weights(model(1), str(tmp_path / "w.safetensors"))


def test_renamed_checkpoints_are_audited(tmp_path):
    small = class_folders(tmp_path, 2, factory="RenamedModel")
    for epoch in range(3):
        path = tmp_path / f"checkpoints/epoch_{epoch}.safetensors"
        save_file(in_files(state_of(model(epoch))), path)
    assert audit(small).counts["scored"] == 6


class Adapted(nn.Module):
    """A layer with an adapter, and a head that is trained beside its first values, as peft has."""

    def __init__(self, seed, keeps_head=True):
        super().__init__()
        torch.manual_seed(seed)
        self.peft_config, self.active_adapter = {"default": None}, "default"
        self.base_model = nn.Module()
        inner = self.base_model.model = nn.Module()
        inner.layer, inner.head = nn.Module(), nn.Linear(3, 2)
        inner.layer.base_layer = nn.Linear(3, 3)
        inner.layer.lora_A = nn.ModuleDict({"default": nn.Linear(3, 1, bias=False)})
        if keeps_head:
            first, trained = inner.head, copy.deepcopy(inner.head)
            inner.head = nn.Module()
            inner.head.original_module = first
            inner.head.modules_to_save = nn.ModuleDict({"default": trained})


PREFIX = "base_model.model."


def adapter_file(folder, state):
    """As `save_pretrained` of peft: what was trained, without the adapter's name."""
    trained = {name: value for name, value in state.items() if ".default." in name}
    short = {
        name.replace(".modules_to_save", "").replace(".default", ""): value
        for name, value in trained.items()
    }
    folder.mkdir()
    save_file(short, folder / "adapter_model.safetensors")
    return folder / "adapter_model.safetensors"


def test_adapters_are_put_upon_their_base(tmp_path):
    state = state_of(Adapted(0))
    path = adapter_file(tmp_path / "checkpoint-1", state)
    base = {
        name.removeprefix(PREFIX).replace(".base_layer", "").replace(".original_module", ""): value
        for name, value in state.items()
        if ".default." not in name
    }
    torch.save(base, tmp_path / "base.pt")
    assert_loaded(Adapted(1), path, state, base=str(tmp_path / "base.pt"))
    with pytest.raises(CheckpointError, match=r"missing.*model\.weights\.base"):
        load_weights(Adapted(1), str(path))


def test_an_adapter_that_leaves_out_the_head_is_refused(tmp_path):
    state = state_of(Adapted(0, keeps_head=False))
    path = adapter_file(tmp_path / "checkpoint-1", state)
    backbone = {"layer.weight": torch.ones(3, 3), "layer.bias": torch.ones(3)}
    torch.save(backbone, tmp_path / "base.pt")
    weights = WeightsConfig(base=str(tmp_path / "base.pt"))
    with pytest.raises(CheckpointError, match=r"2 missing key\(s\): base_model\.model\.head\.bias"):
        load_weights(Adapted(1, keeps_head=False), str(path), weights)
