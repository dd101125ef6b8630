import numpy as np
import pyarrow as pa

from ray_audit.engine.backends.local import LocalBackend
from ray_audit.engine.reduce.write_findings import FindingsContext, write_findings
from ray_audit.findings.image_findings import ImageContext
from ray_audit.tables.store import read_table, write_table


def scores(margins, suspicions, first=0):
    num = len(margins)
    return pa.table(
        {
            "sample_id": [f"{first + i}.png" for i in range(num)],
            "shard": [f"{first + i}.png" for i in range(num)],
            "label_name": ["cat"] * num,
            "suggested_name": ["dog"] * num,
            "predicted_name": ["dog"] * num,
            "csl": np.ones(num),
            "confidence": np.full(num, 0.2),
            "p_suggested": np.full(num, 0.6),
            "prob_margin": np.array(margins),
            "correctness": np.zeros(num),
            "num_checkpoints": np.full(num, 4, np.int32),
            "suspicion": np.array(suspicions),
        }
    )


def written(tmp_path, *parts):
    files = [write_table(str(tmp_path), "scores", i, part) for i, part in enumerate(parts)]
    context = FindingsContext(str(tmp_path), {"run": "r"}, ImageContext())
    found = write_findings(LocalBackend(), context, files)
    return found, read_table(str(tmp_path), found.files)


def test_ranks_run_over_all_parts(tmp_path):
    found, table = written(
        tmp_path,
        scores([-0.1, 0.3, -0.2], [0.5, 0.9, 0.7]),
        scores([-0.4, -0.1], [0.6, 0.8], first=3),
    )
    ranks = dict(zip(table["sample_id"].to_pylist(), table["rank"].to_pylist(), strict=True))
    assert ranks == {"4.png": 1, "2.png": 2, "3.png": 3, "0.png": 4}
    assert [row["sample_id"] for row in found.top] == ["4.png", "2.png", "3.png", "0.png"]
    assert found.summary.counts() == {"total": 4, "by_kind": {"mislabel": 4}, "num_samples": 4}


def test_close_suspicions_at_the_top_are_told_apart(tmp_path):
    _, table = written(tmp_path, scores([-1.0] * 4, [0.9999, 0.9998, 0.9997, 0.9996]))
    assert table["rank"].to_pylist() == [1, 2, 3, 4]


def test_equal_suspicions_share_a_rank(tmp_path):
    _, table = written(tmp_path, scores([-1.0] * 3, [0.5, 0.5, 0.4]))
    assert sorted(table["rank"].to_pylist()) == [1, 1, 3]


def test_a_part_without_findings_is_an_empty_file_with_the_same_schema(tmp_path):
    found, table = written(tmp_path, scores([1.0], [0.1]), scores([-1.0], [0.9], first=1))
    assert [file.num_rows for file in found.files] == [0, 1]
    assert table["rank"].to_pylist() == [1]
