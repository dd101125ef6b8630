"""Versions of what no single measure declares; `tests/golden` fails where one must move."""

RECORD_VERSION = 6
"""Raised whenever the numbers in a record change for other reasons than a quantity's own, such as
decoding, cutting or batching: older records are not reused then."""

SCORE_VERSION = 17
"""Raised whenever equal records give another ranking, other findings or class statistics for other
reasons than a score's own: a run is another one then."""
