import json

from benchmarks.quality.missing import KIND, SETS, counted, made, planted_segments, section

PLANTED = [("a", 10, 20, "cut"), ("b", 0, 8, "pack")]


def test_a_finding_is_right_that_names_the_class_and_overlaps_by_half():
    def right(*segment, kind=KIND):
        return counted([(kind, segment)], PLANTED)["right"]

    assert right("a", 10, 20, "cut") == 1
    assert right("a", 14, 22, "cut") == 1  # 6 of 12 frames
    assert right("a", 14, 23, "cut") == 0
    assert right("a", 10, 20, "pack") == 0
    assert right("b", 10, 20, "cut") == 0
    assert right("a", 10, 20, "cut", kind="boundary") == 0


def test_what_other_kinds_find_is_counted_apart():
    found = [("mislabel", ("a", 10, 20, "cut")), (KIND, ("b", 30, 40, "pack"))]
    expected = {"findings": 1, "right": 0, "planted": 2, "found": 0, "found_by_any": 1}
    assert counted(found, PLANTED) == expected


def test_a_planted_segment_is_the_span_of_wrong_frames(tmp_path):
    case = made("actions", "missing", "barely", "training").make(tmp_path, tmp_path, 1)
    (part,) = case.parts
    segments = planted_segments(case, part)
    assert len(segments) == 25  # of 50 sequences
    key, first, stop, true = segments[0]
    given = case.targets[case.keys.index(key)].numpy()
    (label,) = set(given[first:stop].tolist())
    assert str(label) != true
    # What it was given is the class of the segment before or behind.
    assert label in (given[max(first - 1, 0)], given[min(stop, len(given) - 1)])
    right = made("actions", "right", "barely", "training").make(tmp_path, tmp_path, 1)
    assert planted_segments(right, right.parts[0]) == []


def test_the_page_says_precision_recall_and_false_alarms(tmp_path):
    counts = {"sequences": 20, "num_seeds": 2}
    missing = counts | {"findings": 5, "right": 4, "planted": 10, "found": 4, "found_by_any": 6}
    cell = {"set": next(iter(SETS)), "regime": "fitted", "protocol": "training"}
    right = counts | dict.fromkeys(("right", "planted", "found", "found_by_any"), 0)
    cell |= {"missing": missing, "right": right | {"findings": 1}}
    (tmp_path / "found.json").write_text(json.dumps({"seeds": [1, 2], "cells": [cell]}))
    text = section(tmp_path / "found.json")
    row = "| poses | fitted | training | 2 | 10 | 5 | 0.80 | 0.40 (0.60) | 1 in 20 sequences |"
    assert row in text
    assert text.endswith("| all | | | | 10 | 5 | 0.80 | 0.40 (0.60) | 1 in 20 sequences |")
    assert section(tmp_path / "not_there.json") == ""
