"""What a GPU says is what the CPU says, but for rounding, and the same every time.

Stated tolerances: float32 without TF32 within 1e-3 of the largest value, bf16 within 5e-2.
"""

import copy
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from ray_audit.config import InputConfig
from ray_audit.probes.dense_final import class_sums, count
from ray_audit.probes.gradients import Moments
from ray_audit.probes.payload import without_payload
from ray_audit.probes.prober import Prober, ProbeSettings, ProbeTurn
from ray_audit.probes.transfer import Stopwatch, download, upload
from ray_audit.probes.void import void_states
from ray_audit.samples import IGNORE
from ray_audit.training.models import unet
from tests.support.batches import class_batch, dense_batch

NUM_CLASSES = 5
CPU = torch.device("cpu")
TOLERANCE = {"float32": 1e-3, "bf16": 5e-2}
COUNTS = {"trajectory/confusion", "final/class_counts", "final/tccp", "final/below"}


def image_models(num=3):
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
    models = []
    for _ in range(num):
        head = nn.Sequential(nn.Flatten(), nn.Linear(16 * 12 * 10, NUM_CLASSES))
        models.append(nn.Sequential(copy.deepcopy(backbone), head))
    return [model.eval().requires_grad_(False) for model in models]


def mask_models(num=3):
    models = []
    for seed in range(num):
        torch.manual_seed(seed)
        models.append(unet(NUM_CLASSES, width=8, depth=2).eval().requires_grad_(False))
    return models


def batch_of(kind):
    rng = np.random.default_rng(0)
    if kind == "images":
        inputs = rng.integers(0, 256, (8, 3, 12, 10), np.uint8)
        return image_models(), class_batch(inputs, rng.integers(0, NUM_CLASSES, 8))
    masks = rng.integers(0, NUM_CLASSES, (3, 40, 48))
    masks[:, 5:25, 5:30] = IGNORE
    return mask_models(), dense_batch(rng.integers(0, 256, (3, 3, 40, 48), np.uint8), masks)


def probed(kind, device, precision="float32", compiles=False):
    models, batch = batch_of(kind)
    settings = ProbeSettings(
        NUM_CLASSES, InputConfig(), None, "loss", 0.1, precision, compiles=compiles
    )
    prober = Prober([model.to(device) for model in models], settings, device)
    turns = {i: ProbeTurn(is_final=i == 2, in_window=True) for i in range(3)}
    arrays = without_payload(batch.with_arrays(prober.observe(batch, turns))).arrays
    return {name: values for name, values in arrays.items() if name != "trajectory/probe_s"}


@pytest.mark.parametrize("kind", ["images", "masks"])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_gpu_agrees_with_the_cpu(cuda, exact, kind, precision):
    expected, actual = probed(kind, CPU), probed(kind, cuda, precision)
    assert actual.keys() == expected.keys()
    for name in ("loss", "p_label", "margin", "el2n", "grad_sqnorm"):
        first, other = (arrays[f"trajectory/{name}"] for arrays in (actual, expected))
        np.testing.assert_allclose(
            first, other, rtol=0, atol=TOLERANCE[precision] * np.abs(other).max(), err_msg=name
        )
    np.testing.assert_allclose(
        actual["vog/sum"], expected["vog/sum"], rtol=10 * TOLERANCE[precision]
    )


def test_compiled_models_agree_with_the_cpu(cuda, exact):
    expected, actual = probed("images", CPU), probed("images", cuda, compiles=True)
    for name in ("loss", "p_label", "margin", "el2n", "grad_sqnorm"):
        first, other = (arrays[f"trajectory/{name}"] for arrays in (actual, expected))
        np.testing.assert_allclose(
            first, other, rtol=0, atol=TOLERANCE["float32"] * np.abs(other).max(), err_msg=name
        )


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_a_gpu_repeats_every_bit(cuda, exact, kind):
    first, again = probed(kind, cuda), probed(kind, cuda)
    for name in first:
        assert np.array_equal(first[name], again[name], equal_nan=True), name


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_a_batch_on_its_way_beside_other_work_gives_the_same_bits(cuda, exact, kind):
    models, batch = batch_of(kind)
    settings = ProbeSettings(NUM_CLASSES, InputConfig(), None, "loss", 0.1, "float32")
    prober = Prober([model.to(cuda) for model in models], settings, cuda)
    turns = {i: ProbeTurn(is_final=i == 2, in_window=True) for i in range(3)}
    expected = prober.observe(batch, turns)
    following = prober.ready(batch)
    for _ in range(5):
        actual, following = prober.observe(batch, turns, ready=following), prober.ready(batch)
        for name in expected.keys() - {"trajectory/probe_s"}:
            assert np.array_equal(actual[name], expected[name], equal_nan=True), name


@pytest.fixture
def exact():
    """As an actor of the relay computes."""
    from ray_audit.probes.determinism import repeat_every_bit

    repeat_every_bit()
    yield
    torch.use_deterministic_algorithms(False)


def test_counts_and_sums_by_class_equal_those_of_the_cpu(cuda):
    rng = np.random.default_rng(0)
    classes = torch.from_numpy(rng.integers(0, 7, (4, 30, 30)))
    kept = torch.from_numpy(rng.random((4, 30, 30)) < 0.7)
    values = torch.from_numpy(rng.random((4, 30, 30), np.float32))
    assert torch.equal(count(classes.to(cuda), kept.to(cuda), 7).cpu(), count(classes, kept, 7))
    result = class_sums(values.to(cuda), classes.to(cuda), kept.to(cuda), 7).cpu()
    assert torch.allclose(result, class_sums(values, classes, kept, 7), rtol=1e-12)


def test_unlabelled_regions_equal_those_of_the_cpu(cuda):
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(0, 3, (2, 70, 20, 20)).astype(np.float32))
    voids = np.zeros((2, 20, 20), np.uint8)
    voids[0, 3:9, 4:9], voids[1, 10:, :] = 1, 2
    rects = np.array([[0, 0, 20, 20]] * 2)
    (expected,) = download([void_states(logits, voids, rects)])
    (actual,) = download([void_states(logits.to(cuda), voids, rects)])
    assert np.array_equal(actual["void_class"], expected["void_class"])
    np.testing.assert_allclose(actual["void_sum"], expected["void_sum"], rtol=1e-5)


def test_copies_are_pinned_and_the_clock_is_the_devices(cuda):
    values = np.arange(10_000, dtype=np.uint8).reshape(100, 100)
    watch = Stopwatch(cuda)
    on_device = upload(values, cuda)
    watch.mark()
    (result,) = download([{"values": on_device}])
    assert np.array_equal(result["values"], values)
    (lap_s,) = watch.laps_s()
    assert 0 <= lap_s < 10


def test_a_batch_travels_by_a_stream_of_its_own(cuda):
    """While the models' stream is busy, the next batch arrives all the same."""
    models, batch = batch_of("images")
    settings = ProbeSettings(NUM_CLASSES, InputConfig(), None, None, 0.1, "float32")
    prober = Prober([model.to(cuda) for model in models], settings, cuda)
    prober.ready(batch).arrived.synchronize()  # what is set up once may wait
    torch.cuda.synchronize()
    torch.cuda._sleep(2_000_000_000)  # cycles: about a second
    busy = torch.cuda.Event()
    busy.record()
    prober.ready(batch).arrived.synchronize()
    assert not busy.query()
    torch.cuda.synchronize()


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_no_checkpoint_waits_for_the_device(cuda, kind):
    """Between the upload and the download nothing may synchronise: torch itself watches."""
    models, batch = batch_of(kind)
    settings = ProbeSettings(NUM_CLASSES, InputConfig(), None, "loss", 0.1, "float32")
    prober = Prober([model.to(cuda) for model in models], settings, cuda)
    turns = {i: ProbeTurn(is_final=False, in_window=True) for i in range(3)}
    prober.observe(batch, turns)  # what is set up once may wait
    moments = Moments(batch.arrays, cuda)
    with warnings.catch_warnings(action="ignore"):  # torch calls this mode a prototype
        torch.cuda.set_sync_debug_mode("error")
    try:
        given = prober._given(batch)
        for index, turn in turns.items():
            prober._turn(index, given, turn, moments)
    finally:
        torch.cuda.set_sync_debug_mode("default")
