import pytest
import torch

from benchmarks.plain_training import train_and_keep
from ray_audit.checkpoints.file_tensors import read_state
from ray_audit.errors import RunError, SpecificationError
from ray_audit.training.models import small_cnn

torch.set_num_threads(1)


def two_batches(epoch):
    generator = torch.Generator().manual_seed(5)
    for _ in range(2):
        targets = torch.arange(8) % 2
        noise = torch.randn(8, 3, 6, 6, generator=generator)
        yield noise + 2 * targets[:, None, None, None], targets


def train(folder, seed=0, **options):
    torch.manual_seed(0)
    model = small_cnn(2, width=2)
    settings = {"num_epochs": 6, "checkpoint_dir": folder, "learning_rate": 1e-2, "seed": seed}
    return model, train_and_keep(model, two_batches, **(settings | options))


def test_every_epoch_is_kept_and_loads(tmp_path):
    model, kept = train(tmp_path / "new")
    assert [path.name for path in kept] == [f"epoch_{i:03d}.safetensors" for i in range(1, 7)]
    assert sorted((tmp_path / "new").iterdir()) == kept
    states = [read_state(str(path)) for path in (kept[0], kept[-1])]
    assert not torch.equal(states[0]["head.weight"], states[1]["head.weight"])
    assert all(torch.equal(states[1][name], value) for name, value in model.state_dict().items())


def test_loss_falls(tmp_path):
    seen = []
    train(tmp_path, progress=lambda epoch, loss: seen.append((epoch, loss)))
    assert [epoch for epoch, _ in seen] == [1, 2, 3, 4, 5, 6]
    assert seen[-1][1] < 0.7 * seen[0][1]


def test_same_seed_same_bytes_and_global_generator_untouched(tmp_path):
    _, first = train(tmp_path / "a")
    state = torch.get_rng_state()
    _, second = train(tmp_path / "b")
    torch.manual_seed(0)
    small_cnn(2, width=2)
    assert torch.equal(state, torch.get_rng_state())
    assert first[-1].read_bytes() == second[-1].read_bytes()


def test_one_step_in_all_is_enough(tmp_path):
    batches = [next(two_batches(0))]
    model = small_cnn(2, width=2)
    kept = train_and_keep(
        model,
        lambda epoch: batches,
        num_epochs=1,
        checkpoint_dir=tmp_path,
        learning_rate=1e-2,
        seed=0,
    )
    assert len(kept) == 1


def test_no_batches_is_an_error(tmp_path):
    model = small_cnn(2, width=2)
    with pytest.raises(SpecificationError, match="no batches"):
        train_and_keep(
            model,
            lambda epoch: [],
            num_epochs=1,
            checkpoint_dir=tmp_path,
            learning_rate=1,
            seed=0,
        )


def test_diverged_training_stops_before_it_keeps_weights(tmp_path):
    def not_a_number(epoch):
        return [(torch.full((2, 3, 4, 4), float("nan")), torch.tensor([0, 1]))]

    model = small_cnn(2, width=2)
    with pytest.raises(RunError, match="epoch 1 is nan"):
        train_and_keep(
            model,
            not_a_number,
            num_epochs=2,
            checkpoint_dir=tmp_path,
            learning_rate=1e-3,
            seed=0,
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("one_cycle", "first_step"), [(True, 1e-2 / 25), (False, 1e-2)])
def test_a_cycle_begins_at_a_25th_of_its_rate_and_a_constant_rate_does_not(
    tmp_path, one_cycle, first_step
):
    model = torch.nn.Linear(2, 2)
    torch.nn.init.zeros_(model.weight)
    batches = [(torch.ones(1, 2), torch.tensor([0]))]
    first, *_ = train_and_keep(
        model,
        lambda epoch: batches,
        num_epochs=10,
        checkpoint_dir=tmp_path,
        learning_rate=1e-2,
        seed=0,
        one_cycle=one_cycle,
    )
    # The first step of Adam is the rate itself, against the gradient's sign.
    expected = torch.tensor([[first_step] * 2, [-first_step] * 2])
    assert torch.allclose(read_state(str(first))["weight"], expected, rtol=1e-4)
