"""What the status of a RayJob says of its end, whatever is written there."""

import pytest

from ray_audit.kubernetes.rayjob import JobState, Outcome, owner_of

NAME = "phases-2026-01-01"
ENDED = "Job entrypoint command failed with exit code {}, last available logs: ..."


def state(deployment="", job="", **status):
    status |= {"jobDeploymentStatus": deployment, "jobStatus": job}
    return JobState.of({"kind": "RayJob", "metadata": {"name": NAME}, "status": status}, NAME)


@pytest.mark.parametrize(
    ("deployment", "job", "outcome"),
    [
        ("Complete", "SUCCEEDED", Outcome.SUCCEEDED),
        ("Complete", "STOPPED", Outcome.STOPPED),
        ("Failed", "STOPPED", Outcome.STOPPED),
        *(("Complete", job, Outcome.FAILED) for job in ("FAILED", "RUNNING", "", "succeeded")),
        ("Failed", "SUCCEEDED", Outcome.FAILED),
        ("ValidationFailed", "", Outcome.INVALID),
        *((way, "RUNNING", None) for way in ("", "Running", "Retrying", "Suspended", "NewOne")),
        ("Running", "SUCCEEDED", None),  # KubeRay has not written the end yet
    ],
)
def test_only_complete_with_succeeded_is_success(deployment, job, outcome):
    assert state(deployment, job).outcome is outcome


@pytest.mark.parametrize(
    ("changes", "is_tried"),
    [
        ({}, True),
        ({"message": ENDED.format(1)}, True),
        ({"message": ENDED.format(143)}, True),
        ({"message": ENDED.format(2)}, False),
        ({"message": ENDED.format(3)}, False),
        ({"message": f"a node was lost, after: {ENDED.format(2)}"}, True),
        ({"reason": "DeadlineExceeded"}, False),
        ({"reason": "PreRunningDeadlineExceeded"}, True),
    ],
    ids=str,
)
def test_what_would_end_the_same_way_is_not_tried_again(changes, is_tried):
    assert state("Failed", "FAILED", **changes).may_be_tried_again is is_tried
    assert not state("Complete", "FAILED", **changes).may_be_tried_again


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"kind": "Status", "metadata": {}, "status": "Failure"},
        {"kind": "RayJob", "metadata": {"name": "another"}},
        {"kind": "RayJob", "metadata": [], "status": []},
    ],
    ids=str,
)
def test_what_is_another_object_is_no_state(answer):
    with pytest.raises(ValueError, match=f"expected RayJob {NAME}"):
        JobState.of(answer, NAME)


def test_a_status_of_other_types_is_none_yet():
    odd = state(None, 7, reason=["x"], message={"a": 1})
    assert (odd.outcome, odd.exit_code, str(odd)) == (None, None, "not started")


def test_what_a_job_says_is_shown_and_can_do_nothing():
    shown = str(state("Failed", "FAILED", reason="AppFailed", message="\x1b[2Jover\n" + "x" * 9000))
    assert shown.startswith("Failed, FAILED, AppFailed: \\x1b[2Jover\n")
    assert len(shown) < 4100


def test_an_object_belongs_to_the_audit_that_its_labels_name():
    instance, name = "app.kubernetes.io/instance", "app.kubernetes.io/name"
    assert owner_of({"labels": {instance: "phases", name: "kuberay"}}) == "phases"
    assert owner_of({"labels": {name: "phases"}}) == "phases"  # as manifests up to 0.1 had it
    assert owner_of({"labels": None}) == owner_of({}) == ""
