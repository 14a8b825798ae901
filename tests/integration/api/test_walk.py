"""Every endpoint, asked by people of every role for what is theirs, their neighbour's, or in another region.

What is right is declared beside each route (cloud/api/access.py). A new endpoint is walked as it stands; it needs an
entry below only where its documented examples do not lead to success.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from cloud.api.access import KEY
from cloud.api.app import build
from cloud.api.http.openapi import operations
from tests.described import example
from tests.integration.api.conftest import PASSWORD, Api
from tests.integration.api.world import CALLERS, KINDS, WHOSE, Caller, Whose, World


def _named(operation: Mapping[str, Any], kind: str | None) -> bool:
    """Whether the question names one of them: in its path, or in a parameter that it must have."""
    return kind is not None and any(
        parameter["in"] == "path" or (parameter["required"] and parameter["name"] in ("code", "meter", "region"))
        for parameter in operation.get("parameters", [])
    )


pytestmark = pytest.mark.xdist_group("walk")
DOCUMENT = build(None).openapi()
OPERATIONS = {f"{method} {path}": operation for method, path, operation in operations(DOCUMENT)}
OF_KIND = {name: operation[KEY]["of"] for name, operation in OPERATIONS.items() if operation.get(KEY, {}).get("of")}
BY_NAME = [
    name
    for name, kind in OF_KIND.items()
    if _named(OPERATIONS[name], kind) and OPERATIONS[name][KEY]["roles"]["USER"] not in ("none", "all")
]
LISTS = [name for name, kind in OF_KIND.items() if name.startswith("GET") and not _named(OPERATIONS[name], kind)]
_NUMBERS = iter(range(1, 10**6))


@dataclass
class Asked:
    """What goes with the question instead of the documented examples, and which status then says that it was let in;
    `own` where what is asked for is the caller's own."""

    body: dict[str, Any] = field(default_factory=dict)
    query: dict[str, Any] = field(default_factory=dict)
    status: int | None = None
    own: int | None = None
    table: str | None = None


def _quarter() -> dict[str, str]:
    """One far ahead that nobody else has."""
    begin = datetime(2040, 1, 1, tzinfo=UTC) + next(_NUMBERS) * timedelta(minutes=15)
    return {"from": begin.isoformat(), "until": (begin + timedelta(minutes=15)).isoformat()}


def asked(name: str, caller: Caller) -> Asked:
    """By operationId. Nobody has the codes and tokens of the examples."""
    fresh = f"walk-{next(_NUMBERS)}"
    if name == "auth_login":
        return Asked(
            body={"email": caller.email, "password": PASSWORD}, status=401 if caller.kind == "suspended" else 200
        )
    return {
        "preferences_change": Asked(body={"notify_webhook": False}),
        "auth_register": Asked(body={"email": f"{fresh}@example.com"}),
        "auth_verify_email": Asked(status=403),
        "auth_set_password": Asked(status=403),
        "auth_refresh_token": Asked(status=401),
        "auth_reset_password": Asked(status=403),
        "auth_confirm": Asked(status=409),
        "auth_renew_recovery_codes": Asked(status=409),
        "auth_disable": Asked(status=409),
        "auth_revoke": Asked(status=404),
        # Nobody does to themselves what takes an admin, and a customer looks after no regions.
        "users_delete": Asked(own=403),
        "users_set_role": Asked(own=409),
        "users_set_regions": Asked(status=409),
        "users_suspend": Asked(own=409),
        "users_resume": Asked(own=409),
        "meters_make": Asked(body={"serial": fresh, "gateway": None, "device": None, "interval_ms": None}),
        "meters_change": Asked(body={"serial": fresh}),
        "meters_give": Asked(body={"user_id": 1}),
        "meters_exchange": Asked(body={"serial": fresh}),
        "meters_revoke": Asked(status=404),
        "meters_claim": Asked(status=403),
        "gateways_make": Asked(body={"name": fresh}),
        "gateways_register": Asked(body={"device": fresh, "meter": None, "serial": fresh}),
        "gateways_import_": Asked(table=f"device,interval_ms,region,model\n{fresh},1000,north,sdm630\n"),
        "gateways_move": Asked(body={"to_gateway": None, "to_device": fresh}),
        "maintenance_add": Asked(body={"meter": None, "gateway": None, "site": None}),
        "billing_finalise": Asked(status=409, own=403),
        "billing_record": Asked(body={"reference": fresh}, own=403),
        "billing_reverse": Asked(status=404, own=403),
        "billing_refund": Asked(status=422, own=403),
        "billing_resolve": Asked(status=409, own=403),
        "billing_credit": Asked(own=403),
        "billing_what_if": Asked(status=404),
        "billing_webhook": Asked(status=403),
        "regions_make": Asked(body={"region": fresh}),
        "regions_override": Asked(body={"price_per_kwh": None, **_quarter()}),
        "telemetry_compare": Asked(
            query={
                "before_from": "2026-03-01T00:00:00Z",
                "before_to": "2026-03-02T00:00:00Z",
                "after_from": "2026-03-02T00:00:00Z",
                "after_to": "2026-03-03T00:00:00Z",
            }
        ),
    }.get(name, Asked())


@pytest.fixture(scope="module")
def world(api: Api) -> Iterator[World]:
    made = World(api)
    with made.domain:
        yield made


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_role_reaches_as_far_as_the_route_declares(world: World, name: str) -> None:
    """D11, D13, D16: who asks is what the database says, and what they may not see is absent."""
    operation = OPERATIONS[name]
    assert KEY in operation, f"{name} declares no access; see cloud/api/access.py"
    kind = operation[KEY].get("of")
    assert kind is None or kind in KINDS, f"the walk makes no {kind}; see tests/integration/api/world.py"
    world.forget_limits()
    wrong = []
    for caller_kind in CALLERS:
        for whose in WHOSE if _named(operation, kind) else WHOSE[:1]:
            caller = world.caller(caller_kind)
            thing = world.thing(kind, whose, caller) if kind else {}
            answer = _ask(world.api, name, caller, thing)
            expected = _expected(operation, caller, whose if _named(operation, kind) else None)
            if answer.status_code not in expected:
                told = answer.text[:200] if answer.is_stream_consumed else ""
                wrong.append(f"{caller_kind} asked for {whose}: {answer.status_code}, expected {expected}: {told}")
            elif answer.status_code >= 400:
                assert answer.headers["content-type"] == "application/problem+json"
    assert wrong == []


@pytest.mark.parametrize("name", BY_NAME)
def test_what_is_beyond_reach_is_as_absent_as_what_there_is_not(world: World, name: str) -> None:
    """D11: no message tells what exists."""
    kind = OF_KIND[name]
    caller = world.caller("USER")
    hidden = dict(world.thing(kind, "neighbour", caller))
    nothing = {key: _another(value) for key, value in hidden.items()}
    answers = []
    for thing in (hidden, nothing):
        text = _ask(world.api, name, caller, thing).text
        for value in thing.values():
            text = text.replace(str(value), "…")
        answers.append(text)
    assert answers[0] == answers[1]


@pytest.mark.parametrize("name", LISTS)
def test_a_list_has_all_that_is_within_reach_and_nothing_else(world: World, name: str) -> None:
    kind = OF_KIND[name]
    for role, reach in OPERATIONS[name][KEY]["roles"].items():
        caller = world.caller(role)
        things = {whose: world.thing(kind, whose, caller) for whose in WHOSE}
        if reach == "none":
            continue
        within = {"own": {"own"}, "region": {"own", "neighbour"}, "all": set(WHOSE)}[reach]
        items = list(_items(world.api, name, caller))
        key = next(key for key in things["own"] if items and key in items[0])
        listed = {item[key] for item in items}
        assert {whose for whose, thing in things.items() if thing[key] in listed} == within, role


def _another(value: object) -> object:
    """A name of the same form, of nothing."""
    return 2_000_000_000 if isinstance(value, int) else re.sub(r"\d", "9", str(value)) + "9"


def _expected(operation: Mapping[str, Any], caller: Caller, whose: Whose | None) -> set[int]:
    """The statuses that are right. `whose` is None where the question names nothing."""
    access = operation[KEY]
    wanted = asked(operation["operationId"], caller)
    special = wanted.own if whose == "own" and wanted.own else wanted.status
    let_in = {special} if special else {int(status) for status in operation["responses"] if status.startswith("2")}
    if access["who"] in ("everybody", "probe"):
        return let_in
    if caller.role is None:
        return {401}
    if access["who"] == "self":
        return let_in
    reach = access["roles"][caller.role]
    if reach == "none":
        return {access["refusal"]}
    within = {"own": {"own"}, "region": {"own", "neighbour"}, "all": {"own", "neighbour", "far"}}[reach]
    return let_in if whose is None or whose in within else {404}


def _ask(api: Api, name: str, caller: Caller, thing: Mapping[str, object], **more: object) -> httpx.Response:
    """By the documented examples; `thing` is what it is about. Of an endless answer only the beginning is read."""
    method, path = name.split()
    operation = OPERATIONS[name]
    instead = asked(operation["operationId"], caller)
    query: dict[str, Any] = {**instead.query, **more}
    headers = dict(caller.headers)
    for parameter in operation.get("parameters", []):
        key, known = parameter["name"], thing.get(parameter["name"])
        if parameter["in"] == "path":
            value = example(DOCUMENT, parameter["schema"]) if known is None else known
            path = path.replace(f"{{{key}}}", str(value))
        elif parameter["in"] == "header" and key.lower() == "if-match":
            headers[key] = "*"
        elif parameter["required"] and parameter["in"] == "header":
            headers[key] = str(example(DOCUMENT, parameter["schema"]))
        elif parameter["required"]:
            query.setdefault(key, example(DOCUMENT, parameter["schema"]) if known is None else known)
    content: dict[str, Any] = {}
    for media_type, body in operation.get("requestBody", {}).get("content", {}).items():
        given = body.get("example") or example(DOCUMENT, body["schema"])
        if media_type == "application/json":
            content = {"json": {**given, **instead.body} if isinstance(given, dict) else given}
        else:
            content, headers["content-type"] = {"content": instead.table or str(given)}, media_type
        break
    with api.client.stream(method, path, params=query, headers=headers, **content) as answer:
        if not answer.headers.get("content-type", "").startswith("text/event-stream"):
            answer.read()
    return answer


def _items(api: Api, name: str, caller: Caller) -> Iterator[dict[str, Any]]:
    """All pages."""
    known = {parameter["name"] for parameter in OPERATIONS[name].get("parameters", [])}
    more: dict[str, object] = {"limit": 200} if "limit" in known else {}
    while True:
        answer = _ask(api, name, caller, {}, **more).json()
        yield from answer["data"]
        following = (answer.get("meta") or {}).get("next")
        if following is None:
            return
        more["cursor"] = following


def test_no_endpoint_is_open_but_those_that_must_be() -> None:
    """What needs no token is few, and named here again: a line that is forgotten beside a route opens nothing."""
    opened = {name for name, operation in OPERATIONS.items() if not operation["security"]}
    assert opened == {"GET /livez", "GET /readyz", "GET /metrics"} | {
        f"POST /api/v1/auth/{name}"
        for name in (
            *("register", "resend-otp", "verify-email", "set-password", "login", "refresh-token"),
            *("forgot-password", "reset-password"),
        )
    } | {"POST /api/v1/billing/webhooks/{provider}"}
