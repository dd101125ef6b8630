import asyncio
import shutil
import subprocess
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from ray_audit.errors import RunError, SpecificationError
from ray_audit.jobs import submit
from ray_audit.jobs.submit import Job, dated


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


def identity(command, subject, *options, code=()):
    return Job(command, subject, options, tuple(code)).submission_id(1)


def test_the_id_is_a_function_of_what_is_submitted(spec, tmp_path):
    first = identity("night", spec, "--date", "2026-01-01")
    assert first == identity("night", spec, "--date", "2026-01-01")
    assert first.startswith("night-phases-nightly-")
    assert first != identity("night", spec, "--date", "2026-01-02")
    (tmp_path / "Phases Nightly.yaml").write_text("name: other")
    assert first != identity("night", spec, "--date", "2026-01-01")


def test_code_that_changed_is_another_job(spec, tmp_path):
    package = tmp_path / "models"
    (package / "__pycache__").mkdir(parents=True)
    (package / "net.py").write_text("depth = 1")
    before = identity("run", spec, code=[package])
    (package / "__pycache__/net.pyc").write_bytes(b"compiled")
    assert identity("run", spec, code=[package]) == before
    (package / "net.py").write_text("depth = 2")
    assert identity("run", spec, code=[package]) != before
    target = tmp_path / "sent"
    target.mkdir()
    submit.fill_working_dir(target, Job("run", spec, (), (package,)))
    assert (target / "models/net.py").read_text() == "depth = 2"
    assert not (target / "models/__pycache__").exists()


def test_a_night_without_a_date_is_one_of_today():
    today = datetime.now(UTC).date().isoformat()
    assert dated("night", ["--gate-fails"]) == ("--gate-fails", "--date", today)
    kiritimati = dated("run", ["--time-zone", "Pacific/Kiritimati"])[-1]
    assert kiritimati >= today
    for command, options in (
        ("night", ("--date=2026-01-01",)),
        ("run", ("--date", "2026-01-01")),
    ):
        assert dated(command, options) == options
    assert dated("train", []) == ()
    with pytest.raises(SpecificationError, match="Mars/Base"):
        dated("night", ["--time-zone", "Mars/Base"])


def test_a_breached_gate_ends_a_submitted_audit_well_unless_asked(spec):
    date = ("--date", "2026-01-01")
    assert Job("run", spec, date).entrypoint.endswith("--date 2026-01-01 --gate-passes")
    assert "--gate-passes" not in Job("run", spec, (*date, "--gate-fails")).entrypoint


def test_the_cluster_starts_the_installed_package(spec):
    job = Job("night", spec, ("--date", "2026-01-01"))
    assert job.entrypoint == "python -m ray_audit night spec.yaml --date 2026-01-01"
    correct = Job("correct", "s3://b/out", ("--to", "s3://b/new labels"))
    assert correct.entrypoint == "python -m ray_audit correct s3://b/out --to 's3://b/new labels'"


def test_an_unknown_job_names_the_known_ones(spec):
    with pytest.raises(SpecificationError, match="--job audit: unknown; expected one of run"):
        Job("audit", spec)


def test_what_is_not_there_is_said_before_the_server_is_asked(tmp_path, spec):
    with pytest.raises(SpecificationError, match="there is no specification"):
        Job("run", str(tmp_path / "none.yaml"))
    with pytest.raises(SpecificationError, match=r"--code .*none"):
        Job("run", spec, (), (tmp_path / "none",))


def test_what_runs_or_succeeded_is_found_and_what_failed_is_tried_again(spec):
    ids = Job("train", spec).submission_id
    for state in ("PENDING", "RUNNING", "SUCCEEDED"):
        assert submit.choose(Server(**{ids(1): state}), ids) == (ids(1), state)
    for state in ("FAILED", "STOPPED"):
        assert submit.choose(Server(**{ids(1): state}), ids) == (ids(2), None)
    assert submit.choose(Server(**{ids(1): "SUCCEEDED"}), ids, again=True) == (ids(2), None)
    assert submit.choose(Server(**{ids(1): "RUNNING"}), ids, again=True) == (ids(1), "RUNNING")


def test_the_working_dir_has_the_specification_alone(spec, tmp_path):
    target = tmp_path / "sent"
    target.mkdir()
    submit.fill_working_dir(target, Job("run", spec))
    assert [path.name for path in target.iterdir()] == ["spec.yaml"]


def test_a_large_working_dir_is_refused(spec, tmp_path):
    big = tmp_path / "weights.pt"
    big.write_bytes(bytes(submit.MAX_BYTES + 1))
    target = tmp_path / "sent"
    target.mkdir()
    with pytest.raises(SpecificationError, match="10 MiB is the limit"):
        submit.fill_working_dir(target, Job("run", spec, (), (big,)))


@pytest.mark.parametrize(
    ("error", "reported"),
    [
        (ConnectionError("Failed to connect to Ray at address: http://h:8265."), "no job server"),
        (RuntimeError("Request failed with status code 401: Unauthorized"), "RAY_AUTH_TOKEN"),
    ],
)
def test_errors_say_what_to_do(error, reported):
    message = submit._explained("http://h:8265", error)
    assert reported in message
    assert "http://h:8265" in message


def test_a_job_server_that_does_not_answer_is_an_error_of_ours(spec):
    with pytest.raises(RunError, match=r"no job server answers at http://127\.0\.0\.1:9"):
        submit.submit(Job("run", spec), "http://127.0.0.1:9", lambda line: None)


def test_keys_histories_and_what_git_ignores_are_not_sent(spec, tmp_path):
    package = tmp_path / "package"
    names = ["model.py", "sub/net.py", ".env", ".git/config", ".aws/credentials", "secret.key"]
    for name in [*names, "__pycache__/model.pyc"]:
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text("x")
    (tmp_path / "outside.txt").write_text("x")
    (package / "link.txt").symlink_to(tmp_path / "outside.txt")
    shutil.rmtree(package / ".git")
    subprocess.run(["git", "init", "-q", str(package)], check=True)
    (package / ".gitignore").write_text("*.key\n")
    target = tmp_path / "sent"
    target.mkdir()
    submit.fill_working_dir(target, Job("run", spec, (), (package,)))
    sent = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    assert sent == {"spec.yaml", "package/model.py", "package/sub/net.py"}


def test_a_file_that_is_named_itself_is_sent(spec, tmp_path):
    (tmp_path / ".settings").write_text("x")
    target = tmp_path / "sent"
    target.mkdir()
    submit.fill_working_dir(target, Job("run", spec, (), (tmp_path / ".settings",)))
    assert (target / ".settings").exists()


def test_followed_logs_hold_nothing_that_a_terminal_acts_on(capsys):
    class Client:
        async def tail_job_logs(self, job_id):
            yield "\x1b[36m(worker)\x1b[0m decoded\tx\x1b]0;title\x07.png\n"

    asyncio.run(submit._follow(Client(), "job"))
    assert capsys.readouterr().out == "(worker) decoded\tx\\x1b]0;title\\x07.png\n"
