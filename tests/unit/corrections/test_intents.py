import pytest

from ray_audit.corrections.intents import FINDING_COLUMNS, Gate, check_decisions, intents_of
from ray_audit.errors import LabelError
from ray_audit.findings.decisions import Decision, merge

CLASSES = ("a", "b", "c")


def finding(name="f", **values):
    row = dict.fromkeys(FINDING_COLUMNS)
    row |= {"finding_id": name, "rank": 1, "kind": "mislabel", "shard": "s", "sample_id": "s"}
    return row | {"given": "a", "suggested": "b", "p_given": 0.1, "p_suggested": 0.6} | values


def said(decision, label=None, reviewer="ann", finding_id="f", time="2026-01-01T00:00:00"):
    return Decision(finding_id, decision, label, reviewer, time)


def intents(*rows, decisions=(), rule="findings", gate=None, writable=CLASSES):
    gate = gate or Gate(0.8)
    return list(intents_of(rows, merge(decisions), rule, gate, writable))


@pytest.mark.parametrize(
    ("p_given", "p_suggested", "memorised", "outcome"),
    [
        (0.1, 0.6, False, None),  # 0.6 / 0.7 = 0.86
        (0.2, 0.6, False, "kept"),  # 0.75
        (0.15, 0.6, False, "kept"),  # 0.8 is not above 0.8
        (0.6, 0.35, False, "kept"),  # 0.37
        (0.6, 0.35, True, None),  # 0.35 / 0.4 = 0.875
        (0.6, 0.3, True, "kept"),  # 0.75
        (None, 0.9, False, "kept"),
        (1.0, 0.0, True, "kept"),
    ],
)
def test_the_gate(p_given, p_suggested, memorised, outcome):
    row = finding(p_given=p_given, p_suggested=p_suggested)
    (result,) = intents(row, gate=Gate(0.8, memorised))
    assert result.outcome == outcome
    assert not result.is_decided


@pytest.mark.parametrize("rule", ["findings", "flagged", "adele", "decisions"])
def test_decisions_count_whatever_the_rule_and_the_gate(rule):
    unsure = finding(p_given=0.9, p_suggested=0.1)
    cases = {
        ("accept", None): (None, "b"),
        ("accept", "b"): (None, "b"),
        ("relabel", "c"): (None, "c"),
        ("reject", None): ("rejected", "b"),
    }
    for (decision, label), expected in cases.items():
        (result,) = intents(unsure, decisions=[said(decision, label)], rule=rule)
        assert (result.outcome, result.suggested) == expected
        assert (result.by, result.is_decided) == ("decisions", True)
        assert "ann" in result.evidence


@pytest.mark.parametrize("rule", ["flagged", "adele", "decisions"])
def test_other_rules_leave_findings_that_nobody_decided_alone(rule):
    assert intents(finding(), rule=rule) == []


def test_reviewers_who_disagree_change_nothing():
    both = [said("accept"), said("reject", reviewer="bob")]
    (result,) = intents(finding(), decisions=both)
    assert result.outcome == "disputed"
    assert "ann: accept" in result.evidence
    assert "bob: reject" in result.evidence


def test_what_cannot_be_written_is_unmatched():
    assert intents(finding(suggested=None))[0].outcome == "unmatched"
    assert intents(finding(), writable=("a", "c"))[0].outcome == "unmatched"
    (result,) = intents(finding(suggested=None), decisions=[said("accept")])
    assert result.outcome == "unmatched"


def test_regions_are_asked_pixel_by_pixel_later():
    row = finding(mask_rle="04", mask_size_px=[2, 2], p_given=0.9, p_suggested=0.1)
    assert intents(row)[0].outcome is None


def test_decisions_name_known_classes():
    check_decisions(merge([said("relabel", "c"), said("reject", finding_id="g")]), CLASSES)
    with pytest.raises(LabelError, match="finding f is to become 'z'"):
        check_decisions(merge([said("relabel", "z")]), CLASSES)


def test_a_class_that_was_never_learnt_is_left_to_reviewers():
    sure = Gate(0.0, unlearnt=frozenset("a"))
    (kept,) = intents(finding(given="a"), gate=sure)
    assert kept.outcome == "kept"
    assert "never learnt" in kept.evidence
    (accepted,) = intents(finding(given="a"), gate=sure, decisions=[said("accept")])
    assert accepted.outcome is None


def test_kinds_that_were_not_asked_for_are_left_to_reviewers():
    only = Gate(0.0, kinds=frozenset({"mislabel"}))
    requested, other = intents(finding(), finding(kind="boundary"), gate=only)
    assert requested.outcome is None
    assert other.outcome == "kept"
    (accepted,) = intents(finding(kind="boundary"), gate=only, decisions=[said("accept")])
    assert accepted.outcome is None


@pytest.mark.parametrize(
    ("kind", "start_frame", "outcome"),
    [
        ("mislabel", 3, None),
        ("disorder", 3, None),
        ("boundary", 3, "kept"),  # as unsure boundaries did more harm than good
        ("mislabel", None, "kept"),  # an image
    ],
)
def test_whole_segments_have_a_gate_of_their_own(kind, start_frame, outcome):
    gate = Gate(0.8, of_segments=0.6)
    row = finding(kind=kind, start_frame=start_frame, p_given=0.2, p_suggested=0.4)
    (result,) = intents(row, gate=gate)
    assert result.outcome == outcome


@pytest.mark.parametrize(
    ("prior", "outcome"), [(None, None), (0.5, None), (0.15, "kept"), (0.0, "kept")]
)
def test_labels_that_are_seldom_wrong_need_more_evidence(prior, outcome):
    # Six times as probable: with 15% wrong labels 0.15 * 6 / (0.15 * 6 + 0.85) = 0.51.
    (result,) = intents(finding(), gate=Gate(0.6, prior=prior))
    assert result.outcome == outcome


@pytest.mark.parametrize(("sureness", "outcome"), [(0.81, None), (0.8, "kept"), (None, "kept")])
def test_weighed_findings_need_a_checkpoint_that_is_sure(sureness, outcome):
    row = finding() | ({} if sureness is None else {"sureness": sureness})
    (result,) = intents(row, gate=Gate(0.5, weighed_by=0.2, sureness=0.8))
    assert result.outcome == outcome


def test_segments_of_which_no_class_is_probable_stay():
    low = finding("low", p_given=0.1, p_suggested=0.3, start_frame=0)
    high = finding("high", p_given=0.1, p_suggested=0.31, start_frame=0)
    image = finding("image", p_given=0.1, p_suggested=0.3)
    found = intents(low, high, image, gate=Gate(0.6, least_p=0.3))
    assert [item.outcome for item in found] == ["kept", None, None]
    assert "0.30 only" in found[0].evidence


def test_regions_of_samples_that_are_not_named_stay_unless_a_reviewer_accepts_them():
    rows = [finding(name, sample_id=name, mask_rle="1", mask_size_px=[1, 1]) for name in "xyz"]
    accepted = [said("accept", finding_id="z")]
    found = intents(*rows, decisions=accepted, gate=Gate(0.8, samples=frozenset("x")))
    assert [item.outcome for item in found] == [None, "kept", None]


def test_to_accept_a_class_and_to_name_it_is_the_same_word():
    same = [said("accept"), said("relabel", "b", reviewer="bob")]
    (result,) = intents(finding(), decisions=same, rule="decisions")
    assert (result.outcome, result.suggested, result.is_decided) == (None, "b", True)
    other = [said("accept"), said("relabel", "c", reviewer="bob")]
    (result,) = intents(finding(), decisions=other, rule="decisions")
    assert result.outcome == "disputed"
