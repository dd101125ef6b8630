"""What a person reads of a run's first findings."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from ray_audit.console.outcome import print_findings, print_outcome


def finding(rank, sample_id, kind, start=None, end=None):
    span = {"start_frame": start, "end_frame": end, "shard": "v.mp4"}
    classes = {"given": "road", "suggested": "car", "reason": f"reason {rank}"}
    return {"rank": rank, "sample_id": sample_id, "kind": kind} | span | classes


def test_findings_of_one_image_follow_its_first_and_name_it_once():
    rows = [
        finding(1, "a.png", "mislabel"),
        finding(2, "b.png", "mislabel"),
        finding(3, "a.png", "missing_region"),
        finding(4, "v.mp4#0", "mislabel", 0, 9),
        finding(5, "v.mp4#0", "boundary", 0, 4),
    ]
    console = Console(file=io.StringIO(), width=100)
    print_findings(rows, console)
    lines = [line for line in console.file.getvalue().splitlines() if "->" in line]
    assert [line.split()[0] for line in lines] == ["1", "3", "2", "4", "5"]
    assert "a.png" in lines[0]
    assert "and there" in lines[1]
    assert "a.png" not in lines[1]
    assert "frames 0-8" in lines[3]
    assert "frames 0-3" in lines[4]


@pytest.mark.parametrize("protocol", ["training", "held_out"])
def test_what_is_counted_by_checkpoints_that_know_the_labels_is_too_few(protocol):
    estimate = {"num_wrong": 14.2, "unit": "images", "fraction": 0.014, "low": None, "high": None}
    manifest = SimpleNamespace(
        protocol=protocol,
        findings={"total": 0, "num_samples": 0, "by_kind": {}},
        estimate=estimate | {"no_interval": "they may have learnt wrong ones"},
        judgements=lambda: (),
        top_findings=[],
        top=[],
        tables={},
    )
    counts = {"entered": 1, "scored": 1, "filtered": 0, "failed": 0}
    run = SimpleNamespace(
        run_id="r",
        reused=False,
        duration_s=1.0,
        counts=counts,
        notes=(),
        breached_gates=(),
        uri="u",
    )
    run.manifest = manifest
    console = Console(file=io.StringIO(), width=400)
    print_outcome(run, console)
    text = console.file.getvalue()
    assert "About 14 images are estimated to be labelled wrongly (1.4% of all" in text
    assert ("ray-audit run --folds" in text) == (protocol == "training")
