"""Which column of a table is the label, and what is asked where nothing tells."""

import pytest

from ray_audit.discovery.label_columns import counted, reading_of
from ray_audit.discovery.table_heads import Head


def head(titles, rows):
    return Head(names=titles, rows=rows, keys={})


ROWS = [[f"{n}.png", ("ok", "bent", "dented")[n % 3], ("anna", "ben")[n // 5]] for n in range(9)]


@pytest.mark.parametrize(
    ("titles", "label", "asks"),
    [
        (["file", "verdict", "inspector"], "verdict", False),
        (["file", "shape", "annotator name"], "shape", False),
        (["file", "class", "shift"], "class", False),
        (["file", "found", "shift"], "shift", True),
    ],
)
def test_titles_tell_labels_from_who_gave_them(titles, label, asks):
    reading = reading_of(head(titles, ROWS), 0, "images")
    assert reading.labels["columns"] == {"image": "file", "label": label}
    assert any("which column is the label" in each for each in reading.questions) == asks


def test_segments_of_whole_numbers_that_begin_one_behind_the_last_are_inclusive():
    rows = [["v", "0", "9", "a"], ["v", "10", "19", "b"], ["v", "20", "29", "a"]]
    titles = ["video", "start", "end", "label"]
    reading = reading_of(head(titles, rows), 0, "video")
    assert reading.form == "segments"
    assert counted([reading]).labels == {"ends": "inclusive"}
