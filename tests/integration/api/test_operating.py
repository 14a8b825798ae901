"""What whoever operates the API sees of it, and what they do not: log, metrics, addresses behind a proxy."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from local.servers import free_port
from tests.integration.api.conftest import PASSWORD, Api, await_ready, start

BOOM = """
CREATE OR REPLACE FUNCTION boom() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'XX001',
        MESSAGE = 'a fault of ' || (SELECT email FROM users WHERE user_id = NEW.user_id);
END
$$
"""


def _get(api: Api, path: str, request_id: str, token: str | None = None) -> httpx.Response:
    headers = {"x-request-id": request_id} | ({} if token is None else {"authorization": f"Bearer {token}"})
    return api.client.get(f"/api/v1{path}", headers=headers)


def test_every_request_is_a_line_with_who_asked_what_and_how_it_ended(api: Api) -> None:
    person = api.person()
    _get(api, "/meters/MTR-09999999", "request-one", person.token)
    _get(api, "/users/me", "request-two")
    _get(api, f"/nowhere/{person.email}?email={person.email}", "request-three")

    [one], [two], [three] = (api.logged(f"request-{name}") for name in ("one", "two", "three"))
    assert one["ms"] > 0
    del one["ms"], one["timestamp"]
    assert one == {
        "event": "request",
        "level": "info",
        "logger": "segs.api",
        "request_id": "request-one",
        "user_id": person.user_id,
        "method": "GET",
        "route": "/api/v1/meters/{code}",
        "status": 404,
    }
    assert (two["user_id"], two["status"]) == (None, 401)
    assert (three["user_id"], three["route"], three["status"]) == (None, "none", 404)
    assert person.email not in api.log.read_text()


def test_a_fault_that_nobody_foresaw_tells_its_place_and_no_secret(api: Api) -> None:
    """D10, D16: the frames' variables had tokens and passwords in plain text."""
    person = api.person()
    refresh = str(person.tokens["refresh_token"])
    headers = {"x-request-id": "the-fault-of-a-trigger"}
    api.do(BOOM)
    api.do("CREATE TRIGGER boom BEFORE INSERT ON sessions FOR EACH ROW EXECUTE FUNCTION boom()")
    try:
        answers = [
            api.client.post("/api/v1/auth/refresh-token", json={"refresh_token": refresh}, headers=headers),
            api.client.post("/api/v1/auth/login", json={"email": person.email, "password": PASSWORD}, headers=headers),
        ]
    finally:
        api.do("DROP TRIGGER boom ON sessions")

    assert [(answer.status_code, answer.json()["type"]) for answer in answers] == [
        (500, "urn:segs:problem:internal")
    ] * 2
    failed = [line for line in api.logged("the-fault-of-a-trigger") if line["event"] == "failed"]
    assert [line["sqlstate"] for line in failed] == ["XX001", "XX001"]
    assert all("cloud/api/people/login.py" in json.dumps(line["frames"]) for line in failed)
    log = api.log.read_text()
    for secret in (PASSWORD, refresh, person.email):
        assert secret not in log


def test_an_error_in_the_service_itself_has_its_request_id_and_a_line(api: Api) -> None:
    """The handler of last resort was outside of what gives a request its name."""
    person = api.person()
    api.do("ALTER TABLE users DROP CONSTRAINT users_role_check")
    api.do("UPDATE users SET role = 'KING' WHERE user_id = %s", person.user_id)
    try:
        answer = _get(api, "/users/me", "an-unknown-role", person.token)
    finally:
        api.do("UPDATE users SET role = 'USER' WHERE user_id = %s", person.user_id)
        api.do("ALTER TABLE users ADD CONSTRAINT users_role_check CHECK (role IN ('USER', 'OPERATOR', 'ADMIN'))")

    assert (answer.status_code, answer.headers["x-request-id"]) == (500, "an-unknown-role")
    failed, asked = api.logged("an-unknown-role")
    assert (failed["event"], asked["event"], asked["status"]) == ("failed", "request", 500)
    assert person.email not in api.log.read_text()


def test_metrics_have_no_text_of_a_client(api: Api) -> None:
    """C2, C13: /metrics answers whatever was asked before."""
    token = api.person().token
    for path in ("/users/me", "/meters/MTR-00000001", "/meters/x%27y", "/no/such/thing", "/%ff"):
        _get(api, path, "metrics-and-text", token)
    for method in ("PROPFIND", "OPTIONS", "DELETE"):
        api.client.request(method, "/api/v1/users/me")
    text = httpx.get(f"{api.url}/metrics", trust_env=False).text

    lines = [line for line in text.splitlines() if line.startswith("segs_api_requests_total")]
    labels = [dict(re.findall(r'(\w+)="([^"]*)"', line)) for line in lines]
    described = api.get("/openapi.json").json()["paths"]
    assert {each["route"] for each in labels} <= {*described, "none", "/api/v1/openapi.json"}
    assert {each["method"] for each in labels} <= {"GET", "POST", "PATCH", "OPTIONS", "DELETE", "other"}
    assert {each["status"] for each in labels} <= {"2xx", "4xx", "5xx"}
    assert "segs_api_in_flight 1.0" in text
    assert 'segs_api_pool_wait_seconds_count{database="domain"}' in text


@pytest.fixture(scope="module")
def behind(api: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Another process of the API, whose proxy is on this machine."""
    port, log = free_port(), tmp_path_factory.mktemp("behind") / "log"
    process = start(api.environment | {"SEGS_TRUSTED_PROXIES": "127.0.0.1"}, log, port)
    try:
        await_ready(f"http://127.0.0.1:{port}", process, log)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=20) as client:
            yield client
    finally:
        process.terminate()
        process.wait(timeout=20)


def _fail(client: httpx.Client, said: str, email: str = "nobody@example.com") -> int:
    headers = {"x-forwarded-for": said}
    body = {"email": email, "password": "wrong password"}
    return client.post("/api/v1/auth/login", json=body, headers=headers).status_code


def _addresses(api: Api) -> set[str]:
    return {
        bucket.removeprefix("login:address:")
        for (bucket,) in api.do("SELECT bucket FROM rate_buckets WHERE starts_with(bucket, 'login:address:')")
    }


def test_nobody_chooses_an_address_to_be_limited_by(api: Api) -> None:
    """D10: a header that anybody can send must not give anybody a fresh allowance."""
    api.do("DELETE FROM rate_buckets")
    for number in range(3):
        assert _fail(api.client, f"198.51.100.{number}") == 401
    assert _addresses(api) == {"127.0.0.1"}


def test_behind_a_trusted_proxy_each_client_has_a_limit_of_their_own(api: Api, behind: httpx.Client) -> None:
    api.do("DELETE FROM rate_buckets")
    assert _fail(behind, "203.0.113.99, 198.51.100.1") == 401
    assert _fail(behind, "not an address") == 401
    assert _addresses(api) == {"198.51.100.1", "127.0.0.1"}
    api.do("UPDATE rate_buckets SET tokens = 0 WHERE bucket = 'login:address:198.51.100.1'")
    assert [_fail(behind, f"198.51.100.{number}", f"n{number}@example.com") for number in (1, 2)] == [429, 401]


def test_a_proxy_that_makes_no_sense_ends_the_start(api: Api, tmp_path: Path) -> None:
    process = start(api.environment | {"SEGS_TRUSTED_PROXIES": "*"}, tmp_path / "log", free_port())
    assert process.wait(timeout=20) == 2
    assert "SEGS_TRUSTED_PROXIES" in (tmp_path / "log").read_text()
