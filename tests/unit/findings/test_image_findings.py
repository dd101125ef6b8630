import pyarrow as pa
import pytest

from ray_audit.findings.image_findings import ImageContext, image_findings


def scores(**changes):
    row = {
        "sample_id": "x.png",
        "shard": "x.png",
        "label_name": "cat",
        "suggested_name": "<b>dog</b>",
        "predicted_name": "dog",
        "csl": 2.5,
        "confidence": 0.1,
        "p_suggested": 0.8,
        "prob_margin": -0.7,
        "correctness": 1.0,
        "num_checkpoints": 5,
        "suspicion": 0.95,
    } | changes
    return pa.Table.from_pylist([row])


def found(wrong_fraction=0.0, **changes):
    return list(image_findings(scores(**changes), ImageContext(wrong_fraction)))


def test_a_sample_whose_checkpoints_prefer_another_class_is_found():
    (finding,) = found()
    assert (finding.kind, finding.given, finding.suggested) == ("mislabel", "cat", "<b>dog</b>")
    assert finding.evidence == ("x.png",)
    assert "4 of 5 checkpoints" in finding.reason
    assert "0.80 against 0.10" in finding.reason


def test_a_sample_that_is_learnt_is_not():
    assert found(prob_margin=0.4) == []


@pytest.mark.parametrize(("wrong_fraction", "expected"), [(0.04, 0), (0.06, 1)])
def test_a_memorised_sample_is_found_within_the_estimated_share(wrong_fraction, expected):
    assert len(found(wrong_fraction, prob_margin=0.4)) == expected


def test_scores_that_are_null_find_nothing():
    assert found(prob_margin=None, suspicion=None) == []


def test_one_class_has_nothing_to_suggest():
    assert found(suggested_name=None) == []
