"""States of scores that are streamed: parts, folded in any order, give the whole."""

from dataclasses import asdict

import numpy as np


def folded_both_ways(empty, parts):
    """From the first part to the last, and from the last to the first."""
    forward, backward = empty, empty
    for part in parts:
        forward = forward.merge(part)
    for part in reversed(parts):
        backward = part.merge(backward)
    return forward, backward


def assert_same_state(state, expected):
    """Equal but for the rounding of sums, and of the same types."""
    for name, value in _flat(asdict(expected)).items():
        found = _flat(asdict(state))[name]
        np.testing.assert_allclose(found, value, rtol=1e-13, err_msg=name)
        assert np.asarray(found).dtype == np.asarray(value).dtype, name


def _flat(values):
    flat = {}
    for name, value in values.items():
        flat |= _flat(value) if isinstance(value, dict) else {name: value}
    return flat
