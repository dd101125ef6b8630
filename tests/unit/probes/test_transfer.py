import warnings

import numpy as np
import pytest
import torch

from ray_audit.config import InputConfig
from ray_audit.probes.prepare import model_input
from ray_audit.probes.transfer import lent

CPU = torch.device("cpu")


def read_only(array):
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    "array",
    [
        np.arange(24, dtype=np.float32).reshape(2, 3, 4),
        np.arange(24, dtype=np.uint8).reshape(1, 2, 4, 3).transpose(0, 3, 1, 2),
    ],
    ids=["rows", "channels last"],
)
def test_memory_that_is_lent_is_that_of_the_array_without_a_warning(array):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tensor = lent(read_only(array), CPU)
    assert np.array_equal(tensor.numpy(), array)
    assert np.shares_memory(tensor.numpy(), array)
    assert tensor.numpy().strides == array.strides


def test_memory_that_is_lent_lives_as_long_as_the_tensor():
    tensor = lent(np.full((64, 1024), 7.0, np.float32), CPU)
    others = [np.zeros((64, 1024), np.float32) for _ in range(8)]
    assert len(others) == 8
    assert bool((tensor == 7).all())


def test_arrays_with_gaps_and_empty_ones_are_copied():
    gaps = np.arange(24, dtype=np.float32).reshape(4, 6)[:, ::2]
    assert np.array_equal(lent(gaps, CPU).numpy(), gaps)
    assert not np.shares_memory(lent(gaps, CPU).numpy(), gaps)
    assert lent(np.zeros((0, 3), np.float32), CPU).shape == (0, 3)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_pixels_are_scaled_in_memory_of_their_own(kind):
    pixels = read_only(np.full((1, 3, 2, 2), 51, kind))
    scaled = model_input(pixels, InputConfig(mean=[0.1] * 3, std=[0.5] * 3), CPU)
    assert not np.shares_memory(scaled.numpy(), pixels)
    assert pixels.min() == pixels.max() == 51
