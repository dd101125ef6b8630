import numpy as np
import pytest
import torch
from scipy import ndimage

from ray_audit import rle
from ray_audit.probes.disagreement import connected, padded, padded_place, runs_of_pieces
from ray_audit.probes.masks import Maps


def pieces_by_kind(kinds_NHW):
    """Pieces of each kind by a search of its own, numbered by their first pixels; -1 without."""
    pieces, num_found = np.full(kinds_NHW.shape, -1), 0
    alone = ndimage.generate_binary_structure(3, 1)
    alone[0] = alone[2] = False
    for kind in range(kinds_NHW.max() + 1):
        numbered, num = ndimage.label(kinds_NHW == kind, alone)
        pieces[numbered > 0] = numbered[numbered > 0] + num_found - 1
        num_found += num
    kept = pieces[pieces >= 0]
    _, first = np.unique(kept, return_index=True)
    rank = np.empty(num_found, int)
    rank[np.argsort(first)] = np.arange(num_found)
    return rank[kept]


def found(kinds_NHW):
    place = np.flatnonzero(kinds_NHW >= 0)
    shape = torch.Size(kinds_NHW.shape)
    kind = kinds_NHW.reshape(-1)[place]
    return place, connected(padded_place(place, shape), kind, padded(shape, -1), shape)


@pytest.mark.parametrize("seed", range(8))
def test_pieces_are_those_of_a_search_for_each_kind(seed):
    rng = np.random.default_rng(seed)
    block = 1 + seed % 3
    kinds = rng.integers(-1, 3, (2, 9, 11)).repeat(block, 1).repeat(block, 2)
    _, pieces = found(kinds)
    assert np.array_equal(pieces, pieces_by_kind(kinds))


@pytest.mark.parametrize("value", [-1, 0])
@pytest.mark.parametrize("size", [(1, 1), (1, 6), (6, 1)])
def test_pieces_of_masks_of_one_kind(value, size):
    _, pieces = found(np.full((2, *size), value))
    assert np.array_equal(np.unique(pieces), [] if value < 0 else [0, 1])


@pytest.mark.parametrize("seed", range(4))
def test_runs_of_pieces_are_their_runs_in_the_whole_image(seed):
    rng = np.random.default_rng(seed)
    kinds = rng.integers(-1, 2, (2, 6, 7)).repeat(2, 1).repeat(2, 2)
    kinds[:, -1, -1] = kinds[:, 0, 0] = 0  # of the first and of the last place of a column
    place, pieces = found(kinds)
    placements = np.array([[3, 2, 20, 18], [0, 1, 12, 15]])
    maps = Maps(torch.zeros(0), np.zeros(0), np.zeros(0), np.zeros((2, 4)), placements)
    num = pieces.max() + 1
    runs, num_runs = runs_of_pieces(place, pieces, maps, torch.Size(kinds.shape), num)
    expected = []
    for piece in range(num):
        mask, y, x = np.unravel_index(place[pieces == piece], kinds.shape)
        top, left, height, width = placements[mask[0]]
        image = np.zeros((height, width), bool)
        image[y + top, x + left] = True
        expected.append(rle.runs_of(image))
    assert num_runs.tolist() == [len(of) for of in expected]
    assert np.array_equal(runs, np.concatenate(expected))
