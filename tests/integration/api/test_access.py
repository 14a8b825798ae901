"""Who sees what over HTTP: meters, readings, oneself."""

import time
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.integration.api.conftest import Api
from tests.integration.api.measured import SHOWN_S, arrive, register

DAY = timedelta(days=1)


def test_one_s_own_meter_is_read_and_another_s_is_not_there(api: Api, reading: Any) -> None:
    """D12: not even whether it exists is told."""
    ada, bob = api.person(), api.person()
    code = ada.meter()
    reading(code, 1234.5)

    latest = api.get(f"/telemetry/meters/{code}/latest", token=ada.token).json()["data"]
    assert (latest["code"], latest["reading"]["power_w"], latest["reading"]["voltage_l1_v"]) == (code, 1234.5, None)
    assert latest["reading"]["time"].endswith("Z")
    for path in (f"/meters/{code}", f"/telemetry/meters/{code}/latest"):
        other = api.get(path, token=bob.token)
        none = api.get(path.replace(code, "MTR-09999999"), token=bob.token)
        assert (other.status_code, other.headers["content-type"]) == (404, "application/problem+json")
        assert other.json()["detail"].replace(code, "X") == none.json()["detail"].replace("MTR-09999999", "X")


def test_a_new_tenant_sees_nothing_of_what_was_measured_before(api: Api, reading: Any) -> None:
    ada, bob = api.person(), api.person()
    code, now = ada.meter(), datetime.now(UTC)
    reading(code, 100, now - 2 * DAY)
    given = api.segs_cloud("meter", "give", code, bob.email, "--from", f"{now - DAY:%Y-%m-%dT%H:%M:%SZ}")
    assert given.returncode == 0, given.stderr

    assert api.get(f"/telemetry/meters/{code}/latest", token=bob.token).json()["data"]["reading"] is None
    register(api, code)
    arrive(api, code, 200)
    time.sleep(SHOWN_S)
    seen = [
        api.get(f"/telemetry/meters/{code}/latest", token=who.token).json()["data"]["reading"]["power_w"]
        for who in (ada, bob)
    ]
    assert seen == [100, 200]


def test_an_operator_reads_the_meters_of_their_regions_and_an_admin_all(api: Api, reading: Any) -> None:
    owner = api.person()
    north, south = owner.meter("north"), owner.meter("south")
    for code in (north, south):
        reading(code, 5)
    people = {
        "operator": api.person("OPERATOR", "north"),
        "admin": api.person("ADMIN"),
        "no region": api.person("OPERATOR"),
    }

    found = {
        name: [api.get(f"/telemetry/meters/{code}/latest", token=who.token).status_code for code in (north, south)]
        for name, who in people.items()
    }
    assert found == {"operator": [200, 404], "admin": [200, 200], "no region": [404, 404]}
    for name, who in people.items():
        listed = {meter["code"] for meter in api.get("/meters", token=who.token, limit=200).json()["data"]}
        expected = {code for code, status in zip((north, south), found[name], strict=True) if status == 200}
        assert listed & {north, south} == expected


def test_pages_show_every_meter_once_in_order(api: Api) -> None:
    """D16."""
    person = api.person()
    codes = [person.meter("north" if n % 2 else "south") for n in range(7)]
    seen, cursor = [], None
    while True:
        query = {"limit": 3} if cursor is None else {"limit": 3, "cursor": cursor}
        answer = api.get("/meters", token=person.token, **query).json()
        seen.append([meter["code"] for meter in answer["data"]])
        cursor = answer["meta"]["next"]
        if cursor is None:
            break

    assert seen == [codes[:3], codes[3:6], codes[6:]]
    north = api.get("/meters", token=person.token, region="north").json()["data"]
    assert [meter["code"] for meter in north] == codes[1::2]


@pytest.mark.parametrize("path", ["/users", "/meters", "/gateways", "/audit", "/billing/invoices"])
def test_pages_go_on_beyond_two_thousand_million_rows(api: Api, path: str) -> None:
    """D16: the log has a row for every look, and its numbers are 64 bits long."""
    farthest = urlsafe_b64encode(b"a%d" % (2**63 - 1)).rstrip(b"=").decode()
    answer = api.get(path, token=api.person("ADMIN").token, cursor=farthest, limit=1)
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "query",
    [
        {"cursor": "x"},
        {"cursor": "YTkyMjMzNzIwMzY4NTQ3NzU4MDg"},
        {"limit": 0},
        {"limit": 201},
        {"page": 2},
        {"region": "N!"},
    ],
)
def test_a_parameter_that_makes_no_sense_is_refused_and_not_ignored(api: Api, query: dict[str, object]) -> None:
    """D16."""
    answer = api.get("/meters", token=api.person().token, **query)
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:segs:problem:invalid")


def test_a_person_changes_name_and_phone_and_nothing_that_decides_over_rights(api: Api) -> None:
    """D6, D13: a role, a region or somebody's id in the body is refused, not taken and not ignored."""
    person = api.person()
    changed = api.patch("/users/me", {"name": "Ada L.", "phone": "+49301234567"}, token=person.token).json()["data"]
    assert (changed["name"], changed["phone"]) == ("Ada L.", "+49301234567")
    assert api.patch("/users/me", {"phone": None}, token=person.token).json()["data"]["phone"] is None
    for field, value in (("role", "ADMIN"), ("region", "south"), ("user_id", 1), ("email", "x@example.com")):
        answer = api.patch("/users/me", {field: value}, token=person.token)
        assert (answer.status_code, answer.json()["errors"][0]["where"]) == (422, f"body.{field}")


def test_the_audit_log_names_who_was_logged_in_and_the_request(api: Api) -> None:
    """D13: no header and no field says who it was."""
    person = api.person()
    headers = {
        "authorization": f"Bearer {person.token}",
        "x-request-id": "the-request",
        "x-user-id": "1",
        "x-actor": "user:1",
    }
    answer = api.client.patch("/api/v1/users/me", json={"name": "Another"}, headers=headers)

    assert answer.headers["x-request-id"] == "the-request"
    logged = api.do("SELECT actor, database_role FROM audit_logs WHERE request_id = 'the-request'")
    assert logged == [(f"user:{person.user_id}", "segs_api")]
    assert [line["event"] for line in api.logged("the-request")] == ["request"]


def test_a_registration_with_somebody_else_s_meter_is_refused(api: Api) -> None:
    """D12."""
    body = {"name": "Eve", "email": "taker@example.com", "meter_code": "MTR-00000001", "role": "ADMIN"}
    answer = api.post("/auth/register", body)
    assert answer.status_code == 422
    assert {fault["where"] for fault in answer.json()["errors"]} == {"body.meter_code", "body.role"}


def test_an_unknown_region_is_no_fault_of_ours(api: Api) -> None:
    """D16."""
    answer = api.post("/auth/register", {"name": "Eve", "email": "where@example.com", "region": "nowhere"})
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:segs:problem:not-found")


def test_the_service_says_how_it_is(api: Api) -> None:
    for path in ("/livez", "/readyz", "/metrics"):
        assert httpx.get(f"{api.url}{path}", trust_env=False).status_code == 200
    assert "segs_api_requests_total" in httpx.get(f"{api.url}/metrics", trust_env=False).text
    nowhere = api.get("/nowhere")
    assert (nowhere.status_code, nowhere.headers["content-type"]) == (404, "application/problem+json")


@pytest.mark.parametrize(
    "body",
    [
        b'{"name": "\\ud800", "email": "half@example.com"}',
        b'{"name": "a\\u0000b", "email": "nul@example.com"}',
        b'{"name": "Eve", "email": "field@example.com", "\\ud800": 1}',
        b'{"name": "Eve", "email": 123456789012345678901234567890}',
        b'{"name": NaN, "email": "nan@example.com"}',
        b'{"name": ',
        b"\xff",
        b"[" * 5000,
        b'{"name": "' + b"x" * 70_000 + b'"}',
    ],
)
def test_no_body_is_a_fault_of_the_service(api: Api, body: bytes) -> None:
    """D16."""
    answer = api.client.post("/api/v1/auth/register", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 413, 422)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("code", ["%00", "MTR-%00000001", "%ed%a0%80", "x" * 41, "'"])
def test_no_name_of_a_meter_is_a_fault_of_the_service(api: Api, code: str) -> None:
    """D16."""
    token = api.person("ADMIN").token
    paths = (f"/meters/{code}", f"/telemetry/meters/{code}/latest", f"/telemetry/regions/{code}/statistics")
    for path in (*paths, f"/telemetry/latest?meter={code}", f"/telemetry/live?meter={code}"):
        assert api.get(path, token=token).status_code in (404, 422)


def test_spaces_around_a_password_belong_to_it(api: Api) -> None:
    person = api.person()
    assert api.login(person.email, " correct horse battery ").status_code == 401
