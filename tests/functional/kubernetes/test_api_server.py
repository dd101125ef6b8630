"""One request to an API server: every answer is an object, a refusal, or "away"."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from ray_audit.kubernetes.api_server import (
    ApiServer,
    ConflictError,
    NotThereError,
    RefusedError,
    ServerAwayError,
)
from tests.functional.kubernetes.api_double import (
    JOBS,
    PASSING,
    not_found,
    says,
    served,
    status_of,
)

# These answer with an object; that it is another one is for whoever asked.
OBJECTS = {"no object", "another object"}


@pytest.fixture(scope="module")
def double():
    with served() as (api, url):
        api.url = url
        yield api


@pytest.fixture
def server(double, tmp_path):
    (tmp_path / "token").write_text("first\n")
    double.faults.clear()
    double.tokens.clear()
    double.has("there")
    return ApiServer(double.url, tmp_path, timeout_s=0.4)


@pytest.mark.parametrize("name", sorted(PASSING.keys() - OBJECTS))
def test_what_may_pass_is_told_from_a_refusal(double, server, name):
    double.faults = [PASSING[name]]
    with pytest.raises(ServerAwayError):
        server.request("GET", f"{JOBS}/there")
    assert server.request("GET", f"{JOBS}/there")["metadata"]["name"] == "there"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (says(409, status_of(409, "AlreadyExists", "is there")), ConflictError),
        (says(404, not_found("there")), NotThereError),
        (says(400, status_of(400, "BadRequest", "unknown field")), RefusedError),
        (says(403, status_of(403, "Forbidden", "exceeded quota")), RefusedError),
        (says(422, status_of(422, "Invalid", "spec.entrypoint")), RefusedError),
    ],
    ids=["409", "404", "400", "403", "422"],
)
def test_a_refusal_has_the_servers_words(double, server, answer, error):
    double.faults = [answer]
    with pytest.raises(error, match="the API server answers 4") as found:
        server.request("GET", f"{JOBS}/there")
    assert type(found.value) is error


def test_a_token_that_was_renewed_is_the_one_that_is_sent(double, server):
    server.request("GET", f"{JOBS}/there")
    (server.account / "token").write_text("second")
    server.request("GET", f"{JOBS}/there")
    assert double.tokens == ["Bearer first", "Bearer second"]


def test_no_proxy_of_the_environment_sees_the_token(double, server, monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert server.request("GET", f"{JOBS}/there")["kind"] == "RayJob"


def test_a_redirect_is_not_followed(double, server):
    double.faults = [says(307, b"", Location=f"{double.url}{JOBS}/there")]
    with pytest.raises(ServerAwayError, match="answers 307"):
        server.request("GET", f"{JOBS}/there")
    assert len(double.tokens) == 1


def test_a_token_that_is_not_there_yet_is_waited_for(server):
    (server.account / "token").unlink()
    with pytest.raises(ServerAwayError, match="No such file"):
        server.request("GET", f"{JOBS}/there")


@pytest.mark.parametrize(
    ("header", "low_s", "high_s"),
    [
        ("7", 7, 7),
        (timedelta(hours=1), 3000, 3600),
        (timedelta(hours=-1), 0, 0),
        ("soon", 0, 0),
        ("-5", 0, 0),
        ("", 0, 0),
    ],
)
def test_how_long_to_wait_is_read_as_seconds_or_as_a_date(double, server, header, low_s, high_s):
    if isinstance(header, timedelta):
        header = format_datetime(datetime.now(UTC) + header, usegmt=True)
    double.faults = [says(429, b"", Retry_After=header)]
    with pytest.raises(ServerAwayError) as found:
        server.request("GET", f"{JOBS}/there")
    assert low_s <= found.value.retry_after_s <= high_s


def test_an_answer_without_end_is_given_up(double, server):
    double.faults = [says(200, b" " * (9 * 2**20))]
    with pytest.raises(ServerAwayError, match="more than 8 MiB"):
        server.request("GET", f"{JOBS}/there")
