"""Audits of small sets with planted errors, corrected; the models know the truth."""

import io
import json
import shutil
import tarfile
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from ray_audit import storage
from ray_audit.cli import app
from ray_audit.config import AuditConfig
from ray_audit.corrections.correct import correct
from ray_audit.corrections.rules import Asked
from ray_audit.engine import relay
from ray_audit.engine.local import LocalEngine
from ray_audit.engine.run import run_audit
from ray_audit.errors import CheckpointError, LabelError, SpecificationError
from ray_audit.findings.decisions import Decision, save_decisions
from ray_audit.tables.run import RunTables
from ray_audit.tables.store import write_table
from tests.integration import knowing
from tests.integration.audits import audit
from tests.integration.knowing import SURE, UNSURE
from tests.unit.corrections.label_sets import all_labels, files_of

SURE_P = float(np.exp(SURE) / (np.exp(SURE) + 2))
REST_P = (1 - SURE_P) / 2


def corrected(small, to="to", decisions=(), dry_run=False, **asked):
    if not (small.out / "runs").exists():
        audit(small)
    tables = RunTables.open(str(small.out))
    target = str(small.folder / to)
    return correct(tables, LocalEngine, target, Asked(**asked), decisions, dry_run=dry_run)


def labels_at(done):
    return all_labels(AuditConfig.load(done.spec).dataset)


def labels_of(small):
    return all_labels(small.config().dataset)


def rows_at(done):
    return pq.read_table(done.table).to_pylist()


def findings_of(small):
    audit(small)
    return RunTables.open(str(small.out)).findings().to_pylist()


def decided(finding, decision="accept", label=None, reviewer="ann", time="2026-02-01T10:00:00"):
    return Decision(finding["finding_id"], decision, label, reviewer, time)


@pytest.mark.parametrize("form", ["images", "folder", "parquet", "tar"])
def test_images_with_a_wrong_label_get_the_right_one(tmp_path, form):
    small, true, _ = knowing.images(tmp_path, form)
    originals = files_of(tmp_path / "data")
    done = corrected(small)
    after = labels_at(done)
    if form == "folder":
        assert {key.rsplit("/", 1)[1]: k for key, k in after.items()} == {
            f"i{index}.png": k for index, k in enumerate(true)
        }
    else:
        before = labels_of(small)
        wrong = {key for key in before if before[key] != after[key]}
        assert len(wrong) == 2
        assert after.keys() == before.keys()
        assert sorted(after.values()) == sorted(true)
        assert wrong == {row["sample_id"] for row in rows_at(done)}
    assert files_of(tmp_path / "data") == originals
    assert (done.num_changed, done.outcomes) == (2, {"changed": 2})
    assert {(p["given"], p["corrected"]) for p in done.pairs} == {("b", "a"), ("a", "c")}
    # p(given) = 1 / (e^6 + 2), p(new) = e^6 / (e^6 + 2)
    assert done.num_harmed == pytest.approx(2 / (np.exp(SURE) + 1), rel=1e-3)


@pytest.mark.parametrize(
    ("form", "tile"), [("files", None), ("files", 16), ("parquet", None), ("tar", None)]
)
def test_missing_regions_are_drawn_into_masks_of_any_container(tmp_path, form, tile):
    small = knowing.masks(tmp_path, form, tile=tile)
    originals = files_of(tmp_path / "data")
    done = corrected(small)
    assert files_of(tmp_path / "data") == originals
    masks = _masks_at(done, form)
    assert len(masks) == 6
    for index, mask in enumerate(masks):
        np.testing.assert_array_equal(mask, knowing.given_mask(index, wrong=()), err_msg=str(index))
    missing = [int((knowing.true_mask(index) == 1).sum()) for index in (1, 4)]
    assert done.pairs == [{"given": "a", "corrected": "b", "num": sum(missing)}]
    changed = [row for row in rows_at(done) if row["outcome"] == "changed"]
    assert [row["num_changed"] for row in changed] == missing
    assert all(row["finding_id"] and row["p_corrected"] > 0.99 for row in changed)
    assert done.checkpoints == ("epoch_2.safetensors",)  # the later half of three


def _masks_at(done, form):
    folder = Path(done.to_uri)
    if form == "files":
        paths = sorted((folder / "labels").rglob("*.png"))
        images = [Image.open(path) for path in paths]
        assert {image.mode for image in images} == {"P"}
        return [np.asarray(image) for image in images]
    if form == "parquet":
        cells = pq.read_table(folder / "data/p.parquet")["mask"].to_pylist()
    else:
        with tarfile.open(folder / "data/t.tar") as file:
            members = [m for m in file.getmembers() if m.name.endswith(".mask.png")]
            cells = [file.extractfile(member).read() for member in members]
    return [np.asarray(Image.open(io.BytesIO(cell))) for cell in cells]


@pytest.mark.parametrize(
    "form", ["frames.csv", "frames.parquet", "segments.csv", "segments.json", "npz"]
)
def test_whole_segments_get_the_right_class(tmp_path, form):
    small = knowing.videos(tmp_path, form)
    originals = files_of(tmp_path / "data")
    before = labels_of(small)
    done = corrected(small)
    after = labels_at(done)
    assert after.keys() == before.keys()
    for key, label in after.items():
        assert label == knowing.TRUE_FRAMES[int(key.rpartition("#")[2])]
    assert files_of(tmp_path / "data") == originals
    assert done.pairs == [{"given": "c", "corrected": "a", "num": 8}]
    (row,) = rows_at(done)
    assert (row["start_frame"], row["end_frame"], row["num_changed"]) == (0, 8, 8)


def test_frames_between_sampled_ones_change_with_them(tmp_path):
    small = knowing.videos(tmp_path, every=3)
    done = corrected(small)
    assert set(labels_at(done).values()) == {0, 1, 2}
    assert done.pairs == [{"given": "c", "corrected": "a", "num": 8}]


def test_the_new_labels_can_be_audited_with_no_change_but_their_path(tmp_path):
    small, *_ = knowing.images(tmp_path)
    done = corrected(small)
    outcome = run_audit(AuditConfig.load(done.spec), local=True)
    assert outcome.manifest.findings["total"] == 0
    old, new = small.config(), AuditConfig.load(done.spec)
    moved = {"uri": old.dataset.uri, "labels": old.dataset.labels}
    assert new.dataset.model_copy(update=moved) == old.dataset
    assert (new.model, new.checkpoints) == (old.model, old.checkpoints)


@pytest.mark.parametrize("make", [lambda f: knowing.images(f)[0], knowing.masks, knowing.videos])
def test_a_dry_run_counts_the_same_and_writes_nothing(tmp_path, make):
    small = make(tmp_path)
    audit(small)
    before = files_of(tmp_path)
    dry = corrected(small, dry_run=True)
    assert files_of(tmp_path) == before
    done = corrected(small)
    assert dry.spec is None
    assert dry.table is None
    for name in ("num_changed", "pairs", "num_harmed", "outcomes"):
        assert getattr(dry, name) == getattr(done, name)
    assert done.num_changed > 0


@pytest.mark.parametrize("make", [lambda f: knowing.images(f, wrong=())[0], knowing.masks])
def test_a_run_without_findings_writes_an_unchanged_copy(tmp_path, make):
    small = make(tmp_path)
    findings = findings_of(small)
    done = corrected(small, rule="decisions")
    assert done.num_changed == 0
    assert done.outcomes == {}
    if not findings:
        assert done.notes == ("The run has no findings",)
        copy, original = small.folder / "to/labels/labels.csv", small.folder / "labels.csv"
        assert copy.read_bytes() == original.read_bytes()
    else:
        copies = files_of(small.folder / "to/labels")
        assert copies == {k.split("/")[-1]: v for k, v in files_of(tmp_path / "data/masks").items()}


def test_reviewers_have_the_last_word(tmp_path):
    small, true, given = knowing.images(tmp_path, wrong=(0, 3, 6, 9))
    audit(small)
    findings = {row["sample_id"]: row for row in findings_of(small)}
    kept, other, disputed, left = (findings[f"=i {index}%20é.png"] for index in (0, 3, 6, 9))
    save_decisions(
        RunTables.open(str(small.out)).run_uri,
        "ann",
        [decided(kept, "reject"), decided(other, "relabel", "c"), decided(disputed)],
    )
    gone = Decision("0" * 16, "accept", None, "ann", "2026-02-01T10:00:00")
    done = corrected(small, decisions=[decided(disputed, "reject", reviewer="bob"), gone])
    after = labels_at(done)
    assert after["=i 0%20é.png"] == given[0]  # rejected
    assert after["=i 3%20é.png"] == 2  # relabelled
    assert after["=i 6%20é.png"] == given[6]  # disputed
    assert after["=i 9%20é.png"] == true[9]  # nobody looked: the rule
    assert done.outcomes == {"changed": 2, "disputed": 1, "rejected": 1}
    assert disputed["finding_id"] in done.named["disputed"][0]
    assert done.ignored_decisions == ("0" * 16,)
    rules = {row["finding_id"]: row["rule"] for row in rows_at(done)}
    assert rules[other["finding_id"]] == "decisions"
    assert rules[left["finding_id"]] == "findings"
    # Reviewers' changes count as no harm.
    assert done.num_harmed == pytest.approx(1 / (np.exp(SURE) + 1), rel=1e-3)


def test_only_decisions_need_no_confidence_and_no_checkpoint(tmp_path):
    small = knowing.masks(tmp_path, sureness=(UNSURE,) * 3)
    findings = [row for row in findings_of(small) if row["given"] == "a"]
    shutil.rmtree(tmp_path / "checkpoints")
    accepted = findings[0]
    done = corrected(small, rule="decisions", decisions=[decided(accepted)])
    index = int(accepted["sample_id"][1])
    masks = _masks_at(done, "files")
    np.testing.assert_array_equal(masks[index], knowing.given_mask(index, wrong=()))
    other = ({1, 4} - {index}).pop()
    np.testing.assert_array_equal(masks[other], knowing.given_mask(other, wrong=(other,)))


def test_an_accepted_unlabelled_region_is_labelled(tmp_path):
    small = knowing.masks(tmp_path)
    void = next(row for row in findings_of(small) if row["given"] == "void")
    done = corrected(small, rule="decisions", decisions=[decided(void)])
    mask = _masks_at(done, "files")[int(void["sample_id"][1])]
    assert (mask != 255).all()
    assert done.pairs == [{"given": "void", "corrected": "a", "num": void["num_px"]}]


def test_two_exchanged_classes_are_exchanged_back(tmp_path):
    small = knowing.masks(tmp_path, wrong=(), num=3)
    path = tmp_path / "data/masks/i1.png"
    mask = knowing.given_mask(1, ())
    knowing.save(np.array([0, 2, 1, *[255] * 253], np.uint8)[mask], path)
    (finding,) = [row for row in findings_of(small) if row["kind"] == "swapped_classes"]
    done = corrected(small, rule="decisions", decisions=[decided(finding)])
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "to/labels/i1.png")), mask)
    other = corrected(
        small, "other", rule="decisions", decisions=[decided(finding, "relabel", "a")]
    )
    after = np.asarray(Image.open(tmp_path / "other/labels/i1.png"))
    # Only what has the given class becomes the third one.
    np.testing.assert_array_equal(after, np.array([0, 2, 0, *[255] * 253], np.uint8)[mask])
    assert done.num_changed == finding["num_px"] > other.num_changed


def test_masks_with_hostile_names(tmp_path):
    small = knowing.masks(tmp_path)
    names = {0: "=cmd|' C calc'!A0", 1: "a b%20c;d", 4: "é#1 $(x)"}
    for index, name in names.items():
        for folder in ("images", "masks"):
            path = tmp_path / f"data/{folder}/i{index}.png"
            path.rename(path.with_name(f"{name}.png"))
    done = corrected(small)
    assert done.num_changed == 180
    for index in (1, 4):
        after = Image.open(tmp_path / f"to/labels/{names[index]}.png")
        np.testing.assert_array_equal(np.asarray(after), knowing.given_mask(index, ()))


def test_rejected_regions_stay_whatever_the_rule(tmp_path):
    small = knowing.masks(tmp_path)
    rejected = next(row for row in findings_of(small) if row["given"] == "a")
    done = corrected(
        small, rule="flagged", flagged_fraction=1.0, decisions=[decided(rejected, "reject")]
    )
    index = int(rejected["sample_id"][1])
    masks = _masks_at(done, "files")
    for i in range(6):
        wrong = (index,) if i == index else ()
        np.testing.assert_array_equal(masks[i], knowing.given_mask(i, wrong))


def test_an_unknown_class_in_the_decisions_is_refused(tmp_path):
    small, *_ = knowing.images(tmp_path)
    finding = findings_of(small)[0]
    with pytest.raises(LabelError, match="'zebra'"):
        corrected(small, decisions=[decided(finding, "relabel", "zebra")])


def test_unsure_checkpoints_change_nothing(tmp_path):
    small, *_ = knowing.images(tmp_path, sureness=(UNSURE,) * 3)
    assert findings_of(small)
    # e / (e + 1) = 0.73
    assert corrected(small).outcomes.keys() == {"kept"}
    assert corrected(small, "lower", confidence=0.7).num_changed == 2


def test_flagged_images_without_findings_to_them(tmp_path):
    small, true, _ = knowing.images(tmp_path)
    done = corrected(small, rule="flagged", flagged_fraction=2 / 12)
    assert sorted(labels_at(done).values()) == sorted(true)
    assert {row["rule"] for row in rows_at(done)} == {"flagged"}
    assert all(row["finding_id"] is None for row in rows_at(done))
    assert corrected(small, "none", rule="flagged", flagged_fraction=0.0).outcomes == {}


def test_flagged_frames(tmp_path):
    small = knowing.videos(tmp_path)
    done = corrected(small, rule="flagged", flagged_fraction=8 / 96)
    assert done.pairs == [{"given": "c", "corrected": "a", "num": 8}]


def test_memorised_labels_give_way_to_the_best_other_class(tmp_path):
    # A green image is called c. Two checkpoints see green as b, the last one has learnt c.
    learnt = SURE * np.array([[1, 0, 0], [0, 0, 0], [0, 1, 1]])
    small, true, _ = knowing.images(tmp_path, wrong=(1,), num=24, sureness=(SURE, SURE, learnt))
    audit(small)
    done = corrected(small)
    assert RunTables.open(str(small.out)).manifest.memorisation["verdict"] == "early"
    assert done.memorised
    assert "have learnt" in done.notes[0]
    assert sorted(labels_at(done).values()) == sorted(true)
    p_b, p_c = (2 * SURE_P + REST_P) / 3, (2 * REST_P + SURE_P) / 3
    assert p_b / (p_b + p_c) < 0.8  # against the given class it would not do
    (row,) = rows_at(done)
    # p(suggested) leaves out the checkpoint at which b is not the best other class.
    assert row["confidence"] == pytest.approx(p_b / (1 - p_c), abs=2e-3)


def adele_set(folder, sureness=(0.2, 1.5, 5, 6, 6, 6)):
    return knowing.masks(folder, sureness=sureness)


def with_onsets(small, onsets):
    """Onsets as an audit of a longer training would have found them."""
    audit(small)
    run = RunTables.open(str(small.out))
    table = run.whole("class_stats")
    names = table["class"].to_pylist()
    for column, values in (
        ("onset_epoch", [onsets[name] for name in names]),
        ("onset_reason", ["as planted" for _ in names]),
    ):
        at = table.schema.get_field_index(column)
        field = table.schema.field(at)
        table = table.set_column(at, field, pa.array(values, field.type))
    planted = [write_table(run.run_uri, "class_stats", 1, table)]
    tables = run.manifest.tables | {"class_stats": planted}
    values = asdict(replace(run.manifest, tables=tables))
    Path(run.run_uri, "manifest.json").write_text(json.dumps(values, default=str))
    return small


def test_adele_takes_each_class_at_its_own_onset(tmp_path):
    # At epoch 2 the model is unsure (p = 0.69 < 0.7), from epoch 3 on it is sure: class b, whose
    # onset is epoch 2, must not be corrected, and is with the onset 3.
    small = with_onsets(adele_set(tmp_path), {"a": None, "b": 2, "c": 3})
    done = corrected(small, rule="adele")
    assert done.checkpoints == ("epoch_1.safetensors", "epoch_2.safetensors")
    # b is nowhere in the wrong masks: the rule adds no class that an image does not have.
    assert done.num_changed == 0


def test_adele_corrects_what_the_image_has(tmp_path):
    small = adele_set(tmp_path)
    path = tmp_path / "data/masks/i0.png"
    image = Image.open(path)
    mask = np.asarray(image).copy()
    mask[2:6][mask[2:6] == 1] = 0  # a part of the green block is missing
    new = Image.fromarray(mask)
    new.putpalette(image.getpalette())
    new.save(path)
    small = with_onsets(small, {"a": None, "b": 3, "c": None})
    with pytest.raises(SpecificationError, match=r"c: as planted.*--classes b could be corrected"):
        corrected(small, rule="adele")
    done = corrected(small, rule="adele", classes=("b",))
    np.testing.assert_array_equal(_masks_at(done, "files")[0], knowing.given_mask(0, ()))
    assert done.checkpoints == ("epoch_2.safetensors",)
    assert done.pairs == [{"given": "a", "corrected": "b", "num": 4 * 10}]


def test_what_is_refused_before_any_work(tmp_path):
    small = knowing.masks(tmp_path)
    audit(small)
    before = files_of(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/a.txt").write_text("mine")
    with pytest.raises(SpecificationError, match="is not empty"):
        corrected(small, "full")
    with pytest.raises(SpecificationError, match="needs --flagged-fraction"):
        corrected(small, rule="flagged")
    with pytest.raises(SpecificationError, match=r"onset is not to be trusted .*3 epochs known"):
        corrected(small, rule="adele")
    with pytest.raises(SpecificationError, match="--classes zebra"):
        corrected(small, rule="adele", classes=("zebra",))
    with pytest.raises(SpecificationError, match="--kinds zebra: expected some of mislabel"):
        corrected(small, kinds=("zebra",))
    with pytest.raises(SpecificationError, match="--confidence 2"):
        corrected(small, confidence=2.0)
    (tmp_path / "checkpoints/epoch_2.safetensors").rename(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match=r"epoch_2.*deleted since the run"):
        corrected(small)
    (tmp_path / "elsewhere").rename(tmp_path / "checkpoints/epoch_2.safetensors")
    (tmp_path / "full/a.txt").unlink()
    assert files_of(tmp_path) == before


def test_another_checkpoint_under_the_same_name_is_refused(tmp_path):
    small = knowing.masks(tmp_path)
    audit(small)
    knowing.knows(small, 1.0, 1.0, 1.0)
    with pytest.raises(CheckpointError, match="not the one that was audited"):
        corrected(small)


@pytest.mark.parametrize("form", ["images", "parquet"])
def test_labels_that_changed_since_the_run_are_refused(tmp_path, form):
    small, *_ = knowing.images(tmp_path, form)
    audit(small)
    if form == "images":
        path = tmp_path / "labels.csv"
        path.write_text(path.read_text().replace(",b\n", ",c\n", 1).replace(",b\r\n", ",c\r\n", 1))
    else:
        table = pq.read_table(tmp_path / "data/p.parquet")
        pq.write_table(table.slice(0, 11), tmp_path / "data/p.parquet")
    with pytest.raises(SpecificationError, match="labels have changed since run"):
        corrected(small)


def test_a_correction_that_changes_too_much_of_a_mask_is_refused_for_that_mask(tmp_path):
    small = knowing.masks(tmp_path)
    done = corrected(small, most_changed_fraction=0.1)
    assert done.num_changed == 0
    assert done.outcomes["refused"] == 2
    assert "more than 10%" in done.named["refused"][0]
    assert _masks_at(done, "files")[1].tolist() == knowing.given_mask(1, (1,)).tolist()
    assert corrected(small, "all", most_changed_fraction=None).num_changed == 180


def test_many_changed_images_are_refused_at_once(tmp_path):
    small, *_ = knowing.images(tmp_path, wrong=range(8))
    with pytest.raises(SpecificationError, match="8 of 12 labels would change"):
        corrected(small)
    assert not (tmp_path / "to").exists()
    assert corrected(small, most_changed_fraction=None).num_changed == 8


def test_a_limited_run_corrects_what_it_saw(tmp_path):
    small, *_ = knowing.images(tmp_path)
    run_audit(small.config(), local=True, limit=6)
    done = corrected(small)
    assert done.num_changed == 1


def test_the_command_line(tmp_path):
    small, *_ = knowing.images(tmp_path)
    audit(small)
    finding = findings_of(small)[0]
    file = tmp_path / "decisions.json"
    file.write_text(json.dumps({"decisions": [vars(decided(finding, "reject"))]}))
    options = ["--local", "--json", "--decisions", str(file)]
    command = ["correct", str(small.out), "--to", str(tmp_path / "to"), *options]
    dry = CliRunner().invoke(app, [*command, "--dry-run"])
    assert dry.exit_code == 0, dry.output
    assert not (tmp_path / "to").exists()
    done = CliRunner().invoke(app, command)
    values = json.loads(done.stdout)
    assert values["outcomes"] == {"changed": 1, "rejected": 1}
    assert json.loads(dry.stdout)["pairs"] == values["pairs"]
    (copy,) = small.out.glob("runs/*/corrections/*.parquet")
    assert pq.read_table(copy).equals(pq.read_table(values["table"]))
    assert CliRunner().invoke(app, command).exit_code == 2  # not empty
    wrong = [*command[:3], str(tmp_path / "new"), "--rule", "magic"]
    assert CliRunner().invoke(app, wrong).exit_code == 2
    shown = CliRunner().invoke(app, [*command[:3], str(tmp_path / "new"), "--local"])
    assert "Changed 2 labels" in shown.stderr
    assert " -> " in shown.stderr


def test_masks_on_ray_are_those_of_one_process(tmp_path, cluster):
    small = knowing.masks(tmp_path)
    here = corrected(small)
    tables = RunTables.open(str(small.out))
    there = correct(
        tables, lambda: relay.RayEngine(tables.config.engine), str(tmp_path / "ray"), Asked()
    )
    assert files_of(tmp_path / "ray/labels") == files_of(tmp_path / "to/labels")
    assert rows_at(there) == rows_at(here)


def test_the_background_is_named(tmp_path):
    small = with_onsets(adele_set(tmp_path), {"a": 3, "b": 3, "c": None})
    with pytest.raises(SpecificationError, match="--background zebra: expected one of a, b, c"):
        corrected(small, rule="adele", background="zebra")
    # c has no onset; as the background it needs none.
    done = corrected(small, rule="adele", background="c")
    assert done.checkpoints == ("epoch_2.safetensors",)


def test_a_class_that_was_never_learnt_keeps_its_labels(tmp_path):
    # The model sees everything green (b) as red (a), and is sure of it.
    blind = SURE * np.array([[1, 1, 0], [0, 0, 0], [0, 0, 1]])
    small, _, given = knowing.images(tmp_path, num=24, wrong=(), sureness=(blind,) * 3)
    done = corrected(small)
    assert sorted(labels_at(done).values()) == sorted(given)
    assert done.notes[0].startswith("Never learnt")
    assert done.outcomes["kept"] > 0


class _Noting(LocalEngine):
    """Notes for which calls a GPU was asked."""

    def __init__(self):
        self.asked = []

    def map(self, function, items, *, on_gpu=False):
        self.asked.append(on_gpu)
        return super().map(function, items, on_gpu=on_gpu)


def test_a_gpu_is_asked_for_where_checkpoints_look_again(tmp_path):
    small = knowing.masks(tmp_path)
    audit(small)
    tables = RunTables.open(str(small.out))
    for rule, asked in (("findings", [True]), ("decisions", [False])):
        engine = _Noting()
        correct(tables, lambda engine=engine: engine, str(tmp_path / rule), Asked(rule))
        assert engine.asked == asked


def in_the_store(small, bucket):
    """The same set in a bucket, its audit too."""
    for name in ("data", "checkpoints", "labels.csv"):
        if (small.folder / name).exists():
            bucket.put(small.folder / name, name)
    text = json.dumps(small.values).replace(str(small.folder), bucket.uri)
    return AuditConfig.parse(json.loads(text))


def etags_in(bucket):
    return {item.uri: item.etag for item in storage.list_prefix(bucket.uri)}


@pytest.mark.parametrize("make", [knowing.masks, knowing.images])
def test_labels_in_a_store_are_corrected_into_it(tmp_path, bucket, make):
    made = make(tmp_path)
    small = made[0] if isinstance(made, tuple) else made
    here = corrected(small)
    outcome = run_audit(in_the_store(small, bucket), local=True, logical_date="2026-01-31")
    before = etags_in(bucket)
    tables = RunTables(outcome.run_uri, outcome.manifest)
    done = correct(tables, LocalEngine, f"{bucket.uri}/to", Asked())
    assert (done.num_changed, done.pairs) == (here.num_changed, here.pairs)
    assert done.num_changed > 0
    ours, theirs = labels_at(done), labels_at(here)
    assert ours.keys() == theirs.keys()
    for key, labels in ours.items():
        np.testing.assert_array_equal(labels, theirs[key])
    dataset = AuditConfig.load(done.spec).dataset
    assert str(dataset.labels.masks or dataset.labels.images).startswith(f"{bucket.uri}/to/labels/")
    assert {uri: etag for uri, etag in etags_in(bucket).items() if uri in before} == before
    with pytest.raises(SpecificationError, match="is not empty"):
        correct(tables, LocalEngine, f"{bucket.uri}/to", Asked())
