import numpy as np
import pytest

from ray_audit.cuts import stacking
from ray_audit.cuts.stacking import stacked


@pytest.fixture(autouse=True)
def _nothing_held(monkeypatch):
    monkeypatch.setattr(stacking, "_owners", stacking._Owners(2**20))


def features(num_rows=6, num_columns=4):
    return np.arange(num_rows * num_columns, dtype=np.float32).reshape(num_rows, num_columns).copy()


def test_an_array_of_its_own_is_not_copied():
    array = features()
    result = stacked([array])
    assert np.shares_memory(result, array)
    assert np.array_equal(result, array[None])


def test_rows_that_follow_each_other_are_a_view_and_clips_of_them_too():
    sequence = features()
    clips = [stacked([sequence[i], sequence[i + 1]]) for i in (0, 2, 4)]
    batch = stacked(clips)
    assert np.array_equal(batch, sequence.reshape(3, 2, 4))
    assert np.shares_memory(batch, sequence)


def test_a_sequence_that_lies_by_columns_gives_its_rows():
    sequence = np.asfortranarray(features())
    columns = [sequence.T[0], sequence.T[1]]
    assert np.array_equal(stacked(columns), sequence.T[:2])
    assert np.shares_memory(stacked(columns), sequence)
    rows = [sequence[0], sequence[1]]
    assert np.array_equal(stacked(rows), sequence[:2])
    assert not np.shares_memory(stacked(rows), sequence)


@pytest.mark.parametrize(
    "places", [(0, 2), (1, 0), (2, 2)], ids=["with a gap", "backwards", "one twice"]
)
def test_rows_in_another_order_are_copied(places):
    sequence = features()
    result = stacked([sequence[place] for place in places])
    assert np.array_equal(result, sequence[list(places)])
    assert not np.shares_memory(result, sequence)


def test_rows_of_two_sequences_are_copied():
    one, other = features(), features() + 100
    result = stacked([one[5], other[0]])
    assert np.array_equal(result, [one[5], other[0]])
    assert not np.shares_memory(result, one)


def test_pieces_with_gaps_are_copied():
    image = features(4, 8)
    tile = image[:, :4]
    result = stacked([tile])
    assert np.array_equal(result, tile[None])
    assert not np.shares_memory(result, image)


def test_rows_of_no_bytes_have_their_shape():
    assert stacked(list(np.zeros((3, 0), np.float32))).shape == (3, 0)


def test_what_views_hold_has_a_limit_and_counts_while_it_is_there(monkeypatch):
    first, second = features(), features()
    monkeypatch.setattr(stacking, "_owners", stacking._Owners(first.nbytes))
    held = stacked([first[0], first[1]])
    assert np.shares_memory(held, first)
    assert np.shares_memory(stacked([first[2], first[3]]), first)
    assert not np.shares_memory(stacked([second[0], second[1]]), second)
    del first
    assert not np.shares_memory(stacked([second[0], second[1]]), second)  # the view holds it
    del held
    assert np.shares_memory(stacked([second[0], second[1]]), second)


def test_memory_of_a_mapped_file_is_copied(tmp_path):
    np.save(tmp_path / "a.npy", features())
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert not np.shares_memory(stacked([mapped[0], mapped[1]]), mapped)
