import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from sklearn.metrics import average_precision_score, roc_auc_score

from ray_audit import rle
from ray_audit.console.evaluation import print_evaluation
from ray_audit.errors import LabelError, SpecificationError, StorageError
from ray_audit.evaluation.report import evaluate_run, overall
from ray_audit.evaluation.segment_accuracy import eda
from ray_audit.measures import Kind, measures
from ray_audit.schemas import AREAS, FINDINGS, REGIONS, arrow_schema
from ray_audit.tables.manifest import Manifest
from ray_audit.tables.store import write_table
from ray_audit.task import Task
from ray_audit.training.noise import REGION_SCHEMA

NUM = 60
KINDS = ("boundary", "mislabel", "reversed_with_a_long_name", *(f"kind_{i}" for i in range(9)))
RUN_ID = "2026-01-31-00000000"


def write_run(output, table, run_id=RUN_ID, parts=2, **others):
    run_uri = f"{output}/runs/{run_id}"
    size = -(-table.num_rows // parts)
    pieces = [table.slice(i * size, size) for i in range(parts)] if table.num_rows else []
    files = [write_table(run_uri, "scores", i, piece) for i, piece in enumerate(pieces)]
    names = ("specification", "counts", "numeric", "plan", "timing", "findings", "estimate")
    empty = {name: {} for name in (*names, "memorisation", "order")}
    lists = {name: [] for name in ("checkpoints", "top", "top_findings", "notes", "breached_gates")}
    Manifest(
        run_id=run_id,
        state="complete",
        protocol="training",
        tables={"scores": files}
        | {name: [write_table(run_uri, name, 0, other)] for name, other in others.items()},
        versions={},
        labels_digest="",
        **empty,
        **lists,
    ).publish(run_uri)


KIND = Kind(Task.FRAMES, frozenset(("csl", "vog")), "logit")


def score_table(**columns):
    rng = np.random.default_rng(0)
    schema = arrow_schema(measures().columns(KIND), {})
    base = {field.name: [None] * NUM for field in schema}
    base |= {
        "sample_id": [f"v{i // 20}.mp4#{i % 20}" for i in range(NUM)],
        "shard": [f"v{i // 20}.mp4" for i in range(NUM)],
        "frame_index": [i % 20 for i in range(NUM)],
        "label": [i // 5 % 3 for i in range(NUM)],
        "csl": rng.normal(size=NUM),
        "csl_segment": np.repeat(rng.normal(size=NUM // 5), 5),
        "suspicion": rng.random(NUM),
        "aum": rng.normal(size=NUM),
        "vog": rng.random(NUM),
    }
    table = pa.table({**base, **columns}, schema=schema)
    return table.take(pa.array(rng.permutation(NUM)))  # rows of a table have no order


def truth_table(ids=None, errors=None, kinds=None):
    ids = [f"v{i // 20}.mp4#{i % 20}" for i in range(NUM)] if ids is None else ids
    errors = [i % 4 == 0 for i in range(NUM)] if errors is None else errors
    kinds = [KINDS[i // 4 % len(KINDS)] if e else None for i, e in enumerate(errors)]
    return pa.table({"sample_id": ids, "is_error": errors, "kind": kinds})


@pytest.fixture
def truth(tmp_path):
    path = tmp_path / "truth.parquet"
    pq.write_table(truth_table(), path)
    return str(path)


def by_name(found):
    return {(row.score, row.kind): row for row in found.detections}


def test_metrics_equal_those_of_sklearn_for_each_score_and_kind(tmp_path, truth):
    table = score_table()
    write_run(tmp_path, table)
    found = evaluate_run(str(tmp_path), truth)
    rows = by_name(found)
    wrong = dict(
        zip(*(truth_table()[c].to_pylist() for c in ("sample_id", "is_error")), strict=True)
    )
    kind = dict(zip(*(truth_table()[c].to_pylist() for c in ("sample_id", "kind")), strict=True))
    ids = table["sample_id"].to_pylist()
    errors = np.array([wrong[item] for item in ids])
    for name, sign in (("csl", 1), ("aum", -1), ("suspicion", 1)):
        values = sign * table[name].to_numpy()
        assert rows[name, "all"].auroc == pytest.approx(roc_auc_score(errors, values))
        assert rows[name, "all"].auprc == pytest.approx(average_precision_score(errors, values))
        top = np.argsort(-values)[: errors.sum()]
        assert rows[name, "all"].precision == pytest.approx(errors[top].mean())
        assert rows[name, "all"].lift == pytest.approx(errors[top].mean() / errors.mean())
        for item in KINDS[:3]:
            kept = np.array([not wrong[i] or kind[i] == item for i in ids])
            expected = roc_auc_score(errors[kept], values[kept])
            assert rows[name, item].auroc == pytest.approx(expected)
    assert (found.num_samples, found.num_errors) == (NUM, 15)
    assert found.left_out["vog"] == "neither high nor low values mean wrong"
    assert found.left_out["early_loss"] == "null for every sample"
    assert "vog" not in {score for score, _ in rows}


def masks_at(rows, schema):
    """Rows of a table: suspicion and a square, given as y, x and side, of the first frame."""
    table = []
    for suspicion, y, x, side in rows:
        mask = np.zeros((40, 50), bool)
        mask[y : y + side, x : x + side] = True
        row = dict.fromkeys(schema.names) | {"sample_id": "v0.mp4#0", "mask_rle": rle.encode(mask)}
        row |= {"box": [x, y, x + side, y + side], "mask_size_px": [40, 50]}
        table.append(row | {"suspicion": suspicion, "kind": "drop"})
    return pa.Table.from_pylist(table, schema=schema)


def masks_run(folder, findings=(), areas=()):
    """A run of masks of 40x50 px with these findings and areas."""
    table = score_table()
    for name, size in (("mask_height_px", 40), ("mask_width_px", 50)):
        table = table.append_column(name, pa.array([size] * NUM, pa.int32()))
    write_run(
        folder,
        table,
        findings=masks_at(findings, arrow_schema(list(FINDINGS), {})),
        areas=masks_at(areas, arrow_schema(list(AREAS), {})),
        regions=arrow_schema(list(REGIONS), {}).empty_table(),
    )


def test_findings_and_areas_are_held_to_the_planted_components(tmp_path, truth):
    masks_run(tmp_path, [(0.9, 0, 0, 10), (0.5, 20, 20, 10)], [(0.4, 0, 0, 9), (0.8, 20, 20, 9)])
    assert evaluate_run(str(tmp_path), truth).areas == []  # no planted regions lie there
    planted = masks_at([(None, 20, 20, 10)], REGION_SCHEMA)
    pq.write_table(planted, tmp_path / "truth_regions.parquet")
    found = evaluate_run(str(tmp_path), truth)
    assert [rows[0].average_precision for rows in (found.regions, found.areas)] == [
        0.5,
        1.0,
    ]
    for what in ("Findings", "Areas"):
        assert f"{what} held to the components of wrong pixels" in printed(found)


def printed(found):
    console = Console(file=io.StringIO(), width=100)
    print_evaluation(found, console=console)
    return console.file.getvalue()


def test_where_every_mask_is_wrong_the_regions_are_measured_all_the_same(tmp_path):
    masks_run(tmp_path, areas=[(0.8, 20, 20, 9)])
    pq.write_table(truth_table(errors=[True] * NUM), tmp_path / "truth.parquet")
    pq.write_table(
        masks_at([(None, 20, 20, 10)], REGION_SCHEMA), tmp_path / "truth_regions.parquet"
    )
    found = evaluate_run(str(tmp_path), str(tmp_path / "truth.parquet"))
    assert found.areas[0].average_precision == 1.0
    assert "every sample is an error" in printed(found)
    json.dumps(found.summary(), allow_nan=False)


def test_planted_regions_of_masks_that_were_not_scored_are_counted(tmp_path, truth):
    masks_run(tmp_path)
    other = masks_at([(None, 20, 20, 10)], REGION_SCHEMA).to_pylist()[0] | {"sample_id": "other"}
    pq.write_table(
        pa.Table.from_pylist([other], schema=REGION_SCHEMA), tmp_path / "truth_regions.parquet"
    )
    found = evaluate_run(str(tmp_path), truth)
    assert found.num_regions_without_score == 1
    assert found.areas[0].num_errors == 0
    assert "1 planted regions are of masks that were not scored" in printed(found)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask_size_px": [50, 40]}, "v0.mp4#0 is 40x50 px there, and 50x40 px in the run"),
        ({"mask_size_px": None}, "not as `ray-audit inject` writes them .row 1"),
    ],
)
def test_planted_regions_of_another_dataset_are_refused(tmp_path, truth, change, message):
    masks_run(tmp_path)
    row = masks_at([(None, 20, 20, 10)], REGION_SCHEMA).to_pylist()[0] | change
    pq.write_table(
        pa.Table.from_pylist([row], schema=REGION_SCHEMA), tmp_path / "truth_regions.parquet"
    )
    with pytest.raises(LabelError, match=message):
        evaluate_run(str(tmp_path), truth)


def test_eda_is_taken_over_segments_of_the_given_labels_in_order_of_time(tmp_path, truth):
    table = score_table()
    write_run(tmp_path, table)
    found = evaluate_run(str(tmp_path), truth)
    assert set(found.segments) == {"csl", "csl_segment", "suspicion"}
    in_order = table.sort_by([("shard", "ascending"), ("frame_index", "ascending")])
    errors = np.array([i % 4 == 0 for i in range(NUM)])
    expected = eda(in_order["csl"].to_numpy(), errors, np.arange(NUM) // 5)
    assert found.segments["csl"] == expected
    assert found.segments["csl"].num_segments == 12


def test_segments_whose_frames_in_between_were_not_judged_stay_apart(tmp_path):
    # Of 0 1 2 0 each 5 frames long, in every video, the two of class 0 were judged.
    judged = [f"v{v}.mp4#{t}" for v in range(3) for t in (*range(5), *range(15, 20))]
    is_wrong = [int(name.rpartition("#")[2]) >= 15 for name in judged]
    table = score_table(label=[(i % 20) // 5 % 3 for i in range(NUM)])
    write_run(tmp_path, table)
    pyarrow.csv.write_csv(truth_table(judged, is_wrong), tmp_path / "t.csv")
    found = evaluate_run(str(tmp_path), str(tmp_path / "t.csv"))
    segments = found.segments["csl"]
    assert (segments.num_segments, segments.num_errors, segments.all_normal) == (6, 3, 0.5)
    in_order = table.sort_by([("shard", "ascending"), ("frame_index", "ascending")])
    chosen = np.isin(in_order["sample_id"].to_pylist(), judged)
    scores = in_order["csl"].to_numpy()[chosen]
    assert segments == eda(scores, np.array(is_wrong), np.arange(30) // 5)


def test_what_does_not_match_is_counted_on_either_side(tmp_path):
    write_run(tmp_path, score_table())
    ids = [*(f"v0.mp4#{i}" for i in range(20)), "x#1", "x#2", "x#3"]
    pyarrow.csv.write_csv(truth_table(ids, [i % 2 == 0 for i in range(23)]), tmp_path / "t.csv")
    found = evaluate_run(str(tmp_path), str(tmp_path / "t.csv"))
    assert (found.num_samples, found.num_without_truth, found.num_without_score) == (20, 40, 3)
    shown = Console(file=io.StringIO(), width=100)
    print_evaluation(found, console=shown)
    assert "40 scored samples are not in the truth file" in shown.file.getvalue()
    assert "3 samples of the truth file were not scored" in shown.file.getvalue()


@pytest.mark.parametrize("by_kind", [False, True])
def test_the_text_fits_in_100_columns_and_names_every_kind(tmp_path, truth, by_kind):
    write_run(tmp_path, score_table(early_loss=[0.5] * NUM))
    shown = Console(file=io.StringIO(), width=100)
    print_evaluation(evaluate_run(str(tmp_path), truth), by_kind, shown)
    text = shown.file.getvalue()
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text
    assert all(kind in text for kind in KINDS)
    assert "mean wrong): loss_std, variability, forgetting, vog" in text
    assert "all called right" in text


def test_the_summary_is_strict_json(tmp_path, truth):
    write_run(tmp_path, score_table(csl=[np.inf, *[0.0] * (NUM - 1)]))
    values = json.loads(json.dumps(evaluate_run(str(tmp_path), truth).summary(), allow_nan=False))
    assert values["run_id"] == RUN_ID
    assert values["segments"]["suspicion"]["num_segments"] == 12
    assert {row["score"] for row in values["detections"]} >= {"csl", "aum"}


def test_runs_and_scores_can_be_chosen(tmp_path, truth):
    write_run(tmp_path, score_table())
    write_run(tmp_path, score_table(csl=np.arange(NUM)), run_id="2026-02-01-00000000")
    assert evaluate_run(str(tmp_path), truth).run_id == "2026-02-01-00000000"
    found = evaluate_run(str(tmp_path), truth, RUN_ID, ["csl", "vog"])
    assert found.run_id == RUN_ID
    assert [row.score for row in overall(found)] == ["csl"]
    assert set(found.left_out) == {"vog"}
    with pytest.raises(SpecificationError, match="no score nonsense in the run; it has csl"):
        evaluate_run(str(tmp_path), truth, scores=["nonsense"])


@pytest.mark.parametrize(
    ("table", "error", "message"),
    [
        (truth_table(["a", "b"], [True, False]), LabelError, "no sample of the truth"),
        (truth_table(["a", "a"], [True, False]), LabelError, "1 rows too many, such as a"),
        (truth_table(errors=[0.5] * NUM), LabelError, "row 1: is_error is 0.5"),
        (truth_table(errors=["no"] * NUM), LabelError, "row 1: is_error is 'no'"),
        (truth_table(errors=[True] * NUM), SpecificationError, "all 60 scored samples are wrong"),
        (truth_table(errors=[0.0] * NUM), SpecificationError, "all 60 scored samples are right"),
        (truth_table([], []), LabelError, "the table is empty"),
    ],
)
def test_a_truth_that_cannot_be_used_says_why(tmp_path, table, error, message):
    write_run(tmp_path, score_table())
    pq.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(error, match=message):
        evaluate_run(str(tmp_path), str(tmp_path / "t.parquet"))


@pytest.mark.parametrize("values", [[1.0, 0.0], [1, 0], ["True", "False"], [True, False]])
def test_true_and_false_are_read_as_they_are_written(tmp_path, values):
    write_run(tmp_path, score_table())
    pq.write_table(truth_table(["v0.mp4#0", "v0.mp4#1"], values), tmp_path / "t.parquet")
    found = evaluate_run(str(tmp_path), str(tmp_path / "t.parquet"))
    assert (found.num_samples, found.num_errors) == (2, 1)


def test_a_run_without_samples_or_an_output_without_runs_says_so(tmp_path, truth):
    with pytest.raises(StorageError, match="has no complete run"):
        evaluate_run(str(tmp_path), truth)
    write_run(tmp_path, score_table().slice(0, 0))
    with pytest.raises(StorageError, match="has scored no sample"):
        evaluate_run(str(tmp_path), truth)
