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
    # Here, as below: who only opens a run need not wait for scipy.
    from scipy import sparse
    from scipy.sparse import csgraph

    run_of = np.cumsum(is_start.reshape(-1), dtype=np.int32).reshape(labels.shape)
    run_of -= 1
    label_of = labels.reshape(-1)[np.flatnonzero(is_start)]
    num_runs = len(label_of)
    # Where two runs touch, one of them starts somewhere below or above the other: once is enough.
    touching = labels[1:] == labels[:-1]
    touching &= is_start[1:] | is_start[:-1]
    pairs = run_of[:-1][touching], run_of[1:][touching]
    graph = sparse.coo_matrix((np.ones(len(pairs[0]), bool), pairs), shape=(num_runs, num_runs))
    _, component_of = csgraph.connected_components(graph, directed=False)
    _, first_run = np.unique(component_of, return_index=True)
    order = np.lexsort((first_run, label_of[first_run]))
    order = order[label_of[first_run][order] >= 0]
    names = np.full(len(first_run), -1, np.int32)
    names[order] = np.arange(len(order))
    components: npt.NDArray[np.int32] = names[component_of][run_of]
    return components


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
