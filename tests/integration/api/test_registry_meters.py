"""Meters over HTTP: found, registered, changed, moved, exchanged, given and claimed, one by one and by table."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from cloud.registry_copy import copy_registry
from tests.integration.api.conftest import Api, Person
from tests.integration.api.registry import Place, fresh

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def operator(api: Api) -> Person:
    return api.person("OPERATOR", "north")


@pytest.fixture(scope="module")
def ada(api: Api) -> Person:
    return api.person()


@pytest.fixture(scope="module")
def bob(api: Api) -> Person:
    return api.person()


@pytest.fixture(autouse=True)
def _unlimited(api: Api) -> Iterator[None]:
    yield
    api.do("DELETE FROM rate_buckets")


def in_step(api: Api) -> None:
    """What a worker does within seconds."""
    with psycopg.connect(api.domain) as domain, psycopg.connect(api.telemetry) as telemetry:
        copy_registry(domain, telemetry)


def codes(api: Api, who: Person, **query: object) -> list[str]:
    return [meter["code"] for meter in api.get("/meters", token=who.token, **query).json()["data"]]


def test_every_filter_of_the_list_is_applied(api: Api, ada: Person, operator: Person) -> None:
    """D16."""
    one, two = Place(api, ada), Place(api, ada)
    serial = fresh()
    api.do("UPDATE meters SET model = 'x', serial = %s, status = 'faulty' WHERE meter_code = %s", serial, one.code)
    for query in ({"gateway": one.gateway}, {"search": serial[2:].upper()}, {"search": one.code, "status": "faulty"}):
        assert codes(api, operator, **query) == [one.code], query
    assert codes(api, operator, gateway=two.gateway, status="faulty") == []
    assert {one.code, two.code} <= set(codes(api, operator, owner=ada.user_id, region="north", limit=200))
    assert codes(api, operator, owner=operator.user_id) == []
    assert codes(api, operator, search="%") == []
    for query, where in (({"region": "nowhere"}, "query.region"), ({"gateway": "nobody"}, "query.gateway")):
        unknown = api.get("/meters", token=operator.token, **query)
        assert (unknown.status_code, unknown.json()["where"]) == (404, where)


def test_a_change_is_of_what_was_read_and_of_nothing_else(api: Api, ada: Person, operator: Person) -> None:
    """D16: nobody overwrites what they have not seen."""
    path = f"/meters/{Place(api, ada).code}"
    read = api.get(path, token=operator.token)
    tag = read.headers["etag"]
    same = api.ask("GET", path, token=operator.token, headers={"if-none-match": tag})
    assert (same.status_code, same.content) == (304, b"")
    blind = api.ask("PATCH", path, {"site": "barn"}, token=operator.token)
    first = api.ask("PATCH", path, {"site": "barn"}, token=operator.token, headers={"if-match": tag})
    second = api.ask("PATCH", path, {"status": "inactive"}, token=operator.token, headers={"if-match": tag})
    third = api.ask(
        "PATCH", path, {"status": "inactive"}, token=operator.token, headers={"if-match": first.headers["etag"]}
    )

    assert [answer.status_code for answer in (blind, first, second, third)] == [428, 200, 412, 200]
    assert (third.json()["data"]["site"], third.json()["data"]["status"]) == ("barn", "inactive")
    assert first.json()["meta"]["in_step_by"] > NOW.isoformat()
    bad = api.ask("PATCH", path, {"status": None, "region": "south"}, token=operator.token, headers={"if-match": "*"})
    assert {fault["where"] for fault in bad.json()["errors"]} == {"body.status", "body.region"}


def test_what_alerts_have_to_know_of_a_connection_is_said_of_the_meter(api: Api, operator: Person) -> None:
    about = {"nominal_voltage_v": 120, "phases": 5, "rated_power_w": 17250, "exports": True}
    made = api.post("/meters", {"region": "north", **about}, token=operator.token)
    assert made.status_code == 201, made.text
    path = f"/meters/{made.json()['data']['code']}"
    change = {"phases": None, "exports": False}
    changed = api.ask("PATCH", path, change, token=operator.token, headers={"if-match": "*"}).json()["data"]

    assert {name: made.json()["data"][name] for name in about} == about
    assert {name: changed[name] for name in about} == about | change
    for bad in ({"phases": 8}, {"phases": 0}, {"rated_power_w": 0}, {"nominal_voltage_v": None}):
        assert api.ask("PATCH", path, bad, token=operator.token, headers={"if-match": "*"}).status_code == 422, bad


def test_an_operator_registers_meters_in_regions_of_theirs(api: Api, operator: Person) -> None:
    gateway, serial = fresh(), fresh()
    assert api.post("/gateways", {"name": gateway, "region": "north"}, token=operator.token).status_code == 201
    body = {"region": "north", "model": "x", "serial": serial, "site": "barn", "register_modulus_wh": 10**8}
    read = {"gateway": gateway, "device": "m", "interval_ms": 1000}
    made = api.post("/meters", body | read, token=operator.token)
    again = api.post("/meters", body, token=operator.token)
    elsewhere = api.post("/meters", {"region": "south"}, token=operator.token)
    nowhere = api.post("/meters", {"region": "nowhere"}, token=operator.token)
    half = api.post("/meters", {"region": "north", "device": "m"}, token=operator.token)

    data = made.json()["data"]
    assert (data["gateway"], data["device"], data["site"], data["owner_id"]) == (gateway, "m", "barn", None)
    assert [answer.status_code for answer in (again, elsewhere, nowhere, half)] == [409, 403, 404, 422]
    assert again.json()["detail"] == f"meter x serial {serial} is registered as {data['code']}"
    in_step(api)
    known = api.do("SELECT device, region FROM device_registry WHERE meter_code = %s", data["code"], telemetry=True)
    assert known == [("m", "north")]


def test_a_device_that_was_a_meter_of_another_region_goes_on_where_that_ended(
    api: Api, ada: Person, operator: Person
) -> None:
    """The operator does not see that meter."""
    place = Place(api, ada)
    api.do("UPDATE meter_locations SET region = 'south' FROM meters m WHERE m.meter_id = meter_locations.meter_id"
           " AND m.meter_code = %s", place.code)  # fmt: skip
    new = {"device": "m", "interval_ms": 1000, "region": "north", "model": "x"}
    path = f"/gateways/{place.gateway}/devices"
    taken = api.post(path, new, token=operator.token)
    api.do("SELECT device_unregister(%s, 'm', now())", place.gateway)
    made = api.post(path, new, token=operator.token)

    assert (taken.status_code, place.code in taken.text) == (409, False)
    assert (made.status_code, made.json()["data"]["from"] is not None) == (201, True)


def test_a_meter_moves_by_time_and_only_by_who_looks_after_both_regions(
    api: Api, ada: Person, operator: Person
) -> None:
    """D6."""
    place, both = Place(api, ada), api.person("OPERATOR", "north", "south")
    path, at = f"/meters/{place.code}/move", (NOW - DAY).isoformat()
    away = api.post(path, {"region": "south"}, token=operator.token)
    own = api.post(path, {"region": "south"}, token=ada.token)
    moved = api.post(path, {"region": "south", "timezone": "Europe/Paris", "from": at}, token=both.token)

    assert (away.status_code, own.status_code, moved.status_code) == (403, 403, 200)
    assert away.json()["detail"] == "region south is not one of yours"
    assert [(one["region"], one["timezone"]) for one in moved.json()["data"]] == [
        ("north", "UTC"),
        ("south", "Europe/Paris"),
    ]
    assert api.get(f"/meters/{place.code}", token=operator.token).status_code == 404
    assert api.get(f"/meters/{place.code}", token=ada.token).json()["data"]["region"] == "south"


def test_a_new_tenant_sees_nothing_of_the_one_before(api: Api, ada: Person, bob: Person, operator: Person) -> None:
    place = Place(api, ada)
    path = f"/meters/{place.code}/owners"
    ended = api.post(f"{path}/end", {"from": (NOW - DAY).isoformat()}, token=operator.token)
    nobody = api.post(f"{path}/end", {}, token=operator.token)
    given = api.post(path, {"user_id": bob.user_id}, token=operator.token)
    twice = api.post(path, {"user_id": ada.user_id, "from": (NOW - 2 * DAY).isoformat()}, token=operator.token)
    api.person("OPERATOR", "south")
    staff = api.post(path, {"user_id": operator.user_id}, token=operator.token)

    assert [answer.status_code for answer in (ended, nobody, given, twice, staff)] == [200, 404, 201, 409, 404]
    assert [one["user_id"] for one in api.get(path, token=operator.token).json()["data"]] == [ada.user_id, bob.user_id]
    for who in (ada, bob):
        assert [one["user_id"] for one in api.get(path, token=who.token).json()["data"]] == [who.user_id]
    assert api.get(f"/meters/{place.code}/exchanges", token=bob.token).json()["data"] == []
    assert api.get(f"/meters/{place.code}", token=ada.token).json()["data"]["owner_id"] is None


def test_reads_of_an_exchange_are_held_against_the_readings(
    api: Api, ada: Person, operator: Person, reading: Any
) -> None:
    place = Place(api, ada)
    in_step(api)
    number = int(place.code.removeprefix("MTR-"))
    api.do(
        "INSERT INTO raw_readings (time, meter_id, batch_id, energy_import_wh) VALUES (%s, %s, 1, 5000)",
        NOW - timedelta(minutes=2),
        number,
        telemetry=True,
    )
    api.do("INSERT INTO meter_registers (meter_id, register, last_day) VALUES (%s, 1, %s)",
           number,
        NOW - timedelta(minutes=2), telemetry=True)  # fmt: skip
    path = f"/meters/{place.code}/exchanges"
    told = {"serial": fresh(), "model": "y", "at": (NOW - timedelta(minutes=1)).isoformat(), "final_import_wh": 4000}
    against = api.post(path, told, token=operator.token)
    despite = api.post(path, told | {"despite_readings": "seen"}, token=operator.token)
    revoked = api.post(f"{path}/revoke", {"at": told["at"], "reason": "no"}, token=operator.token)

    assert (against.status_code, against.json()["type"]) == (409, "urn:segs:problem:contradicted-by-readings")
    assert despite.json()["data"][-1]["despite"] == "seen"
    assert revoked.json()["data"][-1]["revoked_reason"] == "no"
    wrap = api.ask("PUT", f"/meters/{place.code}/registers", {"rollover_wh": 5000}, token=operator.token)
    wide = api.ask(
        "PUT", f"/meters/{place.code}/registers", {"rollover_wh": 10**6, "resets": True}, token=operator.token
    )
    assert (wrap.status_code, wide.json()["data"]["register_modulus_wh"]) == (409, 10**6)


def issue(api: Api, operator: Person, code: str, **body: object) -> str:
    answer = api.post(f"/meters/{code}/claims", body, token=operator.token)
    assert answer.headers["cache-control"] == "no-store"
    return str(answer.json()["data"]["code"])


def claim(api: Api, who: Person, code: str) -> tuple[int, str]:
    answer = api.post("/meters/claim", {"claim_code": code}, token=who.token)
    body = answer.json()
    return answer.status_code, body.get("type", "").rpartition(":")[2] or body["data"]["code"]


def test_a_code_gives_a_meter_once_and_takes_it_from_nobody(
    api: Api, ada: Person, bob: Person, operator: Person, reading: Any
) -> None:
    """D12."""
    place = Place(api, ada)
    reading(place.code, 7, NOW - timedelta(hours=1))
    first, second = (issue(api, operator, place.code) for _ in range(2))
    assert claim(api, bob, first) == (403, "code-refused"), "the next one took its place"
    assert claim(api, bob, second) == (409, "meter-taken")
    api.post(f"/meters/{place.code}/owners/end", {}, token=operator.token)
    typed = second.lower().replace("-", " ").replace("0", "o").replace("1", "l")
    assert claim(api, bob, typed) == (200, place.code)
    assert claim(api, ada, second) == (403, "code-refused")

    assert api.get(f"/telemetry/meters/{place.code}/latest", token=bob.token).json()["data"]["reading"] is None
    newest = api.get(f"/meters/{place.code}/claims", token=operator.token).json()["data"][0]
    assert (newest["used_by"], newest["issued_by"], newest["revoked_at"]) == (bob.user_id, operator.user_id, None)
    assert second not in str(api.do("SELECT to_jsonb(c) FROM meter_claims c")) + api.log.read_text()
    assert second.replace("-", "") not in str(
        api.do("SELECT old, new FROM audit_logs WHERE table_name = 'meter_claims'")
    )


def test_codes_that_are_too_old_or_withdrawn_are_wrong_and_guesses_are_counted(
    api: Api, ada: Person, bob: Person, operator: Person
) -> None:
    """D12."""
    place = Place(api, ada)
    api.do("SELECT meter_give(%s, NULL, now(), now())", place.code)
    old = issue(api, operator, place.code, days=1)
    api.do("UPDATE meter_claims SET created_at = created_at - INTERVAL '2 days', expires_at = now() - INTERVAL '1 s'")
    assert claim(api, bob, old) == (403, "code-refused")
    withdrawn = issue(api, operator, place.code)
    assert api.ask("DELETE", f"/meters/{place.code}/claims", token=operator.token).status_code == 200
    assert claim(api, bob, withdrawn) == (403, "code-refused")
    for _ in range(3):
        assert claim(api, bob, "0000-0000-0000-0000") == (403, "code-refused")
    good = issue(api, operator, place.code)
    limited = api.post("/meters/claim", {"claim_code": good}, token=bob.token)
    assert (limited.status_code, 0 < int(limited.headers["retry-after"]) <= 720) == (429, True)
    assert claim(api, ada, good) == (200, place.code), "another's guesses are not hers"


TABLE = """model,serial,region,max_power_w,timezone
x,{0}-1,north,25000,
x,{0}-2,nowhere,25000,
x,{0}-3,north,-5,
x,{0}-1,north,25000,

x,{0}-4,south,25000,
x,{0}-5,north,25000,Mars/Olympus
x,{0}-6,north,25000,Europe/Berlin
"""


def test_every_row_of_a_table_is_looked_at_and_none_is_half_recorded(api: Api, operator: Person) -> None:
    name = fresh()
    table = TABLE.format(name).encode()

    def count() -> int:
        return int(api.do("SELECT count(*) FROM meters WHERE starts_with(serial, %s)", name)[0][0])

    refused = api.ask("POST", "/meters/import", table, token=operator.token)
    faults = refused.json()["errors"]
    assert (refused.status_code, refused.json()["type"], count()) == (422, "urn:segs:problem:rows-refused", 0)
    assert [(fault["line"], fault["column"], fault["found"]) for fault in faults] == [
        (3, "region", "nowhere"),
        (4, "max_power_w", "-5"),
        (5, "serial", f"{name}-1"),
        (7, "region", "south"),
        (8, "timezone", "Mars/Olympus"),
    ]
    assert faults[0]["message"] == "there is no region nowhere; there are north, south"
    assert faults[1]["message"] == "Input should be greater than 0; Highest power that is carried, W"
    assert faults[2]["message"] == "it is in line 2 too; keep one of them"
    dry = api.ask("POST", "/meters/import?dry_run=true", table, token=operator.token).json()["data"]
    assert (dry["recorded"], len(dry["entries"]), len(dry["refused"]), count()) == (0, 2, 5, 0)
    part = api.ask("POST", "/meters/import?partial=true", table, token=operator.token).json()
    assert (part["message"], count()) == ("2 of 7 rows recorded, 5 refused.", 2)
    assert [entry["line"] for entry in part["data"]["entries"]] == [2, 9]
    assert codes(api, operator, search=f"{name}-6") == [part["data"]["entries"][1]["meter"]]


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (b"", "no row"),
        (b"model;region\nx;north\n", "no column 'model;region' is known"),
        (b"model,region,owner\nx,north,1\n", "no column 'owner' is known"),
        (b"region,region\nnorth,north\n", "there twice"),
        (b"region,model\nnorth\n", "line 2: 1 cells"),
        (b"region,model\nnorth,\xff\n", "line 2: no UTF-8"),
        (b'region,model\nnorth,"x\n', "no CSV"),
        (b"region,model\n", "no row"),
        (b"region\n" + b"north\n" * 2001, "more than 2000 rows"),
        (b"region,model\nnorth,a\x00b\n", "line"),
    ],
)
def test_a_file_that_is_no_table_is_told_with_its_line(api: Api, operator: Person, table: bytes, says: str) -> None:
    answer = api.ask("POST", "/meters/import", table, token=operator.token)
    assert answer.status_code == 422
    assert says in answer.text


@pytest.mark.long
def test_a_table_of_2000_meters_is_recorded_in_one_request(api: Api, operator: Person) -> None:
    name = fresh()
    table = "region,model,serial\n" + "".join(f"north,x,{name}-{n}\n" for n in range(2000))
    began = datetime.now(UTC)
    answer = api.ask("POST", "/meters/import", table.encode(), token=operator.token)
    assert (answer.status_code, answer.json()["data"]["recorded"]) == (200, 2000)
    assert datetime.now(UTC) - began < timedelta(seconds=20)
    large = api.ask("POST", "/meters/import", b"region\n" + b" " * 2**20, token=operator.token)
    assert large.status_code == 413
    api.do("DELETE FROM meter_locations USING meters m WHERE m.meter_id = meter_locations.meter_id"
           " AND starts_with(m.serial, %s)", name)  # fmt: skip
    api.do("DELETE FROM meters WHERE starts_with(serial, %s)", name)
