"""Lighter calls of frozen layers give the same bits, and the same gradients but for rounding."""

import copy

import pytest
import torch
from torch import nn

from benchmarks.large_models import resnet50, vit_b
from ray_audit.probes.frozen import lighten, norm_call
from ray_audit.training.models import unet

CPU = torch.device("cpu")
MODELS = {
    "unet": (lambda: unet(4, width=8, depth=2), (2, 3, 16, 16)),
    "resnet50": (lambda: resnet50(7, width=8), (2, 3, 32, 32)),
    "vit": (lambda: vit_b(7, 32, width=64, depth=2), (2, 3, 32, 32)),
    "sequence": (lambda: nn.Sequential(nn.Conv1d(5, 8, 3), nn.BatchNorm1d(8)), (2, 5, 9)),
}


def frozen(name):
    torch.manual_seed(0)
    make, shape = MODELS[name]
    model = make()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 2)
    return model.eval().requires_grad_(False), torch.randn(shape)


def answer_and_gradient(model, x, dtype):
    leaf = x.clone().requires_grad_()
    with torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
        answer = model(leaf)
    (gradient,) = torch.autograd.grad(answer.float().square().sum(), leaf)
    return answer.detach(), gradient


@pytest.mark.parametrize("name", MODELS)
def test_weights_that_are_cast_once_change_no_bit(name):
    model, x = frozen(name)
    lighter = copy.deepcopy(model)
    lighten(lighter, torch.bfloat16, CPU)
    changed = [m for m in lighter.modules() if "forward" in vars(m)]
    assert changed
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), lighter.parameters(), strict=True)
    )
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(lighter(x), model(x))
    for actual, expected in zip(
        answer_and_gradient(lighter, x, torch.bfloat16),
        answer_and_gradient(model, x, torch.bfloat16),
        strict=True,
    ):
        assert torch.equal(actual, expected)


def test_float32_on_a_cpu_changes_nothing():
    model, _ = frozen("resnet50")
    lighten(model, None, CPU)
    assert not any("forward" in vars(module) for module in model.modules())


def test_a_changed_layout_is_followed():
    model, x = frozen("unet")
    lighten(model, torch.bfloat16, CPU)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert model.to(memory_format=torch.channels_last)(x).is_contiguous(
            memory_format=torch.channels_last
        )
        assert model.to(memory_format=torch.contiguous_format)(x).is_contiguous()


def test_layers_of_other_classes_keep_their_call():
    class Scaled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    model = Scaled(3, 3)
    lighten(model, torch.bfloat16, CPU)
    assert "forward" not in vars(model)


@pytest.mark.parametrize("name", ["unet", "resnet50", "sequence"])
def test_the_way_back_through_a_batch_norm_is_torchs_own(name):
    model, x = frozen(name)
    lighter = copy.deepcopy(model)
    for module in lighter.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.forward = norm_call(module)
    expected, gradient = answer_and_gradient(model, x, None)
    actual, lighter_gradient = answer_and_gradient(lighter, x, None)
    assert torch.equal(actual, expected)
    torch.testing.assert_close(
        lighter_gradient, gradient, rtol=1e-5, atol=1e-5 * float(gradient.abs().max())
    )


def test_a_batch_norm_keeps_the_layout_and_the_precision_of_its_gradient():
    norm = nn.BatchNorm2d(4).eval().requires_grad_(False)
    norm.running_var.uniform_(0.5, 2)
    call = norm_call(norm)
    x = torch.randn(2, 4, 5, 6).to(memory_format=torch.channels_last).bfloat16().requires_grad_()
    (gradient,) = torch.autograd.grad(call(x), x, torch.ones_like(x))
    assert gradient.dtype == torch.bfloat16
    assert gradient.is_contiguous(memory_format=torch.channels_last)
    expected = torch.rsqrt(norm.running_var + norm.eps).bfloat16()
    assert torch.equal(gradient, expected.view(1, -1, 1, 1).expand_as(gradient))
    with torch.no_grad():
        assert torch.equal(call(x), norm(x))
