"""What the registry makes, it makes once, however often and from however many sides the same request comes."""

import uuid
from concurrent.futures import ThreadPoolExecutor

import httpx
import psycopg
import pytest

from cloud.api.app import build
from cloud.api.http.openapi import operations
from tests.integration.api.bills import KEYED
from tests.integration.api.conftest import Api, Person
from tests.integration.api.registry import REGISTRY, Place, fresh, kind_of
from tests.integration.api.world import ALERTING

# Done again, these change nothing.
_SETTLED = {"/gateways/{name}/disable", "/gateways/{name}/enable"}
MAKING = sorted(path for method, path in REGISTRY if method == "POST" and path not in _SETTLED)


@pytest.fixture(scope="module")
def operator(api: Api) -> Person:
    return api.person("OPERATOR", "north")


@pytest.fixture(scope="module")
def admin(api: Api) -> Person:
    return api.person("ADMIN")


@pytest.fixture(scope="module")
def ada(api: Api) -> Person:
    return api.person()


@pytest.fixture(scope="module")
def bob(api: Api) -> Person:
    return api.person()


def changes(api: Api, request_id: str) -> int:
    """Rows that were written in its name, by the audit log."""
    [(count,)] = api.do("SELECT count(*) FROM audit_logs WHERE request_id = %s AND action <> 'READ'", request_id)
    return int(count)


def keyed(api: Api, path: str, body: object, who: Person, key: str, request_id: str | None = None) -> httpx.Response:
    name = {} if request_id is None else {"x-request-id": request_id}
    return api.ask("POST", path, body, token=who.token, headers=kind_of(path) | name | {"idempotency-key": key})


def test_all_that_make_something_take_a_key() -> None:
    taking = {
        path.removeprefix("/api/v1")
        for method, path, operation in operations(build(None).openapi())
        if method == "POST"
        and any(parameter["name"].lower() == "idempotency-key" for parameter in operation.get("parameters", []))
    }
    # Each of these is sent twice: of bills by test_billing.py, of alerts by test_alerts.py, and what is set in place of
    # a price by test_region_prices.py.
    bills = {f"/billing/invoices/{{invoice_id}}/{of}" for of in KEYED}
    assert taking == {"/auth/register", *MAKING, *bills, *ALERTING, "/regions/{region}/overrides"}


@pytest.mark.parametrize("path", MAKING)
def test_the_same_request_with_the_same_key_is_done_once_and_answered_alike(
    api: Api, ada: Person, bob: Person, admin: Person, path: str
) -> None:
    place, key, names = Place(api, ada), str(uuid.uuid4()), [f"once-{fresh()}" for _ in range(6)]
    there, body = place.request("POST", path, another=bob)
    who = admin
    if path == "/meters/claim":
        who = bob
        api.do("SELECT meter_give(%s, NULL, now(), now())", place.code)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda name: keyed(api, there, body, who, key, name), names[:4]))
    again = keyed(api, there, body, who, key, names[4])
    other = keyed(api, there, (body or b"") + b" ", who, key, names[5])

    expected = 201 if 201 in REGISTRY["POST", path][1] else 200
    assert again.status_code == expected, again.text
    assert {(answer.status_code, answer.text) for answer in together if answer.status_code != 409} == {
        (expected, again.text)
    }
    under_way = [answer for answer in together if answer.status_code == 409]
    assert {answer.json()["type"] for answer in under_way} <= {"urn:segs:problem:under-way"}
    assert [changes(api, name) > 0 for name in names[:4]].count(True) == 1
    assert (changes(api, names[4]), changes(api, names[5])) == (0, 0)
    assert (other.status_code, other.json()["type"]) == (422, "urn:segs:problem:idempotency-key-used")


def test_a_request_that_is_under_way_is_not_begun_again(api: Api, operator: Person) -> None:
    key, serial = str(uuid.uuid4()), fresh()
    new = {"region": "north", "model": "x", "serial": serial}
    with psycopg.connect(api.domain) as slow, ThreadPoolExecutor(1) as pool:
        slow.execute("LOCK TABLE meters IN SHARE MODE")
        first = pool.submit(api.ask, "POST", "/meters", new, token=operator.token, headers={"idempotency-key": key})
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'meters'::regclass"
        while api.do(waiting) != [(1,)]:
            pass
        second = api.ask("POST", "/meters", new, token=operator.token, headers={"idempotency-key": key})
        slow.rollback()
        made = first.result()
    assert (second.status_code, second.json()["type"]) == (409, "urn:segs:problem:under-way")
    assert made.status_code == 201
    assert api.do("SELECT count(*) FROM meters WHERE serial = %s", serial) == [(1,)]
    third = api.ask("POST", "/meters", new, token=operator.token, headers={"idempotency-key": key})
    assert third.text == made.text


def test_a_key_is_its_caller_s_own(api: Api, operator: Person, admin: Person) -> None:
    """D11: nobody gets somebody else's answer by guessing a key."""
    key = str(uuid.uuid4())
    codes = {
        api.ask("POST", "/meters", {"region": "north"}, token=who.token, headers={"idempotency-key": key}).json()[
            "data"
        ]["code"]
        for who in (operator, admin)
    }
    assert len(codes) == 2


def test_what_was_refused_may_be_tried_again_with_its_key(api: Api, admin: Person) -> None:
    key, region = str(uuid.uuid4()), fresh()
    headers = {"idempotency-key": key}
    assert api.ask("POST", "/meters", {"region": region}, token=admin.token, headers=headers).status_code == 404
    api.do("INSERT INTO regions (region, name, timezone) VALUES (%s, 'New', 'UTC')", region)
    assert api.ask("POST", "/meters", {"region": region}, token=admin.token, headers=headers).status_code == 201


def test_a_table_that_was_only_looked_at_is_another_request_than_one_that_is_recorded(
    api: Api, operator: Person
) -> None:
    key, serial = str(uuid.uuid4()), fresh()
    table = f"model,serial,region\nx,{serial},north\n".encode()
    looked, recorded = (keyed(api, f"/meters/import{query}", table, operator, key) for query in ("?dry_run=true", ""))
    assert (looked.status_code, looked.json()["data"]["recorded"]) == (200, 0)
    assert (recorded.status_code, recorded.json()["type"]) == (422, "urn:segs:problem:idempotency-key-used")
    assert api.do("SELECT FROM meters WHERE serial = %s", serial) == []


def test_wrong_codes_count_whatever_key_they_come_with(api: Api) -> None:
    """D10: a key is no way around the limit of attempts."""
    eve, key = api.person(), str(uuid.uuid4())
    answers = [keyed(api, "/meters/claim", {"claim_code": "A" * 16}, eve, key).status_code for _ in range(6)]
    assert answers == [403] * 5 + [429]


def test_the_key_of_a_gateway_is_kept_for_the_answer_and_readable_to_nobody(api: Api, operator: Person) -> None:
    """D10."""
    made = keyed(api, "/gateways", {"name": fresh(), "region": "north"}, operator, str(uuid.uuid4()))
    secret = made.json()["data"]["key"]
    kept = str(api.do("SELECT k::text FROM idempotency_keys k"))
    assert made.headers["cache-control"] == "no-store"
    for plain in (secret, secret.encode().hex()):
        assert plain not in kept
