"""Batches packed into crates of any size give the same tables; crates join, or do not count."""

from dataclasses import replace
from itertools import pairwise

import pytest

from ray_audit.engine.backends import stages
from ray_audit.engine.backends.local import LocalBackend
from ray_audit.engine.backends.ray.pipeline import _work_json, _work_of
from ray_audit.engine.backends.stages import StageSettings, decode_unit
from ray_audit.engine.ledger.crates import CrateFile
from ray_audit.engine.planning import plan as planning
from ray_audit.engine.planning.layout import ClusterResources, NodeResources
from ray_audit.engine.planning.plan import make_plan, read_inputs
from ray_audit.engine.run.audit import run_audit
from ray_audit.errors import RunError
from tests.support import small_sets
from tests.support.tables import assert_identical, rows_of

ONE_BATCH, ALL = 0, 2**40
SIZES = {"a batch": ONE_BATCH, "a few": 3_000, "all": ALL}


@pytest.fixture
def sized(monkeypatch):
    """Sets the size of crates, whatever the plan would choose."""

    def choose(num_bytes):
        monkeypatch.setattr(planning, "crate_bytes", lambda *_: (num_bytes, "as the test wants"))

    return choose


def audited(small, name, day="2026-01-31", **changes):
    changes = {"engine": {"batch_size": 2}} | changes
    config = small.config(output=str(small.folder / name), **changes)
    return run_audit(config, local=True, logical_date=day)


def crates_of(small, name):
    """Names of the records below an output, by set."""
    folder = small.folder / name / "units"
    files = [CrateFile.of(str(path)) for path in folder.rglob("*.parquet")]
    return sorted(file.name for file in files)


def sets_of_masks(folder):
    small = small_sets.masked_images(folder)
    small.values["dataset"]["tile"] = {"size": 12, "overlap": 4}
    return small


MAKERS = {
    "videos": (small_sets.labelled_videos, {"vog": {"keep_moments": True}}),
    "images": (small_sets.class_folders, {}),
    "masks": (small_sets.masked_images, {}),
    "tiles": (sets_of_masks, {}),
    "exact": (
        small_sets.masked_images,
        {"confident": "exact", "scores": ["csl", "softmin"]},
    ),
    "adaptive": (small_sets.class_folders, {"adaptive": {"budget": 0.7}, "scores": ["csl"]}),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_tables_do_not_depend_on_how_batches_are_packed(kind, tmp_path, sized):
    maker, changes = MAKERS[kind]
    small = maker(tmp_path)
    outcomes = {}
    for name, num_bytes in SIZES.items():
        sized(num_bytes)
        outcomes[name] = audited(small, name, **changes)
    numbers = [len(crates_of(small, name)) for name in SIZES]
    assert numbers[0] > numbers[2]
    for name in SIZES:
        assert_identical(outcomes["a batch"], outcomes[name])


class StoppedError(Exception):
    pass


def stopped_after(num_receipts, monkeypatch, run):
    relay = LocalBackend.relay

    def stopping(engine, plan, settings):
        for number, receipt in enumerate(relay(engine, plan, settings), start=1):
            yield receipt
            if number == num_receipts:
                raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr(LocalBackend, "relay", stopping)
        with pytest.raises(StoppedError):
            run()


@pytest.mark.parametrize(("before", "after"), [("a batch", "a few"), ("a few", "a batch")])
def test_what_one_size_of_crates_left_half_done_is_finished_with_another(
    before, after, tmp_path, sized, monkeypatch
):
    small = small_sets.labelled_videos(tmp_path)
    sized(SIZES[before])
    stopped_after(2, monkeypatch, lambda: audited(small, "out"))
    sized(SIZES[after])
    resumed = audited(small, "out")
    assert_identical(resumed, audited(small, "fresh"))


def test_a_night_continues_moments_that_were_kept_in_crates_of_another_size(tmp_path, sized):
    small = small_sets.labelled_videos(tmp_path)
    keep = {"vog": {"keep_moments": True}, "scores": ["csl", "vog"]}
    early = [str(tmp_path / f"checkpoints/epoch_{i}.safetensors") for i in (0, 1)]
    sized(SIZES["a few"])
    audited(small, "out", checkpoints=early, **keep)
    for number, size in enumerate((ONE_BATCH, ALL)):
        sized(size)
        night = audited(small, "out", day=f"2026-02-0{1 + number}", **keep)
        assert_identical(night, audited(small, f"fresh-{number}", **keep))
    assert night.manifest.plan["num_new"] == 0


def test_a_batch_that_fails_costs_itself_and_not_its_crate(tmp_path, sized):
    sized(ALL)
    small = small_sets.class_folders(tmp_path)
    small.values["model"] = {
        "factory": f"{small_sets.MODELS}:NarrowHater",
        "kwargs": {"num_classes": 3},
    }
    small_sets.picture(tmp_path / "data/b/1.png", 7, size=(12, 12))
    outcome = audited(small, "out", failures={"max_fraction": 1.0})
    failed = set(rows_of(outcome, "errors")["sample_id"].to_pylist())
    assert failed == {"b/1.png"}
    assert outcome.counts["scored"] == 11
    # A batch alone, with which the decoder begins, and all others.
    assert [(name.first, name.stop, name.is_end) for name in crates_of(small, "out")] == [
        (0, 1, False),
        (1, 7, True),
    ]


@pytest.mark.parametrize("place", [0, 1, -1])
def test_a_run_of_which_a_crate_is_missing_publishes_nothing(tmp_path, sized, monkeypatch, place):
    """Whatever the receipts said: Ray tells of no block that it lost."""
    small = small_sets.labelled_videos(tmp_path)
    sized(ONE_BATCH)
    relay = LocalBackend.relay

    def losing(engine, plan, settings):
        yield from relay(engine, plan, settings)
        folder = next((small.folder / "out/units").iterdir())
        sorted(folder.rglob("*.parquet"))[place].unlink()

    with monkeypatch.context() as patch:
        patch.setattr(LocalBackend, "relay", losing)
        with pytest.raises(RunError, match="not all there"):
            audited(small, "out")
    assert not list(small.folder.glob("out/runs/*/manifest.json"))
    assert_identical(audited(small, "out"), audited(small, "fresh"))


def unit_of(tmp_path, **changes):
    """A video of which two frames make a batch, so that it has six."""
    small = small_sets.labelled_videos(tmp_path, num_frames=24)
    small.values["dataset"]["clip"] = {"frames": 2, "stride": 2}
    config = small.config(engine={"batch_size": 2})
    (tmp_path / "index").mkdir()
    inputs = read_inputs(config, tmp_path / "index", None, "2026-01-31")
    plan = make_plan(inputs, LocalBackend().resources())
    settings = StageSettings(
        config, inputs.checkpoints, inputs.required, str(tmp_path / "index"), "cpu"
    )
    return replace(settings, **changes), replace(plan.work[0], begins_small=False)


def test_crates_follow_each_other_without_gap_and_the_last_holds_the_tail(tmp_path):
    settings, work = unit_of(tmp_path, crate_bytes=3_000)
    crates = list(decode_unit(settings, work))
    assert len(crates) > 1
    assert [crate.name.is_end for crate in crates] == [False] * (len(crates) - 1) + [True]
    for previous, following in pairwise(crates):
        assert (previous.name.stop, previous.name.after) == (
            following.name.first,
            following.name.before,
        )
    assert crates[-1].tail.num_batches == crates[-1].name.stop == 6
    indices = [envelope.item.index for crate in crates for envelope in crate.batches]
    assert indices == list(range(6))


def test_a_crate_ends_before_the_batch_with_which_it_would_be_too_large(tmp_path):
    settings, work = unit_of(tmp_path, crate_bytes=ALL)
    (whole,) = decode_unit(settings, work)
    each = [envelope.item.num_bytes for envelope in whole.batches]
    assert len(set(each)) == 1
    for max_bytes, sizes in (
        (0, [1] * 6),
        (2 * each[0] - 1, [1] * 6),
        (2 * each[0], [2] * 3),
        (5 * each[0], [5, 1]),
    ):
        crates = decode_unit(replace(settings, crate_bytes=max_bytes), work)
        assert [len(crate.batches) for crate in crates] == sizes


def test_a_crate_holds_so_many_batches_at_most(tmp_path, monkeypatch):
    monkeypatch.setattr(stages, "MAX_BATCHES", 4)
    settings, work = unit_of(tmp_path, crate_bytes=ALL)
    assert [len(crate.batches) for crate in decode_unit(settings, work)] == [4, 2]


def test_a_unit_that_begins_small_hands_on_its_first_batch_alone(tmp_path):
    settings, work = unit_of(tmp_path, crate_bytes=ALL)
    (whole,) = decode_unit(settings, work)
    each = whole.batches[0].item.num_bytes
    small = replace(work, begins_small=True)
    for max_bytes, sizes in ((ALL, [1, 5]), (2 * each, [1, 2, 2, 1]), (0, [1] * 6)):
        crates = list(decode_unit(replace(settings, crate_bytes=max_bytes), small))
        assert [len(crate.batches) for crate in crates] == sizes
        for previous, following in pairwise(crates):
            assert previous.name.after == following.name.before


@pytest.mark.parametrize("num_decoders", [1, 2])
def test_each_decoder_begins_with_one_batch_and_no_other_unit_does(num_decoders, tmp_path):
    small = small_sets.labelled_videos(tmp_path)
    (tmp_path / "index").mkdir()
    inputs = read_inputs(small.config(), tmp_path / "index", None, "2026-01-31")
    cluster = ClusterResources((NodeResources(4.0 * num_decoders, 0.0, 2**36),), 2**34)
    plan = make_plan(inputs, cluster)
    assert plan.layout.num_decoders == num_decoders
    assert len(plan.work) > num_decoders
    begin_small = [work.begins_small for work in plan.work]
    assert begin_small == [index < num_decoders for index in range(len(plan.work))]


def test_how_a_unit_begins_reaches_the_process_that_decodes_it(tmp_path):
    _, work = unit_of(tmp_path)
    for begins_small in (False, True):
        sent = replace(work, begins_small=begins_small)
        assert _work_of(_work_json(sent)) == sent
