"""Several people at the same moment, and requests that make no sense: one wins, and nothing is a fault of ours."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.integration.api.conftest import Api, Person
from tests.integration.api.registry import Place


@pytest.fixture(scope="module")
def admin(api: Api) -> Person:
    return api.person("ADMIN")


@pytest.fixture(scope="module")
def ada(api: Api) -> Person:
    return api.person()


def together(*requests: Callable[[], httpx.Response]) -> list[int]:
    with ThreadPoolExecutor(len(requests)) as pool:
        return sorted(answer.status_code for answer in pool.map(lambda request: request(), requests))


def test_of_several_who_have_read_the_same_one_changes_it(api: Api, ada: Person, admin: Person) -> None:
    path = f"/meters/{Place(api, ada).code}"
    tag = {"if-match": api.get(path, token=admin.token).headers["etag"]}
    changes = [
        (lambda n=n: api.ask("PATCH", path, {"site": f"barn {n}"}, token=admin.token, headers=tag)) for n in range(4)
    ]
    assert together(*changes) == [200, 412, 412, 412]


def test_of_two_who_have_one_code_one_gets_the_meter(api: Api, ada: Person, admin: Person) -> None:
    """D12."""
    place, bob = Place(api, ada), api.person()
    api.post(f"/meters/{place.code}/owners/end", {}, token=admin.token)
    code = api.post(f"/meters/{place.code}/claims", {}, token=admin.token).json()["data"]["code"]
    claims = [
        (lambda who=who: api.post("/meters/claim", {"claim_code": code}, token=who.token))
        for who in (ada, bob, ada, bob)
    ]
    assert together(*claims) == [200, 403, 403, 403]
    owners = api.get(f"/meters/{place.code}/owners", token=admin.token).json()["data"]
    assert [owner["to"] is None for owner in owners] == [False, True]


def test_of_two_keys_that_are_revoked_together_one_stays(api: Api, ada: Person, admin: Person) -> None:
    place = Place(api, ada)
    revocations = [
        (lambda key=key: api.ask("DELETE", f"/gateways/{place.gateway}/keys/{key}", token=admin.token))
        for key in place.keys
    ]
    assert together(*revocations) == [200, 409]


def test_a_device_is_registered_once_however_many_do_it(api: Api, ada: Person, admin: Person) -> None:
    place = Place(api, ada)
    new = {"device": "new", "interval_ms": 1000, "region": "north", "model": "x"}
    path = f"/gateways/{place.gateway}/devices"
    assert together(*[lambda: api.post(path, new, token=admin.token)] * 4) == [201, 409, 409, 409]


NONSENSE: list[tuple[str, str, object, int]] = [
    ("PATCH", "/meters/{code}", {"latitude_deg": 5}, 422),
    ("PATCH", "/meters/{code}", {"serial": "x"}, 422),
    ("PATCH", "/meters/{code}", {"max_power_w": 1e13}, 422),
    ("PATCH", "/meters/{code}", {"site": "a\u0000b"}, 422),
    ("PATCH", "/meters/{code}", {}, 200),
    ("POST", "/meters/{code}/move", {"region": "north", "timezone": "Mars/Olympus"}, 422),
    ("POST", "/meters/{code}/move", {"region": "north", "from": "2026-01-01T00:00:00"}, 422),
    ("POST", "/meters/{code}/move", {"region": "north", "from": "0001-01-01T00:00:00+14:00"}, 422),
    ("POST", "/meters/{code}/move", {"region": "north", "from": 10**30}, 422),
    ("POST", "/meters/{code}/owners", {"user_id": 2**31}, 422),
    ("POST", "/meters/{code}/owners", {"user_id": 2**31 - 1}, 404),
    ("POST", "/meters/{code}/exchanges", {"serial": "x", "model": "y", "at": "2999-01-01T00:00:00Z"}, 422),
    ("POST", "/meters/{code}/exchanges", {"serial": "z", "model": "y", "at": "1970-01-01T00:00:00Z"}, 409),
    ("POST", "/meters/{code}/exchanges", {"serial": "z", "final_import_wh": -1}, 422),
    ("POST", "/meters/{code}/exchanges/revoke", {"at": "2026-01-02T00:00:00Z", "reason": " "}, 422),
    ("POST", "/meters/{code}/exchanges/revoke", {"at": "2026-01-02T00:00:00Z", "reason": "x"}, 404),
    ("PUT", "/meters/{code}/registers", {"rollover_wh": 0}, 422),
    ("PUT", "/meters/{code}/registers", {}, 200),
    ("POST", "/meters/{code}/claims", {"days": 91}, 422),
    ("GET", "/meters?search=%00", None, 422),
    ("GET", "/meters?owner=0", None, 422),
    ("GET", "/meters?owner=99999999999", None, 422),
    ("GET", "/gateways?search=%00", None, 422),
    ("GET", "/gateways/a%00b", None, 422),
    ("GET", "/regions/a%00b", None, 422),
    ("GET", "/regions/a'b", None, 404),
    ("DELETE", "/gateways/{name}/keys/0", None, 422),
    ("DELETE", "/gateways/{name}/keys/2147483647", None, 404),
    ("DELETE", "/gateways/{name}/devices/a%00b", None, 422),
    ("DELETE", "/gateways/{name}/devices/none", None, 404),
    ("POST", "/gateways/{name}/devices/m/move", {}, 422),
    ("POST", "/gateways/{name}/devices/m/move", {"to_gateway": "nobody"}, 404),
    ("POST", "/gateways/{name}/devices", {"device": "a b", "interval_ms": 1, "region": "north", "model": "x"}, 422),
    ("POST", "/gateways/{name}/devices", {"device": "a", "interval_ms": 1, "meter": "MTR-09999999"}, 404),
    ("POST", "/regions", {"region": "x y", "name": "x", "timezone": "UTC"}, 422),
    ("POST", "/regions", {"region": "xyz", "name": "x", "timezone": "XYZ5"}, 422),
    ("PATCH", "/regions/north", {"name": None}, 422),
    ("PUT", "/regions/north/capacity", {"capacity_w": 0}, 422),
    ("PUT", "/regions/north/capacity", {}, 422),
]


@pytest.mark.parametrize(("method", "path", "body", "status"), NONSENSE)
def test_what_makes_no_sense_is_told_and_no_fault_of_ours(
    api: Api, ada: Person, admin: Person, method: str, path: str, body: object, status: int
) -> None:
    place = Place(api, ada)
    there = path.format(code=place.code, name=place.gateway)
    answer = api.ask(method, there, body, token=admin.token, headers={"if-match": "*"} if method == "PATCH" else None)
    assert answer.status_code == status, answer.text
