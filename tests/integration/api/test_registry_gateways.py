"""Gateways, their keys and devices, and regions over HTTP."""

import hashlib
import uuid
from datetime import UTC, datetime, timedelta

import msgspec
import psycopg
import pytest
from psycopg.types.json import Jsonb

from cloud.registry_copy import copy_registry
from contract.report import BacklogReport, BufferReport, ClockReport, GivenUp, Report
from tests.integration.api.conftest import Api, Person
from tests.integration.api.registry import Place, fresh

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture(scope="module")
def operator(api: Api) -> Person:
    return api.person("OPERATOR", "north")


@pytest.fixture(scope="module")
def admin(api: Api) -> Person:
    return api.person("ADMIN")


@pytest.fixture(scope="module")
def ada(api: Api) -> Person:
    return api.person()


def in_step(api: Api) -> None:
    with psycopg.connect(api.domain) as domain, psycopg.connect(api.telemetry) as telemetry:
        copy_registry(domain, telemetry)


def hashes(api: Api, name: str) -> set[bytes]:
    """What receivers accept."""
    in_step(api)
    return set(api.do("SELECT key_hashes FROM gateway_registry WHERE name = %s", name, telemetry=True)[0][0])


def digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def test_a_key_is_changed_without_a_gap_and_shown_once(api: Api, operator: Person) -> None:
    """D10."""
    name = fresh()
    made = api.post("/gateways", {"name": name, "region": "north"}, token=operator.token)
    first = made.json()["data"]
    assert (made.status_code, made.headers["cache-control"], first["name"]) == (201, "no-store", name)
    assert hashes(api, name) == {digest(first["key"])}
    last = api.ask("DELETE", f"/gateways/{name}/keys/{first['key_id']}", token=operator.token)
    second = api.post(f"/gateways/{name}/keys", token=operator.token).json()["data"]
    assert hashes(api, name) == {digest(first["key"]), digest(second["key"])}, "both, until the old one is revoked"
    revoked = api.ask("DELETE", f"/gateways/{name}/keys/{first['key_id']}", token=operator.token)
    assert hashes(api, name) == {digest(second["key"])}
    forced = api.ask("DELETE", f"/gateways/{name}/keys/{second['key_id']}?last=true", token=operator.token)

    assert [answer.status_code for answer in (last, revoked, forced)] == [409, 200, 200]
    assert hashes(api, name) == set()
    shown = api.get(f"/gateways/{name}/keys", token=operator.token)
    assert [key["revoked_at"] is None for key in shown.json()["data"]] == [False, False]
    for key in (first["key"], second["key"]):
        assert key not in shown.text + api.log.read_text()
        assert key not in str(api.do("SELECT old, new FROM audit_logs"))
    again = api.post("/gateways", {"name": name, "region": "north"}, token=operator.token)
    south = api.post("/gateways", {"name": fresh(), "region": "south"}, token=operator.token)
    none = api.post("/gateways", {"name": fresh()}, token=operator.token)
    assert [answer.status_code for answer in (again, south, none)] == [409, 403, 403]


def test_a_gateway_that_is_disabled_delivers_nothing_and_keeps_its_keys(
    api: Api, ada: Person, operator: Person
) -> None:
    place = Place(api, ada)
    before = hashes(api, place.gateway)
    off = api.post(f"/gateways/{place.gateway}/disable", token=operator.token).json()["data"]
    assert (off["enabled"], len(off["keys"]), hashes(api, place.gateway)) == (False, 2, set())
    on = api.post(f"/gateways/{place.gateway}/enable", token=operator.token).json()["data"]
    assert (on["enabled"], on["disabled_at"], hashes(api, place.gateway)) == (True, None, before)


def test_a_gateway_is_listed_as_it_does(api: Api, ada: Person, operator: Person, admin: Person) -> None:
    place = Place(api, ada)
    in_step(api)
    [(number,)] = api.do("SELECT gateway_id FROM gateways WHERE name = %s", place.gateway)
    micro = int(NOW.timestamp() * 1e6)
    report = Report(
        software="segs-edge 1.2",
        boot_id="b",
        sent_us=micro,
        stream=str(uuid.uuid4()),
        next_seq=8,
        started_us=micro - 10**9,
        loss_window_s=2.0,
        backlog=BacklogReport(readings=7, bytes=700, oldest_us=micro - 60 * 10**6),
        last_receipt_us=micro - 5 * 10**6,
        given_up=GivenUp(),
        lost_notes=0,
        buffer=BufferReport(used_bytes=1, max_bytes=2, set_aside=[]),
        clock=ClockReport(synchronized=True),
        meters=1,
        silent_meters=0,
        troubles=["uplink: 401"],
    )
    api.do(
        "INSERT INTO gateway_reports (gateway_id, received_at, sent_at, software, clock_ahead_s, report)"
        " SELECT %s, t, t, 'segs-edge 1.2', 0.5, %s FROM (SELECT %s::timestamptz AS t) AS now",
        number,
        Jsonb(msgspec.to_builtins(report)),
        datetime.now(UTC),
        telemetry=True,
    )
    one = api.get(f"/gateways/{place.gateway}", token=operator.token).json()["data"]
    assert (one["health"], one["troubles"], one["software"]) == ("troubled", ["uplink: 401"], "segs-edge 1.2")
    assert (one["backlog"]["readings"], one["backlog"]["age_s"] > 59, one["clock_ahead_s"]) == (7, True, 0.5)
    assert (one["devices"], one["keys"], one["last_receipt_at"] < one["last_report_at"]) == (1, place.keys, True)
    quiet = Place(api, ada)
    found = api.get("/gateways", token=operator.token, search=quiet.gateway).json()["data"]
    assert [(gateway["name"], gateway["health"], gateway["backlog"]) for gateway in found] == [
        (quiet.gateway, "never", None)
    ]
    # What a screen asks for all the time is sent when it has changed.
    for path in (f"/gateways/{quiet.gateway}", f"/gateways?search={quiet.gateway}"):
        tag = {"If-None-Match": api.ask("GET", path, token=operator.token).headers["etag"]}
        again = api.ask("GET", path, token=operator.token, headers=tag)
        assert (again.status_code, again.content) == (304, b"")
        api.ask("POST", f"/gateways/{quiet.gateway}/disable", token=operator.token)
        assert api.ask("GET", path, token=operator.token, headers=tag).status_code == 200
        api.ask("POST", f"/gateways/{quiet.gateway}/enable", token=operator.token)
    given = api.ask("PATCH", f"/gateways/{quiet.gateway}", {"region": "south"}, token=admin.token)
    assert given.json()["data"]["region"] == "south"
    assert api.ask("PATCH", f"/gateways/{quiet.gateway}", {"region": "x"}, token=admin.token).status_code == 404
    listed = api.get("/gateways", token=operator.token, region="north", search=quiet.gateway).json()
    assert listed["data"] == []


def test_a_meter_is_read_as_another_device_and_what_was_read_stays_its_own(
    api: Api, ada: Person, operator: Person
) -> None:
    one, two = Place(api, ada), Place(api, ada)
    path = f"/gateways/{one.gateway}/devices"
    there = api.post(f"{path}/m/move", {"to_gateway": two.gateway}, token=operator.token)
    assert there.status_code == 409
    assert [one["to"] for one in api.get(path, token=operator.token).json()["data"]] == [None], "nothing has ended"
    moved = api.post(f"{path}/m/move", {"to_gateway": two.gateway, "to_device": "m2/1"}, token=operator.token)
    data = moved.json()["data"]
    assert (data["meter"], data["device"], data["interval_ms"]) == (one.code, "m2/1", 1000)
    assert api.get(path, token=operator.token).json()["data"] == []
    [was] = api.get(path, token=operator.token, ended=True).json()["data"]
    assert (was["meter"], was["to"]) == (one.code, data["from"])
    ended = api.ask("DELETE", f"/gateways/{two.gateway}/devices/m2/1", token=operator.token)
    assert ended.json()["data"] == {"meter": one.code}
    assert api.ask("DELETE", f"/gateways/{two.gateway}/devices/m2/1", token=operator.token).status_code == 404
    back = {"device": "m2/1", "interval_ms": 500, "meter": one.code}
    assert api.post(f"/gateways/{two.gateway}/devices", back, token=operator.token).json()["data"]["meter"] == one.code
    in_step(api)
    spans = api.do(
        "SELECT count(*) FROM device_registry WHERE meter_code = %s AND NOT isempty(valid)", one.code, telemetry=True
    )
    assert spans == [(3,)]


def test_devices_come_by_table_and_those_that_are_there_stay(api: Api, ada: Person, operator: Person) -> None:
    place = Place(api, ada)
    path = f"/gateways/{place.gateway}/devices/import"
    table = f"device,model,interval_ms,meter\nm,x,1000,\na/1,x,1000,\nb,,1000,{place.code}\nc,x,0,\n".encode()
    refused = api.ask("POST", f"{path}?region=north", table, token=operator.token)
    faults = [(fault["line"], fault["column"], fault["found"]) for fault in refused.json()["errors"]]
    assert (refused.status_code, faults) == (422, [(4, "meter", place.code), (5, "interval_ms", "0")])
    good = api.ask("POST", f"{path}?region=north&partial=true", table, token=operator.token).json()["data"]
    assert [(entry["line"], entry["recorded"]) for entry in good["entries"]] == [(2, False), (3, True)]
    assert good["entries"][0]["meter"] == place.code


def test_a_region_s_capacity_is_told_by_time(api: Api, admin: Person, operator: Person, ada: Person) -> None:
    """D6."""
    name = fresh()
    body = {"region": name, "name": "New", "timezone": "Europe/Berlin", "capacity_w": 1e6}
    assert api.post("/regions", body, token=admin.token).status_code == 201
    assert api.post("/regions", body, token=admin.token).status_code == 409
    since = (NOW - timedelta(days=2)).isoformat()
    path = f"/regions/{name}/capacity"
    answers = [
        api.ask("PUT", path, {"capacity_w": 2e6, "from": since}, token=admin.token),
        api.ask("PUT", path, {"capacity_w": None, "from": (NOW - timedelta(days=1)).isoformat()}, token=admin.token),
        api.ask("PUT", path, {"capacity_w": 3e6}, token=admin.token),
    ]
    later = api.ask("PUT", path, {"capacity_w": 9, "from": (NOW + timedelta(days=1)).isoformat()}, token=admin.token)
    between = api.ask(
        "PUT", path, {"capacity_w": 5e6, "from": (NOW - timedelta(hours=1)).isoformat()}, token=admin.token
    )

    assert [answer.status_code for answer in (*answers, later)] == [200, 200, 200, 422]
    assert [one["capacity_w"] for one in between.json()["data"]] == [1e6, 2e6, 5e6, 3e6]
    assert between.json()["data"][0]["to"].startswith(since[:19])
    one = api.get(f"/regions/{name}", token=admin.token).json()["data"]
    assert (one["capacity_w"], one["timezone"]) == (3e6, "Europe/Berlin")
    seen = [api.get(f"/regions/{name}", token=who.token).json()["data"]["capacity_w"] for who in (operator, ada)]
    assert seen == [None, None]
    changed = api.ask("PATCH", f"/regions/{name}", {"name": "Newer"}, token=admin.token).json()["data"]
    assert (changed["name"], changed["capacity_w"], changed["timezone"]) == ("Newer", 3e6, "Europe/Berlin")
    in_step(api)
    copied = "SELECT capacity_w FROM capacity_registry WHERE region = %s ORDER BY valid"
    assert [row[0] for row in api.do(copied, name, telemetry=True)] == [1e6, 2e6, 5e6, 3e6]
    assert api.do("SELECT capacity_w FROM regions WHERE region = %s", name) == [(3e6,)]
