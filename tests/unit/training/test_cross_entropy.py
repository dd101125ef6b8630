import pytest
import torch

from ray_audit.errors import SpecificationError
from ray_audit.training.cross_entropy import cross_entropy


@pytest.mark.parametrize(
    ("logit_shape", "target_shape"), [((4, 3), (4,)), ((4, 3, 5, 6), (4, 5, 6))]
)
def test_loss_is_torchs_mean_over_labelled_elements(logit_shape, target_shape):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(logit_shape, generator=generator)
    targets = torch.randint(-1, 3, target_shape, generator=generator)
    weights = torch.tensor([1.0, 0.2, 3.0])
    for given in (None, weights):
        expected = torch.nn.functional.cross_entropy(logits, targets, given, ignore_index=-1)
        assert torch.allclose(cross_entropy(logits, targets, weights=given), expected)


def test_frames_take_the_last_axis_as_classes():
    logits = torch.zeros(1, 3, 3)
    logits[0, 1, 2] = 100
    targets = torch.tensor([[-1, 2, -1]])
    assert cross_entropy(logits, targets) == 0
    assert cross_entropy(logits, torch.tensor([[2, -1, -1]])) == pytest.approx(1.0986, abs=1e-4)


def test_no_label_at_all_is_loss_zero():
    logits = torch.randn(2, 3, requires_grad=True)
    loss = cross_entropy(logits, torch.tensor([-1, -1]), weights=torch.ones(3))
    loss.backward()
    assert loss == 0
    assert cross_entropy(logits, torch.tensor([-1, -1])) == 0
    assert logits.grad.abs().sum() == 0


def test_wrong_shapes_are_named():
    with pytest.raises(SpecificationError, match=r"\(2, 5, 3\) for targets \(2, 4\)"):
        cross_entropy(torch.zeros(2, 5, 3), torch.zeros(2, 4, dtype=torch.int64))
