"""What HTTP itself asks of the API: methods, media types, headers, and a page that comes from here alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from cloud.api.http.docs import POLICY
from local.servers import free_port
from tests.integration.api.conftest import Api, await_ready, start

PROBLEM = "application/problem+json"


def _problem(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == PROBLEM, answer.text
    assert answer.json()["status"] == answer.status_code
    return answer.status_code, answer.json()["type"].removeprefix("urn:segs:problem:")


@pytest.mark.parametrize("path", ["/", "/nowhere", "/api/v1/nowhere", "/api/v1/meters/", "/api/v2/meters", "//livez"])
def test_an_unknown_path_is_told_as_a_problem(api: Api, path: str) -> None:
    """D16."""
    assert _problem(api.client.get(api.url + path)) == (404, "not-found")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("DELETE", "/api/v1/users/me", {"GET", "HEAD", "OPTIONS", "PATCH"}),
        ("GET", "/api/v1/auth/login", {"OPTIONS", "POST"}),
        ("HEAD", "/api/v1/auth/login", {"OPTIONS", "POST"}),
        ("POST", "/livez", {"GET", "HEAD", "OPTIONS"}),
        ("PROPFIND", "/api/v1/meters/MTR-1", {"GET", "HEAD", "OPTIONS"}),
        ("POST", "/api/v1/docs", {"GET"}),
    ],
)
def test_a_method_that_a_path_does_not_take_is_told_with_those_that_it_does(
    api: Api, method: str, path: str, allow: set[str]
) -> None:
    """D16."""
    answer = api.client.request(method, path)
    assert allow <= set(answer.headers["allow"].split(", "))
    if method == "HEAD":
        assert (answer.status_code, answer.content) == (405, b"")
    else:
        assert _problem(answer) == (405, "method-not-allowed")


def test_options_says_what_a_path_takes(api: Api) -> None:
    answer = api.client.options("/api/v1/users/me")
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS, PATCH"
    assert _problem(api.client.options("/api/v1/nowhere")) == (404, "not-found")


def test_head_is_get_without_the_body(api: Api) -> None:
    headers = {"authorization": f"Bearer {api.person().token}"}
    got = api.client.get("/api/v1/users/me", headers=headers)
    head = api.client.head("/api/v1/users/me", headers=headers)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == got.headers["content-length"] == str(len(got.content))
    assert api.client.head("/api/v1/users/me").status_code == 401
    # The connection is still in step.
    assert api.client.get("/livez").json() == {"status": "alive"}


@pytest.mark.parametrize("given", ["text/plain", "application/xml", "multipart/form-data; boundary=x", "json", ""])
def test_a_body_in_another_format_is_refused_as_such(api: Api, given: str) -> None:
    """D16."""
    answer = api.client.post("/api/v1/auth/login", content=b"{}", headers={"content-type": given})
    assert _problem(answer) == (415, "unsupported-media-type")
    assert "application/json" in answer.json()["detail"]


@pytest.mark.parametrize("given", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
def test_json_is_taken_however_it_is_written(api: Api, given: str) -> None:
    answer = api.client.post("/api/v1/auth/login", content=b"{}", headers={"content-type": given})
    assert _problem(answer) == (422, "invalid")


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("text/html", 406),
        ("application/xml, text/*;q=0.5", 406),
        ("application/json;q=0, */*", 406),
        ("application/json;q=0.0", 406),
        ("text/html, */*;q=0.1", 200),
        ("application/*", 200),
        ("APPLICATION/JSON", 200),
        ("*/*", 200),
    ],
)
def test_who_takes_no_format_of_ours_is_told_so(api: Api, accept: str, status: int) -> None:
    answer = api.client.get("/livez", headers={"accept": accept})
    assert answer.status_code == status
    if status == 406:
        assert _problem(answer) == (406, "not-acceptable")


@pytest.mark.parametrize(
    ("sent", "found", "hinted"),
    [
        ("2026-11-01T00:00:00+01:00", "2026-11-01T00:00:00 01:00", True),
        ("2026-11-01T00:00+0100", "2026-11-01T00:00 0100", True),
        ("2026-11-01%2000:00:00.5+01:00", "2026-11-01 00:00:00.5 01:00", True),
        ("yesterday", "yesterday", False),
        ("2026-11-01T00:00:00", "2026-11-01T00:00:00", False),
    ],
)
@pytest.mark.parametrize("path", ["alerts?from=", "alerts/statistics?to=2026-12-01T00:00Z&from=", "audit?from="])
def test_a_plus_that_became_a_blank_on_the_way_is_told_as_such(
    api: Api, path: str, sent: str, found: str, hinted: bool
) -> None:
    admin = api.person("ADMIN")
    refused = api.ask("GET", f"/{path}{sent}", token=admin.token)

    assert _problem(refused) == (422, "invalid")
    [error] = refused.json()["errors"]
    assert (error["where"], error["found"]) == ("query.from", found)
    assert error["message"].endswith("a + in an address is a blank: write %2B") == hinted
    written = api.ask("GET", f"/{path}{sent.replace('+', '%2B')}", token=admin.token)
    assert written.status_code == (200 if hinted else 422)


def test_every_answer_says_that_it_is_what_it_says_and_is_kept_by_no_cache(api: Api) -> None:
    person = api.person()
    answers = [
        api.login(person.email),
        api.post("/auth/refresh-token", {"refresh_token": person.tokens["refresh_token"]}),
        api.get("/users/me", token=person.token),
        api.get("/nowhere"),
        api.client.post("/api/v1/auth/login", content=b"\xff"),
        api.client.get("/metrics"),
    ]
    for answer in answers:
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])
        # The proxy ends TLS and says for how long it will.
        assert "strict-transport-security" not in answer.headers


def test_pages_of_other_origins_are_given_nothing_by_default(api: Api) -> None:
    headers = {"origin": "https://app.example.org", "access-control-request-method": "POST"}
    for answer in (
        api.client.options("/api/v1/auth/login", headers=headers),
        api.client.get("/livez", headers=headers),
    ):
        assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.fixture(scope="module")
def opened(api: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """An API that pages of one other origin may ask."""
    port, log = free_port(), tmp_path_factory.mktemp("opened") / "log"
    process = start({**api.environment, "SEGS_CORS_ORIGINS": "https://app.example.org"}, log, port)
    try:
        await_ready(f"http://127.0.0.1:{port}", process, log)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            yield client
    finally:
        process.terminate()
        process.wait(timeout=20)


def test_pages_of_an_origin_that_was_named_may_ask(opened: httpx.Client) -> None:
    asked = {"access-control-request-method": "PATCH", "access-control-request-headers": "authorization"}
    allowed = opened.options("/api/v1/users/me", headers={**asked, "origin": "https://app.example.org"})
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, "https://app.example.org")
    assert "access-control-allow-credentials" not in allowed.headers
    refused = opened.options("/api/v1/users/me", headers={**asked, "origin": "https://evil.example.org"})
    assert "access-control-allow-origin" not in refused.headers


@pytest.mark.parametrize("text", ["*", "https://app.example.org/", "app.example.org", "null"])
def test_an_origin_that_is_none_keeps_the_api_from_starting(api: Api, tmp_path: Path, text: str) -> None:
    log = tmp_path / "log"
    process = start({**api.environment, "SEGS_CORS_ORIGINS": text}, log, free_port())
    assert process.wait(timeout=20) == 2
    assert "SEGS_CORS_ORIGINS" in log.read_text()


def test_the_page_of_the_api_comes_from_here_alone(api: Api) -> None:
    """D18: no API page; and one that asks another host would tell it who reads."""
    page = api.client.get("/api/v1/docs")
    assert (page.status_code, page.headers["content-security-policy"]) == (200, POLICY)
    assert "unsafe" not in POLICY
    assert "http:" not in page.text
    assert "https:" not in page.text
    parts = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(parts) == 4
    for part in parts:
        answer = api.client.get(f"/api/v1/{part}")
        assert answer.status_code == 200
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert "<script>" not in page.text
    assert api.get("/docs/other.js").status_code == 404
    # What the page shows, and nothing else is asked for it.
    assert 'url: "openapi.json"' in api.get("/docs/start.js").text
    assert api.get("/openapi.json").json()["openapi"].startswith("3.1.")
