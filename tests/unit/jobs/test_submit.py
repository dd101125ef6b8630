from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from jobs import audit, submit


class Server:
    def __init__(self, **states):
        self.states = states

    def list_jobs(self):
        return [
            SimpleNamespace(submission_id=name, status=SimpleNamespace(value=state))
            for name, state in self.states.items()
        ]


@pytest.fixture
def spec(tmp_path):
    path = tmp_path / "Phases Nightly.yaml"
    path.write_text("name: phases")
    return str(path)


def test_the_id_is_a_function_of_what_is_submitted(spec, tmp_path):
    first = submit.submission_id("nightly", spec, ["--date", "2026-01-01"], 1)
    assert first == submit.submission_id("nightly", spec, ["--date", "2026-01-01"], 1)
    assert first.startswith("nightly-phases-nightly-")
    assert first != submit.submission_id("nightly", spec, ["--date", "2026-01-02"], 1)
    (tmp_path / "Phases Nightly.yaml").write_text("name: other")
    assert first != submit.submission_id("nightly", spec, ["--date", "2026-01-01"], 1)


def test_code_that_changed_is_another_job(spec, tmp_path):
    package = tmp_path / "models"
    (package / "__pycache__").mkdir(parents=True)
    (package / "net.py").write_text("depth = 1")
    one = submit.submission_id("audit", spec, [], 1, [package])
    (package / "__pycache__/net.pyc").write_bytes(b"compiled")
    assert submit.submission_id("audit", spec, [], 1, [package]) == one
    (package / "net.py").write_text("depth = 2")
    assert submit.submission_id("audit", spec, [], 1, [package]) != one
    target = tmp_path / "sent"
    target.mkdir()
    submit.working_dir(target, submit.Path(spec), [package])
    assert (target / "models/net.py").read_text() == "depth = 2"
    assert not (target / "models/__pycache__").exists()


def test_a_night_without_a_date_is_one_of_today():
    today = datetime.now(UTC).date().isoformat()
    assert submit.dated("nightly", ["--gate-fails"]) == ["--gate-fails", "--date", today]
    kiritimati = submit.dated("audit", ["--time-zone", "Pacific/Kiritimati"])[-1]
    assert kiritimati >= today
    for kind, options in (("nightly", ["--date=2026-01-01"]), ("audit", ["--date", "2026-01-01"])):
        assert submit.dated(kind, options) == options
    assert submit.dated("train", []) == []
    with pytest.raises(submit.SubmitError, match="Mars/Base"):
        submit.dated("nightly", ["--time-zone", "Mars/Base"])


def test_what_runs_or_succeeded_is_found_and_what_failed_is_tried_again(spec):
    def ids(attempt):
        return submit.submission_id("audit", spec, [], attempt)

    for state in ("PENDING", "RUNNING", "SUCCEEDED"):
        assert submit.choose(Server(**{ids(1): state}), ids) == (ids(1), state)
    for state in ("FAILED", "STOPPED"):
        assert submit.choose(Server(**{ids(1): state}), ids) == (ids(2), None)
    assert submit.choose(Server(**{ids(1): "SUCCEEDED"}), ids, again=True) == (ids(2), None)
    assert submit.choose(Server(**{ids(1): "RUNNING"}), ids, again=True) == (ids(1), "RUNNING")


def test_the_working_dir_has_the_jobs_and_the_specification(spec, tmp_path):
    target = tmp_path / "sent"
    target.mkdir()
    submit.working_dir(target, submit.Path(spec), [])
    names = {path.name for path in target.iterdir()}
    assert names == {"audit.py", "nightly.py", "train.py", "correct.py", "spec.yaml"}


def test_a_large_working_dir_is_refused(spec, tmp_path):
    big = tmp_path / "weights.pt"
    big.write_bytes(bytes(submit.MOST_BYTES + 1))
    target = tmp_path / "sent"
    target.mkdir()
    with pytest.raises(submit.SubmitError, match="10 MiB is the limit"):
        submit.working_dir(target, submit.Path(spec), [big])


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ConnectionError("Failed to connect to Ray at address: http://h:8265."), "no job server"),
        (RuntimeError("Request failed with status code 401: Unauthorized"), "RAY_AUTH_TOKEN"),
    ],
)
def test_errors_say_what_to_do(error, told):
    message = submit._explained("http://h:8265", error)
    assert told in message
    assert "http://h:8265" in message


def test_a_missing_specification_is_said_before_anything_is_asked(capsys):
    assert submit.main(["audit", "nowhere.yaml", "--address", "http://h:1"]) == 1
    assert "nowhere.yaml" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [([], 3, 0), (["--gate-fails"], 3, 3), ([], 1, 1), ([], 2, 2), (["--gate-fails"], 0, 0)],
)
def test_a_breached_gate_ends_well_unless_asked(arguments, code, expected, monkeypatch):
    seen = []

    def app(given):
        seen.extend(given)
        raise SystemExit(code)

    monkeypatch.setattr(audit, "app", app)
    assert audit.main(["spec.yaml", *arguments]) == expected
    assert seen == ["run", "spec.yaml"]
