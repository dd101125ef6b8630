from dataclasses import replace

from ray_audit.findings.finding import Finding, findings_table
from ray_audit.schemas import FINDINGS

SEGMENT = Finding(
    kind="mislabel",
    shard="a.mp4",
    sample_id="a.mp4#10",
    given="cut",
    suggested="clip",
    suspicion=0.9,
    reason="because",
    anchor="10-20",
    start_frame=10,
    end_frame=20,
)


def test_the_id_does_not_depend_on_what_the_models_say():
    later = replace(SEGMENT, suggested="mark", suspicion=0.2, reason="other", loss=3.0)
    assert later.finding_id == SEGMENT.finding_id


def test_the_id_depends_on_place_kind_and_given_label():
    others = [
        replace(SEGMENT, shard="b.mp4"),
        replace(SEGMENT, anchor="10-21"),
        replace(SEGMENT, kind="disorder"),
        replace(SEGMENT, given="clip"),
    ]
    assert len({item.finding_id for item in [SEGMENT, *others]}) == 5


def test_rows_have_the_declared_columns_and_no_rank_yet():
    table = findings_table([SEGMENT], {"run": "r"})
    assert table.column_names == [column.name for column in FINDINGS]
    assert table["rank"].to_pylist() == [None]
    assert table["finding_id"].to_pylist() == [SEGMENT.finding_id]
    assert table.schema.metadata == {b"run": b"r"}


def test_no_findings_are_an_empty_table():
    assert findings_table([], {}).num_rows == 0
