"""Connected components of a mask: regions of equal label that touch along an edge."""

import numpy as np
import numpy.typing as npt

_LEAST_PX_PER_RUN = 8


def connected_components(labels: npt.NDArray[np.integer]) -> npt.NDArray[np.int32]:
    """Number the 4-connected components of equal label, by class and then position.

    Rows are taken as runs of equal label, of which a mask has few, and runs that touch are joined:
    several times as fast as a search for each class. A mask of noise has nearly as many runs as
    pixels, and they would take ten times its memory: there each class is searched for in its box.

    Args:
        labels: (H, W) class indices, negative where unlabelled.

    Returns:
        (H, W) int32: ids from 0 without gaps, -1 where unlabelled.

    >>> connected_components(np.array([[0, 1, 0], [0, 1, -1]])).tolist()
    [[0, 2, 1], [0, 2, -1]]
    """
    is_start = np.ones(labels.shape, bool)
    np.not_equal(labels[:, 1:], labels[:, :-1], out=is_start[:, 1:])
    if np.count_nonzero(is_start) * _LEAST_PX_PER_RUN > labels.size:
        return _by_class(labels)
    return _by_runs(labels, is_start)


def _by_runs(
    labels: npt.NDArray[np.integer], is_start: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int32]:
    begins = np.flatnonzero(is_start)
    num_runs, num_px = len(begins), np.diff(begins, append=labels.size)
    label_of = labels.reshape(-1)[begins]
    run_of = np.repeat(np.arange(num_runs, dtype=np.int32), num_px).reshape(labels.shape)
    # Where two runs touch, one of them starts somewhere below or above the other: once is enough.
    touching = labels[1:] == labels[:-1]
    touching &= is_start[1:] | is_start[:-1]
    component_of = joined(run_of[:-1][touching], run_of[1:][touching], num_runs)
    first_run = np.empty(component_of.max(initial=-1) + 1, np.int64)
    first_run[component_of[::-1]] = np.arange(num_runs)[::-1]  # of equals the last one written
    order = np.lexsort((first_run, label_of[first_run]))
    order = order[label_of[first_run][order] >= 0]
    names = np.full(len(first_run), -1, np.int32)
    names[order] = np.arange(len(order))
    components: npt.NDArray[np.int32] = np.repeat(names[component_of], num_px)
    return components.reshape(labels.shape)


def joined(
    first: npt.NDArray[np.integer], second: npt.NDArray[np.integer], num: int
) -> npt.NDArray[np.int32]:
    """Number what is joined by pairs, from 0 in the order of the first member of each.

    Args:
        first: (P,) one of each pair, ascending: so the graph is there without a sort.
        second: (P,) the other one.
        num: of members, numbered from 0.

    Returns:
        (num,) number of the group that each belongs to.

    >>> joined(np.array([0, 1]), np.array([3, 2]), 5).tolist()
    [0, 1, 1, 0, 2]
    """
    # Here, as below: who only opens a run need not wait for scipy.
    from scipy import sparse
    from scipy.sparse import csgraph

    begins = np.zeros(num + 1, np.int32)
    np.cumsum(np.bincount(first, minlength=num), out=begins[1:])
    # In float64, as which scipy would copy it, and by rows.
    graph = sparse.csr_array((np.ones(len(first)), second, begins), shape=(num, num))
    _, group_of = csgraph.connected_components(graph, directed=False)
    groups: npt.NDArray[np.int32] = group_of
    return groups


def _by_class(labels: npt.NDArray[np.integer]) -> npt.NDArray[np.int32]:
    from scipy import ndimage

    components = np.full(labels.shape, -1, np.int32)
    num_found = 0
    numbers = labels.astype(np.int16 if labels.itemsize == 1 else np.int32) + 1
    for label, box in enumerate(ndimage.find_objects(numbers)):
        if box is None:
            continue
        of_class = labels[box] == label
        numbered, count = ndimage.label(of_class)
        numbered += num_found - 1  # in place: the image may have 10^8 pixels
        np.copyto(components[box], numbered, where=of_class)
        num_found += count
    return components
