import pytest
import torch

from ray_audit.training import models

torch.set_num_threads(1)

ODD_SIZES = [(1, 1), (7, 5), (17, 33), (32, 32)]


@pytest.mark.parametrize("size", ODD_SIZES)
def test_unet_keeps_any_size(size):
    model = models.unet(4, in_channels=2, width=4).eval()
    assert model(torch.randn(2, 2, *size)).shape == (2, 4, *size)


@pytest.mark.parametrize("size", ODD_SIZES)
def test_small_cnn_takes_any_size(size):
    model = models.small_cnn(5, width=4).eval()
    assert model(torch.randn(3, 3, *size)).shape == (3, 5)


@pytest.mark.parametrize("num_frames", [1, 2, 31, 200])
def test_tcn_takes_any_length(num_frames):
    model = models.tcn(6, in_features=3, width=8, num_layers=4)
    assert model(torch.randn(2, num_frames, 3)).shape == (2, num_frames, 6)


@pytest.mark.parametrize("num_frames", [1, 2, 33])
def test_frame_transformer_answers_each_frame(num_frames):
    model = models.frame_transformer(6, width=8, num_layers=2).eval()
    assert model(torch.randn(2, num_frames, 3, 15, 9)).shape == (2, num_frames, 6)


def test_clip_cnn_answers_once_a_clip():
    model = models.clip_cnn(6, width=8).eval()
    assert model(torch.randn(2, 5, 3, 15, 9)).shape == (2, 6)


@pytest.mark.parametrize(
    ("factory", "kwargs", "shape"),
    [
        (models.unet, {"width": 4}, (1, 3, 9, 9)),
        (models.tcn, {"in_features": 3, "width": 8, "num_layers": 2}, (1, 4, 3)),
        (models.small_cnn, {"width": 4}, (1, 3, 9, 9)),
        (models.frame_transformer, {"width": 8}, (1, 4, 3, 9, 9)),
        (models.clip_cnn, {"width": 8}, (1, 4, 3, 9, 9)),
    ],
)
def test_seed_fixes_weights_and_gradients_change_nothing(factory, kwargs, shape):
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(3))

    def answer(seed):
        torch.manual_seed(seed)
        return factory(2, **kwargs).eval()

    with torch.no_grad():
        without = answer(0)(inputs)
        assert not torch.equal(without, answer(1)(inputs))
    with_gradients = answer(0)(inputs.requires_grad_())
    assert torch.equal(without, with_gradients.detach())
    (gradient,) = torch.autograd.grad(with_gradients.sum(), inputs)
    assert gradient.abs().sum() > 0


def test_frame_transformer_looks_at_other_frames_and_their_order():
    torch.manual_seed(0)
    model = models.frame_transformer(3, width=16).eval()
    clip = torch.randn(1, 6, 3, 16, 16)
    swapped = clip[:, [1, 0, 2, 3, 4, 5]]
    assert not torch.allclose(model(clip)[:, 5], model(swapped)[:, 5], atol=1e-6)


def test_tcn_sees_as_far_as_its_dilations():
    torch.manual_seed(0)
    model = models.tcn(2, in_features=1, width=8, num_layers=3)
    features = torch.randn(1, 40, 1, requires_grad=True)
    (gradient,) = torch.autograd.grad(model(features)[0, 20].sum(), features)
    seen = torch.flatten(gradient).nonzero().flatten()
    assert (seen.min(), seen.max()) == (20 - 7, 20 + 7)


def test_positions_are_those_of_the_transformer_paper():
    code = models.sinusoidal_positions(3, 5)
    assert code.shape == (3, 5)
    angle = 2 * 10_000 ** (-2 / 5)
    expected = torch.tensor([torch.tensor(angle).sin(), torch.tensor(angle).cos()])
    assert torch.allclose(code[2, 2:4], expected)
