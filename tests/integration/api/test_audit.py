"""The audit log over HTTP: admins search it, and who looks at others is in it."""

from tests.integration.api.conftest import Api


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
