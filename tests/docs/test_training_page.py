"""That the loops on the page about trainings run, and correct what they say."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

PAGE = Path(__file__).parents[2] / "docs/training.md"
LOOPS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
NUM, WRONG, SIDE, NUM_EPOCHS = 24, 5, 16, 16


def bright_squares():
    """Pictures of a bright square, of which some masks lack the upper quarter."""
    rng = np.random.default_rng(0)
    true = np.zeros((NUM, SIDE, SIDE), np.int64)
    for mask, (y, x) in zip(true, rng.integers(1, 6, (NUM, 2)), strict=True):
        mask[y : y + 8, x : x + 8] = 1
    given = true.copy()
    for index in range(WRONG):
        top = np.flatnonzero(true[index].any(axis=1))[0]
        given[index, top : top + 4] = 0
    images = true[:, None] + rng.normal(0, 0.05, (NUM, 1, SIDE, SIDE))
    return torch.from_numpy(images).float(), torch.from_numpy(given), true


@pytest.mark.parametrize("loop", LOOPS)
def test_a_loop_of_ones_own_corrects_what_is_wrong(loop, capsys):
    images, given, true = bright_squares()
    torch.manual_seed(0)
    model = nn.Conv2d(1, 2, 1)

    def batches():
        for rows in torch.randperm(NUM).split(4):
            yield [f"i{row:02}" for row in rows.tolist()], images[rows], given[rows]

    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    names = {"classes": ["ground", "square"], "num_epochs": NUM_EPOCHS, "batches": batches}
    names |= {"model": model, "optimizer": optimizer}
    exec(compile(loop, "training.md", "exec"), names)
    labels = names["corrector"].labels([f"i{index:02}" for index in range(NUM)], given)
    assert (given.numpy() != true).any()
    np.testing.assert_array_equal(labels.numpy(), true)
    assert len(capsys.readouterr().out.splitlines()) == NUM_EPOCHS


def test_both_ways_to_correct_are_on_the_page():
    found = [re.findall("EarlyLearningCorrection|RefurbishFlagged", loop)[0] for loop in LOOPS]
    assert found == ["EarlyLearningCorrection", "RefurbishFlagged"]
