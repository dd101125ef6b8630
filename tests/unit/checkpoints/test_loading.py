import os
import pickle
import struct

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ray_audit.checkpoints.factory import build_model
from ray_audit.checkpoints.file_tensors import read_state
from ray_audit.checkpoints.loading import load_weights
from ray_audit.config import ModelConfig
from ray_audit.errors import CheckpointError, SpecificationError, StorageError

HERE = "tests.unit.checkpoints.test_loading"


def net(out=3):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, out), nn.BatchNorm1d(out))


def raises():
    raise KeyError("no such preset")


def no_module():
    return {"a": 1}


def assert_equal(model, state):
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, state[name], rtol=0, atol=0)


def loaded(path):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    load_weights(model, str(path))
    return model


def prefixed(state, prefix):
    return {prefix + name: tensor for name, tensor in state.items()}


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt"])
def test_a_pickled_state_dict_is_loaded(tmp_path, suffix):
    path = tmp_path / f"w{suffix}"
    torch.save(net().state_dict(), path)
    assert_equal(loaded(path), net().state_dict())


def test_safetensors_are_loaded(tmp_path):
    save_file(net().state_dict(), tmp_path / "w.safetensors")
    assert_equal(loaded(tmp_path / "w.safetensors"), net().state_dict())


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
def test_the_weights_are_found_beside_the_optimiser(tmp_path, key):
    path = tmp_path / "w.pt"
    torch.save({"epoch": 3, "optimizer": {"lr": 0.1}, key: net().state_dict()}, path)
    assert_equal(loaded(path), net().state_dict())


def test_a_lightning_file_is_loaded_without_its_metrics(tmp_path):
    state = prefixed(net().state_dict(), "model.") | {"loss.weight": torch.ones(2)}
    torch.save(
        {"state_dict": state, "epoch": 7, "pytorch-lightning_version": "2.4"}, tmp_path / "w.ckpt"
    )
    assert_equal(loaded(tmp_path / "w.ckpt"), net().state_dict())


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "module._orig_mod.", "model.", "net._orig_mod."]
)
def test_the_prefix_of_a_wrapper_is_taken_off(tmp_path, prefix):
    save_file(prefixed(net().state_dict(), prefix), tmp_path / "w.safetensors")
    assert_equal(loaded(tmp_path / "w.safetensors"), net().state_dict())


def test_a_submodule_that_is_called_model_keeps_its_name(tmp_path):
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = net()

    torch.save(Wrapped().state_dict(), tmp_path / "w.pt")
    model = Wrapped()
    nn.init.zeros_(model.model[0].weight)
    load_weights(model, str(tmp_path / "w.pt"))
    assert_equal(model.model, net().state_dict())


def refusal(path):
    with pytest.raises(CheckpointError) as error:
        loaded(path)
    assert str(path) in str(error.value)
    return str(error.value)


def test_a_missing_key_is_named(tmp_path):
    state = net().state_dict()
    del state["1.weight"]
    torch.save(state, tmp_path / "w.pt")
    message = refusal(tmp_path / "w.pt")
    assert "1 missing key(s): 1.weight" in message
    assert "model.kwargs" in message


def test_a_superfluous_key_is_named(tmp_path):
    save_file(net().state_dict() | {"2.bias": torch.ones(3)}, tmp_path / "w.safetensors")
    assert "1 superfluous key(s): 2.bias" in refusal(tmp_path / "w.safetensors")


def test_another_shape_is_named_with_both_shapes(tmp_path):
    save_file(net(out=5).state_dict(), tmp_path / "w.safetensors")
    assert "0.bias is (5,), the model has (3,)" in refusal(tmp_path / "w.safetensors")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_an_empty_file_is_refused(tmp_path, suffix):
    (tmp_path / f"w{suffix}").touch()
    assert "is empty" in refusal(tmp_path / f"w{suffix}")


@pytest.mark.parametrize("suffix", [".pt", ".ckpt", ".safetensors"])
@pytest.mark.parametrize("kept_fraction", [0.02, 0.5, 0.98])
def test_a_file_that_was_cut_off_is_refused(tmp_path, suffix, kept_fraction):
    path = tmp_path / f"w{suffix}"
    save = save_file if suffix == ".safetensors" else torch.save
    save(net().state_dict(), str(path))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept_fraction)])
    refusal(path)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_file_of_something_else_is_refused(tmp_path, suffix):
    (tmp_path / f"w{suffix}").write_bytes(b"<html>404 not found</html>" * 9)
    refusal(tmp_path / f"w{suffix}")


@pytest.mark.parametrize("length", [0, 7, 2**40, 2**63])
def test_a_header_that_lies_about_its_length_is_refused(tmp_path, length):
    save_file(net().state_dict(), tmp_path / "w.safetensors")
    content = (tmp_path / "w.safetensors").read_bytes()
    (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", length) + content[8:])
    assert "no safetensors file" in refusal(tmp_path / "w.safetensors")


class Payload:
    """A pickle that runs a command when it is loaded."""

    def __init__(self, command):
        self._command = command

    def __reduce__(self):
        return os.system, (self._command,)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ".bin"])
@pytest.mark.parametrize("dump", ["torch", "pickle", "nested"])
def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(tmp_path, suffix, dump):
    marker, path = tmp_path / "ran", tmp_path / f"w{suffix}"
    payload = Payload(f"touch {marker}")
    if dump == "pickle":
        path.write_bytes(pickle.dumps(payload, protocol=2))
    else:
        torch.save({"state_dict": payload, "epoch": 1} if dump == "nested" else payload, path)
    with pytest.raises(CheckpointError, match=r"refused.*could run code.*state_dict") as error:
        read_state(str(path))
    assert str(path) in str(error.value)
    assert not marker.exists()
    # The payload is a real one: what is refused here would have run.
    torch.load(path, weights_only=False) if dump != "pickle" else pickle.loads(path.read_bytes())
    assert marker.exists()


def test_a_whole_pickled_model_is_refused(tmp_path):
    torch.save(net(), tmp_path / "w.pt")
    assert "model.state_dict()" in refusal(tmp_path / "w.pt")


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {"state_dict": {}}])
def test_a_file_without_weights_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "w.pt")
    refusal(tmp_path / "w.pt")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(StorageError, match=r"none\.pt: it does not exist"):
        read_state(str(tmp_path / "none.pt"))


def test_a_model_comes_frozen_and_in_eval_mode():
    model = build_model(ModelConfig(factory=f"{HERE}:net", kwargs={"out": 2}))
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    ("factory", "kwargs", "said"),
    [
        ("no_such_package.models:net", {}, "cannot be imported.*Python path"),
        (f"{HERE}:no_such_function", {}, "cannot be imported.*no_such_function"),
        (f"{HERE}:raises", {}, "KeyError.*no such preset"),
        (f"{HERE}:net", {"width": 3}, "unexpected keyword argument .width.; it takes"),
        (f"{HERE}:no_module", {}, r"returned dict, expected a torch\.nn\.Module"),
        (f"{HERE}:HERE", {}, "TypeError"),
    ],
)
def test_a_bad_factory_is_named(factory, kwargs, said):
    with pytest.raises(SpecificationError, match=said) as error:
        build_model(ModelConfig(factory=factory, kwargs=kwargs))
    assert f"model.factory {factory}" in str(error.value)


def test_a_module_that_breaks_on_import_is_named(tmp_path, monkeypatch):
    (tmp_path / "broken_models.py").write_text("def net(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SpecificationError, match=r"broken_models:net.*SyntaxError"):
        build_model(ModelConfig(factory="broken_models:net"))
