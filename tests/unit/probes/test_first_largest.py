import pytest
import torch

from ray_audit.probes.likelihood import first_largest


@pytest.mark.parametrize("shape", [(2,), (2, 1, 1)], ids=["rows", "maps"])
@pytest.mark.parametrize("num_classes", [255, 256, 32_767, 32_768, 40_000])
def test_the_class_of_the_largest_logit_is_the_first_of_equals_however_many_there_are(
    num_classes, shape
):
    for place in (0, 100, num_classes - 1):
        logits = torch.zeros(shape[0], num_classes, *shape[1:])
        logits[:, place] = 5.0
        logits[1, num_classes - 1] = 5.0
        top, found = first_largest(logits)
        assert (top == 5.0).all()
        assert found.unique().tolist() == [place]
