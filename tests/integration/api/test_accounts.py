"""Other people's accounts, preferences, leaving; requests that come again; headers that say how often one may ask."""

import re
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psycopg
import pytest

from tests.integration.api.conftest import PASSWORD, Api


def test_accounts_are_listed_with_filters_that_are_applied_page_by_page(api: Api) -> None:
    """D16."""
    admin = api.person("ADMIN")
    made = [api.person("OPERATOR", "north") for _ in range(4)] + [api.person()]
    for person in made[:3]:
        api.patch("/users/me", {"name": "Zoë Marker"}, token=person.token)
    api.post(f"/users/{made[0].user_id}/suspend", token=admin.token)
    seen: list[list[int]] = []
    cursor: dict[str, str] = {}
    while True:
        answer = api.get("/users", token=admin.token, search="zoë mark", limit=2, **cursor).json()
        seen.append([account["user_id"] for account in answer["data"]])
        if answer["meta"]["next"] is None:
            break
        cursor = {"cursor": answer["meta"]["next"]}
    assert seen == [[made[0].user_id, made[1].user_id], [made[2].user_id]]

    def ids(**query: object) -> list[int]:
        listed = api.get("/users", token=admin.token, limit=200, **query).json()["data"]
        return [account["user_id"] for account in listed if account["user_id"] in {p.user_id for p in made}]

    assert ids(role="OPERATOR") == [person.user_id for person in made[:4]]
    assert ids(suspended=True) == [made[0].user_id]
    assert ids(search=made[4].email.upper()) == [made[4].user_id]
    searched = (
        "SELECT DISTINCT new ->> 'search' FROM audit_logs WHERE action = 'READ' AND actor = %s AND new ? 'search'"
    )
    assert api.do(searched, f"user:{admin.user_id}") == [("[withheld]",)]
    assert ids(region="south") == []
    one = api.get(f"/users/{made[1].user_id}", token=admin.token).json()["data"]
    assert (one["regions"], one["role"]) == (["north"], "OPERATOR")
    assert api.get("/users", token=admin.token, roles="ADMIN").status_code == 422


def test_an_operator_sees_the_customers_of_the_regions_and_changes_none(api: Api) -> None:
    customer, elsewhere = api.person(), api.person()
    api.do("UPDATE users SET region = 'south' WHERE user_id = %s", elsewhere.user_id)
    operator = api.person("OPERATOR", "north")
    listed = {account["user_id"] for account in api.get("/users", token=operator.token, limit=200).json()["data"]}

    assert {customer.user_id, elsewhere.user_id} & listed == {customer.user_id}
    assert api.get(f"/users/{elsewhere.user_id}", token=operator.token).status_code == 404
    assert api.get("/users", token=customer.token).status_code == 403
    assert api.get(f"/users/{elsewhere.user_id}", token=customer.token).status_code == 404
    for who in (operator, customer):
        for call in (
            api.put(f"/users/{customer.user_id}/role", {"role": "ADMIN"}, token=who.token),
            api.put(f"/users/{operator.user_id}/regions", {"regions": ["south"]}, token=who.token),
            api.post(f"/users/{elsewhere.user_id}/suspend", token=who.token),
            api.delete(f"/users/{elsewhere.user_id}", token=who.token),
        ):
            assert (call.status_code, call.json()["type"]) == (403, "urn:segs:problem:forbidden")


def test_what_an_admin_changes_counts_with_the_next_request(api: Api) -> None:
    """D11."""
    admin, person, operator = api.person("ADMIN"), api.person(), api.person("OPERATOR", "north")
    code = api.person().meter("south")
    assert api.get(f"/meters/{code}", token=operator.token).status_code == 404
    given = api.put(f"/users/{operator.user_id}/regions", {"regions": ["south"]}, token=admin.token)
    assert given.json()["data"]["regions"] == ["south"]
    assert api.get(f"/meters/{code}", token=operator.token).status_code == 200

    assert api.post(f"/users/{person.user_id}/suspend", token=admin.token).json()["data"]["suspended_at"]
    assert api.get("/users/me", token=person.token).status_code == 401
    assert api.login(person.email).status_code == 401
    assert api.post(f"/users/{person.user_id}/resume", token=admin.token).json()["data"]["suspended_at"] is None
    assert api.get("/users/me", token=person.token).status_code == 401
    fresh = api.login(person.email).json()["data"]["access_token"]
    api.put(f"/users/{person.user_id}/role", {"role": "OPERATOR"}, token=admin.token)
    assert api.get("/users/me", token=fresh).status_code == 401
    assert api.login(person.email).json()["data"]["user"]["role"] == "OPERATOR"
    lower = api.put(f"/users/{person.user_id}/role", {"role": "admin"}, token=admin.token)
    own = api.put(f"/users/{admin.user_id}/role", {"role": "USER"}, token=admin.token)
    assert (lower.status_code, own.status_code) == (422, 409)
    actors = "SELECT DISTINCT actor FROM audit_logs WHERE table_name = 'users' AND row_key = %s"
    logged = api.do(actors, str(person.user_id))
    assert (f"user:{admin.user_id}",) in logged


@pytest.mark.parametrize("by", ["oneself", "an admin"])
def test_who_leaves_takes_what_is_personal_and_leaves_the_bills(api: Api, reading: Any, by: str) -> None:
    """D7."""
    person, admin = api.person(), api.person("ADMIN")
    code = person.meter()
    reading(code, 777.0)
    of_them = {"table": "users", "row": str(person.user_id), "limit": 50}
    told = api.get("/audit", token=admin.token, **of_them).json()["data"]
    assert {entry["new"]["email"] for entry in told} == {person.email}
    bill = (
        "INSERT INTO invoices (meter_id, user_id, period_start, period_end, timezone, span, currency, net_amount,"
        " tax_amount) VALUES (%s, %s, '2026-01-01', '2026-02-01', 'UTC', '[2026-01-01Z, 2026-02-01Z)', 'EUR', 0, 0)"
        " RETURNING invoice_id"
    )
    [(invoice_id,)] = api.do(bill, int(code.removeprefix("MTR-")), person.user_id)
    api.do("SELECT bill_finalise(%s, now())", invoice_id)
    before = api.do("SELECT i::text FROM invoices i WHERE invoice_id = %s", invoice_id)
    if by == "oneself":
        assert api.post("/users/me/delete", {"password": "wrong"}, token=person.token).status_code == 403
        left = api.post("/users/me/delete", {"password": PASSWORD}, token=person.token)
    else:
        left = api.delete(f"/users/{person.user_id}", token=admin.token)
    assert left.status_code == 200

    assert api.get("/users/me", token=person.token).status_code == 401
    assert api.login(person.email).status_code == 401
    assert api.get(f"/users/{person.user_id}", token=admin.token).status_code == 404
    assert api.do("SELECT i::text FROM invoices i WHERE invoice_id = %s", invoice_id) == before
    latest = api.get(f"/telemetry/meters/{code}/latest", token=admin.token).json()["data"]
    assert latest["reading"]["power_w"] == 777.0
    [entry] = api.get("/audit", token=admin.token, action="INSERT", **of_them).json()["data"]
    assert (entry["new"]["email"], entry["new"]["name"]) == ("[erased]", "[erased]")
    entry, *_ = api.get("/audit", token=admin.token, action="UPDATE", **of_them).json()["data"]
    assert (entry["old"]["email"], entry["old"]["name"], entry["new"]["email"]) == ("[erased]", "[erased]", None)
    assert api.do("SELECT count(*) FROM audit_logs a WHERE a::text LIKE %s", f"%{person.email}%") == [(0,)]
    whole = api.segs_cloud("audit", "verify")
    assert whole.returncode == 0, whole.stderr
    again = api.post("/auth/register", {"name": "Somebody else", "email": person.email}).json()["data"]["user"]
    assert again["user_id"] != person.user_id
    assert api.do("SELECT user_id FROM users WHERE email = %s", person.email) == [(again["user_id"],)]


def test_preferences_change_one_by_one_and_know_what_makes_sense(api: Api) -> None:
    """D16."""
    person, other = api.person(), api.person()
    before = api.get("/users/me/preferences", token=person.token).json()["data"]
    assert (before["timezone"], before["theme"], before["alert_rules_off"]) == ("UTC", "system", [])
    change = {
        "timezone": "Europe/Berlin",
        "theme": "dark",
        "chart_resolution": "15m",
        "language": "de-DE",
        "notify_sms": True,
        "alert_severity_min": "high",
        "alert_rules_off": ["under_voltage", "region_silent"],
        "consumption_threshold_wh": 12_000,
        "power_threshold_w": 4600.5,
        "quiet_from": "22:00",
        "quiet_until": "06:30",
    }
    changed = api.patch("/users/me/preferences", change, token=person.token).json()["data"]
    assert changed.items() >= change.items()
    assert changed["notify_email"] is True
    without = {"quiet_from": None, "quiet_until": None, "power_threshold_w": None}
    gone = api.patch("/users/me/preferences", without, token=person.token).json()["data"]
    assert (gone["quiet_from"], gone["power_threshold_w"], gone["consumption_threshold_wh"]) == (None, None, 12_000)
    untouched = api.get("/users/me/preferences", token=other.token).json()["data"]
    assert untouched["theme"] == "system"


@pytest.mark.parametrize(
    "change",
    [
        {"user_id": 1},
        {"notify_webhook": True},
        {"sms": True},
        {"timezone": "Mars/Olympus"},
        {"timezone": None},
        {"theme": "pink"},
        {"quiet_from": "22:00"},
        {"quiet_from": "24:00", "quiet_until": "06:00"},
        {"consumption_threshold_wh": 0},
        {"consumption_threshold_wh": 2**63},
        {"power_threshold_w": -1},
        {"alert_rules_off": ["No Rule"]},
        {"alert_rules_off": ["overload", "unbalence"]},
        {"alert_rules_off": ["a"] * 51},
        {"language": "deutsch"},
    ],
)
def test_a_preference_that_makes_no_sense_is_refused_and_not_ignored(api: Api, change: dict[str, Any]) -> None:
    """D16."""
    person = api.person()
    before = api.get("/users/me/preferences", token=person.token).json()["data"]
    answer = api.patch("/users/me/preferences", change, token=person.token)
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:segs:problem:invalid")
    assert api.get("/users/me/preferences", token=person.token).json()["data"] == before


def test_who_names_no_rule_is_told_where_the_names_are(api: Api) -> None:
    person = api.person()
    answer = api.patch("/users/me/preferences", {"alert_rules_off": ["unbalence"]}, token=person.token)
    told, _, path = answer.json()["detail"].partition("; GET ")
    assert (told, path) == ("there is no rule unbalence", "alert-rules has their names")
    assert api.get(f"/{path.split()[0]}", token=person.token).status_code == 200


def test_operators_choose_whether_the_webhook_has_their_alerts(api: Api) -> None:
    operator, user = api.person("OPERATOR"), api.person()
    chosen = api.patch("/users/me/preferences", {"notify_webhook": True}, token=operator.token).json()["data"]
    assert chosen["notify_webhook"] is True
    assert api.patch("/users/me/preferences", {"notify_webhook": False}, token=user.token).status_code == 200


def register(api: Api, key: str | None, **body: Any) -> httpx.Response:
    headers = {} if key is None else {"idempotency-key": key}
    return api.client.post("/api/v1/auth/register", json={"name": "Eve", **body}, headers=headers)


def test_a_registration_that_comes_again_is_answered_again_and_made_once(api: Api) -> None:
    key, email = str(uuid.uuid4()), "once@example.com"
    first = register(api, key, email=email)
    again = [register(api, key, email=email), register(api, f'"{key}"', email=email)]

    assert first.status_code == 201
    assert {(answer.status_code, answer.text) for answer in again} == {(201, first.text)}
    [(sent,)] = api.do("SELECT count(*) FROM outbox WHERE payload ->> 'email' = %s", email)
    assert sent == 1
    other = register(api, key, email="other@example.com")
    assert (other.status_code, other.json()["type"]) == (422, "urn:segs:problem:idempotency-key-used")
    assert api.do("SELECT FROM users WHERE email = 'other@example.com'") == []
    code = first.json()["data"]["otp"]
    kept = api.do("SELECT k::text FROM idempotency_keys k")
    for plain in (code, email, key):
        assert plain not in str(kept)
        assert plain.encode().hex() not in str(kept)


def test_a_registration_that_is_under_way_is_not_begun_again(api: Api) -> None:
    key = str(uuid.uuid4())
    with psycopg.connect(api.domain) as slow, ThreadPoolExecutor(4) as pool:
        # Whoever registers waits for the table.
        slow.execute("LOCK TABLE users IN SHARE MODE")
        first = pool.submit(register, api, key, email="slow@example.com")
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'users'::regclass"
        while api.do(waiting) != [(1,)]:
            pass
        others = list(pool.map(lambda _: register(api, key, email="slow@example.com"), range(3)))
        slow.rollback()
        assert first.result().status_code == 201
    assert {(answer.status_code, answer.json()["type"]) for answer in others} == {(409, "urn:segs:problem:under-way")}
    assert others[0].headers["retry-after"] == "1"
    assert register(api, key, email="slow@example.com").text == first.result().text


def test_a_registration_that_was_refused_left_nothing_behind(api: Api) -> None:
    key = str(uuid.uuid4())
    assert register(api, key, email="west@example.com", region="west").status_code == 404
    api.do("INSERT INTO regions (region, name, timezone) VALUES ('west', 'West', 'UTC')")
    assert register(api, key, email="west@example.com", region="west").status_code == 201


@pytest.mark.parametrize("key", ["", "short", '"', "x" * 256, "with space in it", 'in"side quote'])
def test_a_key_that_is_none_is_refused(api: Api, key: str) -> None:
    answer = register(api, key, email="key@example.com")
    assert (answer.status_code, answer.json()["where"]) == (422, "header.idempotency-key")


def test_every_answer_says_how_often_one_may_ask(api: Api) -> None:
    person = api.person()
    answers = {
        "account": api.get("/users/me", token=person.token),
        "address": api.get("/users/me"),
        "login": api.login(person.email),
        "code": api.post("/auth/forgot-password", {"email": "nobody@example.com"}),
        "register": register(api, None, email="limits@example.com"),
    }
    none = api.get("/nothing")
    for name, answer in [*answers.items(), ("address", none)]:
        policy, left = answer.headers["ratelimit-policy"], answer.headers["ratelimit"]
        assert re.search(rf'"{name}";q=\d+;w=\d+', policy), name
        assert re.search(rf'"{name}";r=\d+;t=\d+', left), name
    fewer = [
        int(re.search(r'"account";r=(\d+)', api.get("/users/me", token=person.token).headers["ratelimit"])[1])
        for _ in range(2)
    ]
    assert fewer[0] - fewer[1] in (0, 1)
