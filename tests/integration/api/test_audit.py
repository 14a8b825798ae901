"""The audit log over HTTP: admins search it, and who looks at others is in it."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.integration.api.conftest import Api
from tests.integration.api.measured import register
from tests.integration.api.registry import Place
from tests.integration.api.test_telemetry import OF_METERS, OF_REGIONS

LOOKS = "SELECT actor, table_name, subjects, meters FROM audit_logs WHERE request_id = %s AND action = 'READ'"


def test_a_look_at_somebody_else_s_meter_is_logged_with_who_whose_and_request(api: Api) -> None:
    """D13."""
    owner, operator, admin = api.person(), api.person("OPERATOR", "north"), api.person("ADMIN")
    code = owner.meter()
    meter_id = int(code.removeprefix("MTR-"))
    requests = [
        api.get(path, token=operator.token).headers["x-request-id"]
        for path in (f"/meters/{code}", f"/telemetry/meters/{code}/latest")
    ]
    api.get(f"/meters/{code}", token=owner.token)

    found = api.get("/audit", token=admin.token, subject=owner.user_id).json()["data"]

    seen = [(entry["actor"], entry["table_name"], entry["row_key"], entry["request_id"]) for entry in found]
    actor = f"user:{operator.user_id}"
    assert seen == [(actor, "telemetry/latest", code, requests[1]), (actor, "meters", code, requests[0])]
    assert {(tuple(entry["subjects"]), tuple(entry["meters"])) for entry in found} == {((owner.user_id,), (meter_id,))}
    assert api.get("/audit", token=admin.token, meter=meter_id).json()["data"] == found


def test_a_list_is_logged_with_what_was_asked_and_what_was_found(api: Api) -> None:
    owner, admin = api.person(), api.person("ADMIN")
    meter_id = int(owner.meter("south").removeprefix("MTR-"))
    listed = api.get("/meters", token=admin.token, region="south", limit=200)
    request = listed.headers["x-request-id"]

    asked, found = api.do(
        "SELECT new, meters, subjects FROM audit_logs WHERE request_id = %s ORDER BY audit_id", request
    )

    assert asked == ({"after": 0, "limit": 200, "region": "south"}, None, None)
    assert meter_id in found[1]
    assert owner.user_id in found[2]


def test_the_log_is_for_admins_and_their_reading_is_in_it(api: Api) -> None:
    admin = api.person("ADMIN")
    for other in (api.person(), api.person("OPERATOR", "north")):
        assert api.get("/audit", token=other.token).status_code == 403

    first = api.get("/audit", token=admin.token, limit=3)
    again = api.get("/audit", token=admin.token, actor=f"user:{admin.user_id}", table="audit").json()["data"]

    assert again[-1]["request_id"] == first.headers["x-request-id"]


def test_pages_of_the_log_go_on_and_filters_narrow(api: Api) -> None:
    """D16."""
    admin, person = api.person("ADMIN"), api.person()
    for turn in range(5):
        api.patch("/users/me", {"name": f"Name {turn}"}, token=person.token)
    wanted = {"actor": f"user:{person.user_id}", "action": "UPDATE", "table": "users", "row": str(person.user_id)}
    seen, cursor = [], None
    for _ in range(3):
        at = {} if cursor is None else {"cursor": cursor}
        answer = api.get("/audit", token=admin.token, limit=2, **wanted, **at).json()
        seen.append([entry["new"]["name"] for entry in answer["data"]])
        cursor = answer["meta"]["next"]

    assert seen == [["Name 4", "Name 3"], ["Name 2", "Name 1"], ["Name 0"]]
    assert cursor is None
    for nothing in ({"to": "2026-01-01T00:00:00Z"}, {"from": "9000-01-01T00:00:00Z"}, {"request": "no-such-request"}):
        assert api.get("/audit", token=admin.token, **wanted, **nothing).json()["data"] == []
    for wrong in ({"from": "2026-01-01T00:00:00"}, {"actr": "x"}, {"action": "LOOK"}, {"subject": 0}):
        assert api.get("/audit", token=admin.token, **wrong).status_code == 422


@pytest.mark.parametrize("role", ["OPERATOR", "ADMIN"])
@pytest.mark.parametrize(("name", "query"), [*OF_METERS.items(), ("export", OF_METERS["history"] | {"format": "csv"})])
def test_what_a_meter_measured_is_read_by_staff_with_a_word_in_the_log(
    api: Api, name: str, query: dict[str, object], role: str
) -> None:
    """D13."""
    owner, who = api.person(), api.person(role, *(["north"] if role == "OPERATOR" else []))
    code = owner.meter()
    register(api, code)
    expected = (f"user:{who.user_id}", f"telemetry/{name}", [owner.user_id], [int(code.removeprefix("MTR-"))])

    read = api.get(f"/telemetry/meters/{code}/{name}", token=who.token, **query)
    own = api.get(f"/telemetry/meters/{code}/{name}", token=owner.token, **query)

    assert (read.status_code, own.status_code) == (200, 200)
    assert set(map(repr, api.do(LOOKS, read.headers["x-request-id"]))) == {repr(expected)}
    assert api.do(LOOKS, own.headers["x-request-id"]) == []


@pytest.mark.parametrize(("name", "query"), OF_REGIONS.items())
def test_what_a_region_took_is_read_with_a_word_in_the_log(api: Api, name: str, query: dict[str, object]) -> None:
    operator = api.person("OPERATOR", "north")
    read = api.get(f"/telemetry/regions/north/{name}", token=operator.token, **query)

    assert read.status_code == 200
    looked = api.do(LOOKS, read.headers["x-request-id"])
    assert looked[0][:2] == (f"user:{operator.user_id}", f"telemetry/regions/{name}")


def test_of_an_earlier_span_the_log_names_who_had_the_meter_then(api: Api) -> None:
    before, after, admin = api.person(), api.person(), api.person("ADMIN")
    code, now = before.meter(), datetime.now(UTC)
    api.do("SELECT meter_give(%s, %s, %s, now())", code, after.user_id, now - timedelta(days=10))

    def subjects(since: timedelta, until: timedelta) -> object:
        span = {"from": (now - since).isoformat(), "to": (now - until).isoformat()}
        read = api.get(f"/telemetry/meters/{code}/statistics", token=admin.token, **span)
        [(_, _, found, _)] = api.do(LOOKS, read.headers["x-request-id"])
        return found

    assert subjects(timedelta(days=30), timedelta(days=20)) == [before.user_id]
    assert subjects(timedelta(days=5), timedelta(days=4)) == [after.user_id]
    assert subjects(timedelta(days=30), timedelta(days=4)) == sorted([before.user_id, after.user_id])


def test_the_registry_is_read_and_changed_by_staff_with_a_word_in_the_log(api: Api) -> None:
    """D13."""
    operator = api.person("OPERATOR", "north")
    place = Place(api, api.person())
    paths = {
        f"/meters/{place.code}": "meters",
        f"/meters/{place.code}/locations": "meters",
        f"/meters/{place.code}/owners": "meters/owners",
        f"/meters/{place.code}/exchanges": "meters",
        f"/meters/{place.code}/claims": "meters",
        "/gateways": "gateways",
        f"/gateways/{place.gateway}": "gateways",
        f"/gateways/{place.gateway}/devices": "devices",
    }
    for path, what in paths.items():
        read = api.get(path, token=operator.token)
        assert read.status_code == 200, path
        assert what in {look[1] for look in api.do(LOOKS, read.headers["x-request-id"])}, path
    moved = api.post(f"/meters/{place.code}/move", {"region": "north", "timezone": "UTC"}, token=operator.token)
    looked = [(what, whose) for _, what, whose, _ in api.do(LOOKS, moved.headers["x-request-id"])]
    assert ("meters", [place.owner.user_id]) in looked
