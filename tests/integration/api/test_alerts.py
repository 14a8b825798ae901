"""Alerts over HTTP: found by what they are about, acted upon, counted, and streamed as they change."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from tests.integration.api.conftest import Api, Person
from tests.integration.api.test_live import Stream
from tests.integration.api.world import ALERTING, World, alert

_HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def world(api: Api) -> Iterator[World]:
    made = World(api)
    with made.domain:
        yield made


@pytest.fixture(autouse=True)
def _unlimited(api: Api) -> None:
    api.do("DELETE FROM rate_buckets")


@pytest.fixture(scope="module")
def operator(api: Api) -> Person:
    return api.person("OPERATOR", "north")


def _listed(api: Api, who: Person, **query: object) -> list[int]:
    answer = api.get("/alerts", token=who.token, **query)
    assert answer.status_code == 200, answer.text
    return [one["alert_id"] for one in answer.json()["data"]]


def test_alerts_are_found_by_what_they_are_about(api: Api, world: World, operator: Person) -> None:
    ada = api.person()
    meter, other, far = ada.meter(), ada.meter(), ada.meter("south")
    api.do("UPDATE meters SET site = 'mill' WHERE meter_code = %s", meter)
    low = alert(world, meter, severity="low", rule="unbalance")
    high = alert(world, other, severity="high", category="load")
    south = alert(world, far, severity="critical")
    over = alert(world, meter, state="resolved", resolved_at=datetime.now(UTC), rule="over_voltage")
    api.do("UPDATE alerts SET started_at = now() - INTERVAL '3 days' WHERE alert_id = %s", high)
    api.do("UPDATE alerts SET acknowledged_at = now(), acknowledged_by = %s WHERE alert_id = %s", operator.user_id, low)
    since = (datetime.now(UTC) - _HOUR).isoformat()

    assert _listed(api, ada) == [over, south, high, low]
    for query, found in (
        ({"severity": "high"}, [south, high]),
        ({"rule": "unbalance"}, [low]),
        ({"category": "load"}, [high]),
        ({"state": "resolved"}, [over]),
        ({"open": "true"}, [south, high, low]),
        ({"open": "false"}, [over]),
        ({"acknowledged": "true"}, [low]),
        ({"acknowledged": "false", "open": "true"}, [south, high]),
        ({"meter": meter}, [over, low]),
        ({"site": "mill"}, [over, low]),
        ({"region": "south"}, [south]),
        ({"from": since}, [over, south, low]),
        ({"to": since}, [high]),
        ({"from": since, "severity": "critical"}, [south]),
    ):
        assert _listed(api, ada, **query) == found, query
    assert set(_listed(api, operator, limit=200)) & {low, high, south, over} == {low, high, over}
    assert _listed(api, ada, rule="region_silent") == []
    for name, value in (("meter", "MTR-99999999"), ("rule", "nodata"), ("site", "nowhere"), ("region", "nowhere")):
        refused = api.get("/alerts", token=ada.token, **{name: value})
        assert (refused.status_code, refused.json()["where"]) == (404, f"query.{name}"), refused.text
    assert api.get("/alerts", token=ada.token, **{"from": since, "to": "2020-01-01T00:00:00Z"}).status_code == 422


def test_alerts_of_a_gateway_are_its_own_and_those_of_what_it_reads(api: Api, world: World, operator: Person) -> None:
    name = str(world.thing("gateway", "neighbour", world.caller("OPERATOR"))["name"])
    code = world.one(
        "SELECT meter_code FROM meters JOIN devices USING (meter_id) WHERE gateway_id = gateway_id_of(%s)", name
    )
    meters = alert(world, code)
    own = world.one(
        "INSERT INTO alerts (gateway_id, rule, category, severity, state, message, started_at, fired_at) SELECT"
        " gateway_id_of(%s), 'gateway_clock', 'data', 'warning', 'firing', 'Off', now(), now() RETURNING alert_id",
        name,
    )

    assert _listed(api, operator, gateway=name) == [own, meters]
    assert own in _listed(api, operator, region="north", limit=200)


def test_pages_have_all_of_them_once(api: Api, world: World) -> None:
    """D16."""
    ada = api.person()
    made = [alert(world, ada.meter()) for _ in range(5)]
    found: list[int] = []
    cursor: str | None = None
    while cursor is not None or not found:
        answer = api.get("/alerts", token=ada.token, limit=2, **({} if cursor is None else {"cursor": cursor})).json()
        found += [one["alert_id"] for one in answer["data"]]
        cursor = answer["meta"]["next"]

    assert found == made[::-1]


def test_what_becomes_of_an_alert_is_told_with_who_did_it(api: Api, world: World, operator: Person) -> None:
    """D13: who did it is who is logged in, and nothing that is sent."""
    ada = api.person()
    number = alert(world, ada.meter())

    taken = api.post(f"/alerts/{number}/acknowledge", {"note": "On the way"}, token=operator.token)
    said = api.post(f"/alerts/{number}/comments", {"text": "Thank you"}, token=ada.token)
    closed = api.post(f"/alerts/{number}/close", {}, token=operator.token)

    assert (taken.status_code, said.status_code, closed.status_code) == (200, 201, 200), closed.text
    found = api.get(f"/alerts/{number}", token=ada.token).json()["data"]
    assert [(one["kind"], one["user_id"], one["text"]) for one in found["events"]] == [
        ("fired", None, None),
        ("acknowledged", operator.user_id, "On the way"),
        ("commented", ada.user_id, "Thank you"),
        ("closed", operator.user_id, None),
    ]
    assert (found["state"], found["acknowledged_by"], found["resolved_by"]) == (
        "resolved",
        operator.user_id,
        operator.user_id,
    )
    again = api.post(f"/alerts/{number}/close", {}, token=operator.token)
    assert (again.status_code, again.json()["message"]) == (200, "It was over already.")
    assert api.post(f"/alerts/{number}/close", {"user_id": 1}, token=operator.token).status_code == 422
    [(actors,)] = api.do(
        "SELECT array_agg(DISTINCT actor) FROM audit_logs WHERE table_name IN ('alerts', 'alert_events')"
        " AND action <> 'READ' AND (row_key = %s OR new ->> 'alert_id' = %s) AND actor LIKE 'user:%%'",
        str(number),
        str(number),
    )
    assert sorted(actors) == sorted({f"user:{operator.user_id}", f"user:{ada.user_id}"})


def test_a_note_of_who_comes_second_is_a_comment(api: Api, world: World, operator: Person) -> None:
    number = alert(world, api.person().meter())
    second = api.person("OPERATOR", "north")
    api.post(f"/alerts/{number}/acknowledge", {"note": "On the way"}, token=operator.token)

    for body in ({"note": "It is the fuse"}, {}):
        again = api.post(f"/alerts/{number}/acknowledge", body, token=second.token)
        assert (again.status_code, again.json()["message"]) == (200, "Somebody took it on already, or it is over.")

    assert [(one["kind"], one["user_id"], one["text"]) for one in again.json()["data"]["events"]] == [
        ("fired", None, None),
        ("acknowledged", operator.user_id, "On the way"),
        ("commented", second.user_id, "It is the fuse"),
    ]
    assert again.json()["data"]["acknowledged_by"] == operator.user_id


@pytest.mark.parametrize("path", ALERTING)
def test_the_same_request_with_the_same_key_is_done_once(api: Api, world: World, path: str) -> None:
    """D3: who lost the answer sends it again."""
    operator = api.person("OPERATOR", "north")
    meter = api.person().meter()
    number = alert(world, meter)
    body = {
        "comments": {"text": "x"},
        "actions": {"action": "close", "alerts": [number]},
        "maintenance-windows": {"meter": meter, "until": "2999-01-01T00:00:00Z", "reason": "Work"},
    }.get(path.rsplit("/", 1)[1], {})
    key = {"idempotency-key": str(uuid4())}

    first, again = (
        api.ask("POST", path.format(alert_id=number), body, token=operator.token, headers=key) for _ in range(2)
    )

    assert first.status_code in (200, 201), first.text
    assert (again.status_code, again.text) == (first.status_code, first.text)
    written = "SELECT count(*) FROM audit_logs WHERE actor = %s AND action = 'INSERT' AND table_name = ANY (%s)"
    tables = ["alert_events", "maintenance_windows"]
    assert api.do(written, f"user:{operator.user_id}", tables) == [(1,)]


def test_many_alerts_are_taken_on_at_once_and_what_became_of_each_is_told(
    api: Api, world: World, operator: Person
) -> None:
    ada = api.person()
    mine, far = alert(world, ada.meter()), alert(world, ada.meter("south"))
    api.post(f"/alerts/{mine}/acknowledge", {}, token=operator.token)
    fresh = alert(world, ada.meter())

    def act(action: str, *numbers: int) -> dict[int, str]:
        answer = api.post("/alerts/actions", {"action": action, "alerts": list(numbers)}, token=operator.token)
        assert answer.status_code == 200, answer.text
        return {one["alert_id"]: one["outcome"] for one in answer.json()["data"]}

    assert act("acknowledge", mine, far, fresh, 10**9) == {
        mine: "already",
        far: "absent",
        fresh: "done",
        10**9: "absent",
    }
    assert act("close", mine, fresh, fresh) == {mine: "done", fresh: "done"}
    for body in ({"action": "close", "alerts": list(range(1, 502))}, {"action": "close", "alerts": []}):
        assert api.post("/alerts/actions", body, token=operator.token).status_code == 422


def test_who_looks_at_alerts_of_others_is_in_the_log(api: Api, world: World, operator: Person) -> None:
    """D13."""
    ada = api.person()
    code = ada.meter()
    number = alert(world, code)

    api.get(f"/alerts/{number}", token=operator.token)
    api.get("/alerts", token=operator.token, meter=code)
    api.get(f"/alerts/{number}", token=ada.token)

    looks = api.do(
        "SELECT actor, table_name FROM audit_logs WHERE action = 'READ' AND meters @> ARRAY[%s]::integer[]",
        int(code[4:]),
    )
    assert looks == [(f"user:{operator.user_id}", "alerts")] * 2
    told = api.do(
        "SELECT subjects FROM audit_logs WHERE action = 'READ' AND meters = ARRAY[%s]::integer[]", int(code[4:])
    )
    assert told == [([ada.user_id],)] * 2


def test_alerts_are_counted_and_timed(api: Api, world: World) -> None:
    ada = api.person()
    first, second = alert(world, ada.meter(), severity="high"), alert(world, ada.meter(), rule="overload")
    late, alone = alert(world, ada.meter()), alert(world, ada.meter(), rule="overload")
    begun = datetime.now(UTC) - _HOUR
    times = ((first, 600, 1800), (second, 1200, None), (late, None, 60), (alone, None, None))
    for number, taken_s, resolved_s in times:
        taken = None if taken_s is None else begun + timedelta(seconds=taken_s)
        resolved = None if resolved_s is None else begun + timedelta(seconds=resolved_s)
        api.do(
            "UPDATE alerts SET started_at = %s, fired_at = %s, acknowledged_at = %s, acknowledged_by = %s, resolved_at"
            " = %s, state = %s, late = %s WHERE alert_id = %s",
            *(begun, begun, taken, taken and ada.user_id, resolved, "resolved" if resolved else "firing"),
            *(number == late, number),
        )
    span = {"from": (begun - _HOUR).isoformat(), "to": (begun + _HOUR).isoformat()}

    found = api.get("/alerts/statistics", token=ada.token, **span).json()["data"]

    assert found["total"] == {
        "alerts": 4,
        "open": 2,
        "acknowledged": 2,
        "mean_acknowledge_s": 900,
        "mean_resolve_s": 1800,
    }
    assert {rule: one["alerts"] for rule, one in found["by_rule"].items()} == {"under_voltage": 2, "overload": 2}
    assert {name: one["alerts"] for name, one in found["by_severity"].items()} == {"high": 1, "warning": 3}
    assert {name: one["open"] for name, one in found["by_state"].items()} == {"firing": 2, "resolved": 0}
    empty = api.get("/alerts/statistics", token=api.person().token, **span).json()["data"]
    assert (empty["total"]["alerts"], empty["total"]["mean_resolve_s"], empty["by_rule"]) == (0, None, {})
    long = {"from": "2024-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}
    assert api.get("/alerts/statistics", token=ada.token, **long).status_code == 422


@contextmanager
def _watching(api: Api, who: Person, last_id: str | None = None) -> Iterator[Stream]:
    headers = {"authorization": f"Bearer {who.token}"} | ({} if last_id is None else {"last-event-id": last_id})
    with (
        httpx.Client(trust_env=False, timeout=20) as client,
        client.stream("GET", f"{api.url}/api/v1/alerts/live", headers=headers) as answer,
    ):
        stream = Stream(answer)
        assert stream.event()[0] == "begin"
        yield stream


def _next(stream: Stream) -> list[tuple[int, str]]:
    name, data = stream.event()
    assert name == "alerts", (name, data)
    return [(one["alert_id"], one["kind"]) for one in data]


def test_what_becomes_of_alerts_is_streamed_once_to_who_may_see_it(api: Api, world: World, operator: Person) -> None:
    ada, far = api.person(), api.person("OPERATOR", "south")
    code = ada.meter()
    with _watching(api, ada) as hers, _watching(api, operator) as theirs, _watching(api, far) as nobodys:
        first = alert(world, code, severity="critical")
        alert(world, api.person().meter(), severity="high", category="tamper")
        mine = alert(world, ada.meter("south"))

        told: list[tuple[int, str]] = []
        while len(told) < 2:
            told += _next(hers)
        assert told == [(first, "fired"), (mine, "fired")]
        assert _next(theirs)[0] == (first, "fired")
        assert _next(nobodys) == [(mine, "fired")]
        api.post(f"/alerts/{first}/acknowledge", {"note": "Mine"}, token=operator.token)
        assert _next(hers) == [(first, "acknowledged")]
        last_id = hers.last_id

    api.post(f"/alerts/{first}/comments", {"text": "While away"}, token=operator.token)
    with _watching(api, ada, last_id) as again:
        assert _next(again) == [(first, "commented")]


def test_an_event_whose_transaction_ends_late_is_told_all_the_same(api: Api, world: World) -> None:
    """C12, D15: numbers are drawn in another order than transactions end."""
    ada = api.person()
    early, later = alert(world, ada.meter()), alert(world, ada.meter())
    event = "INSERT INTO alert_events (alert_id, kind, event_at) VALUES (%s, 'worse', now())"
    with _watching(api, ada) as stream, psycopg.connect(api.domain) as slow:
        slow.execute(event, [early])
        api.do(event, later)
        assert _next(stream) == [(later, "worse")]
        slow.commit()
        assert _next(stream) == [(early, "worse")]


@pytest.mark.parametrize("wish", ["alert_severity_min = 'high'", "alert_rules_off = '{under_voltage}'", "maintenance"])
def test_a_stream_tells_what_its_reader_wants_to_hear_of(api: Api, world: World, wish: str) -> None:
    """D15: preferences are stored and never consulted."""
    ada = api.person()
    meter, other = ada.meter(), ada.meter()
    if wish == "maintenance":
        add = "SELECT maintenance_add(%s, NULL, NULL, NULL, NULL, now() + INTERVAL '1 hour', 'Work', now())"
        api.do(add, int(meter[4:]))
    else:
        api.do(f"UPDATE user_preferences SET {wish} WHERE user_id = %s", ada.user_id)
    with _watching(api, ada) as stream:
        alert(world, meter, severity="warning")
        wanted = alert(world, other, severity="high", rule="overload")

        assert _next(stream) == [(wanted, "fired")]


def test_who_wants_no_alerts_in_the_web_gets_none(api: Api, world: World) -> None:
    """D15."""
    ada = api.person()
    code = ada.meter()
    api.do("UPDATE user_preferences SET notify_web = false WHERE user_id = %s", ada.user_id)
    with psycopg.connect(api.domain, autocommit=True) as asking:
        asking.execute("SELECT set_config('segs.user_id', %s, false)", [str(ada.user_id)])

        def came(cursor: str | None) -> tuple[str, list[Any]]:
            row = asking.execute("SELECT * FROM caller_alert_events(%s, 500, now())", [cursor]).fetchone()
            assert row is not None
            return row[0], row[1]

        begin, _ = came(None)
        alert(world, code)
        following, found = came(begin)
        assert (following != begin, found) == (True, [])
        api.do("UPDATE user_preferences SET notify_web = true WHERE user_id = %s", ada.user_id)
        assert [one["kind"] for one in came(begin)[1]] == ["fired"]
        assert came(following)[1] == []


def test_what_is_more_than_goes_at_once_comes_in_order_and_once(api: Api, world: World) -> None:
    ada = api.person()
    code = ada.meter()
    with psycopg.connect(api.domain, autocommit=True) as asking:
        asking.execute("SELECT set_config('segs.user_id', %s, false)", [str(ada.user_id)])
        row = asking.execute("SELECT * FROM caller_alert_events(NULL, 2, now())").fetchone()
        made = []
        for _ in range(5):
            api.do("UPDATE alerts SET state = 'resolved', resolved_at = now() WHERE meter_id = %s", int(code[4:]))
            made.append(alert(world, code))
        found: list[int] = []
        for _ in range(4):
            assert row is not None
            row = asking.execute("SELECT * FROM caller_alert_events(%s, 2, now())", [row[0]]).fetchone()
            assert row is not None
            found += [one["alert_id"] for one in row[1]]

    assert found == made


def test_a_stream_goes_on_nowhere_but_where_it_was(api: Api) -> None:
    ada = api.person()
    with _watching(api, ada) as stream:
        pass
    assert stream.last_id is not None
    for given in ("%%%", "MTIz", stream.last_id[:-6]):
        answer = api.ask("GET", "/alerts/live", token=ada.token, headers={"last-event-id": given})
        assert (answer.status_code, json.loads(answer.text)["where"]) == (422, "header.Last-Event-ID"), given
