import json

from ray_audit import storage
from ray_audit.report.night_changes import NUM_NIGHTS, make_changes
from ray_audit.tables.run_tables import RunTables
from tests.functional.tables.test_diff import image, write_night


def night(output, date, *findings, digest="0123abcd", left_out=0, published_s=None, **settings):
    run_id = f"{date}-{digest}"
    write_night(str(output), run_id, findings)
    uri = f"{output}/runs/{run_id}/manifest.json"
    values = json.loads(storage.read_bytes(uri))
    values["findings"] = {"total": len(findings), "by_kind": {"mislabel": len(findings)}}
    values["specification"] |= settings
    values["plan"] = {"num_shards": 2, "num_left_out": left_out}
    values["published_s"] = published_s
    storage.write_bytes(uri, json.dumps(values).encode())
    return RunTables.open(str(output), run_id)


def test_the_first_night_has_none(tmp_path):
    assert make_changes(night(tmp_path, "2026-01-01", image("a"))) is None


def test_changes_are_those_since_the_date_before(tmp_path):
    night(tmp_path, "2026-01-01", image("a"))
    night(tmp_path, "2026-01-02", image("a"), image("b"))
    night(tmp_path, "2026-01-04", image("z"))  # later nights count for nothing
    found = make_changes(night(tmp_path, "2026-01-03", image("b"), image("c")))
    assert found["totals"] == {"new": 1, "fixed": 1, "recurring": 1}
    assert [item["sample_id"] for item in found["fixed"]] == ["a"]
    assert sorted(found["of_finding"].values()) == ["new", "recurring"]
    assert [item["total"] for item in found["nights"]] == [1, 2, 2]
    assert found["against"] == "2026-01-02-0123abcd"


def test_of_two_runs_of_a_date_the_one_published_last_is_its_night(tmp_path):
    night(tmp_path, "2026-01-01", image("a"), digest="ffffffff", published_s=1.0)
    night(tmp_path, "2026-01-01", image("a"), image("b"), digest="00000000", published_s=2.0)
    found = make_changes(night(tmp_path, "2026-01-02", image("b"), published_s=3.0))
    assert found["against"] == "2026-01-01-00000000"
    assert found["totals"] == {"new": 0, "fixed": 1, "recurring": 1}
    assert [item["total"] for item in found["nights"]] == [2, 1]


def test_a_trial_is_no_night_before(tmp_path):
    night(tmp_path, "2026-01-01", image("a"), published_s=1.0)
    night(tmp_path, "2026-01-01", digest="ffffffff", left_out=4, published_s=2.0)
    night(tmp_path, "2026-01-02", left_out=4, published_s=3.0)
    found = make_changes(night(tmp_path, "2026-01-03", image("a"), published_s=4.0))
    assert found["against"] == "2026-01-01-0123abcd"
    assert [item["total"] for item in found["nights"]] == [1, 1]


def test_a_chosen_run_comes_before_the_last_one(tmp_path):
    first = night(tmp_path, "2026-01-01")
    night(tmp_path, "2026-01-02", image("a"))
    last = night(tmp_path, "2026-01-03", image("a"))
    assert make_changes(last, first.manifest.run_id)["totals"]["new"] == 1
    assert make_changes(last)["totals"]["recurring"] == 1


def test_nights_with_other_settings_are_said_and_have_no_place_in_the_trend(tmp_path):
    night(tmp_path, "2026-01-01", image("a"), protocol="held_out")
    found = make_changes(night(tmp_path, "2026-01-02", image("a"), protocol="training"))
    assert [item.split(" was ")[0] for item in found["settings"]] == ["protocol"]
    assert [item["run_id"] for item in found["nights"]] == ["2026-01-02-0123abcd"]


def test_the_trend_holds_the_last_nights_only(tmp_path):
    for day in range(1, NUM_NIGHTS + 5):
        last = night(tmp_path, f"2026-01-{day:02}", image("a"))
    nights = make_changes(last)["nights"]
    assert len(nights) == NUM_NIGHTS
    assert nights[-1]["run_id"] == last.manifest.run_id
