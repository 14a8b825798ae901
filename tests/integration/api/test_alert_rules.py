"""Rules of alerts and maintenance windows over HTTP: who may set them, and what is said of what cannot be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from tests.integration.api.conftest import Api, Person

_NUMBERS = count(1)
_NEW = {
    "metric": "power_w",
    "above": True,
    "raise_at": 5000,
    "clear_at": 4500,
    "severity": "high",
    "category": "load",
    "window_min": 5,
}


@pytest.fixture(autouse=True)
def _unlimited(api: Api) -> None:
    api.do("DELETE FROM rate_buckets")


@pytest.fixture(scope="module")
def operator(api: Api) -> Person:
    return api.person("OPERATOR", "north")


@pytest.fixture(scope="module")
def admin(api: Api) -> Person:
    return api.person("ADMIN")


def _rules(api: Api, who: Person, **query: object) -> list[dict[str, Any]]:
    answer = api.get("/alert-rules", token=who.token, limit=200, **query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


def test_a_rule_is_made_changed_for_a_region_and_a_meter_and_ended(api: Api, admin: Person, operator: Person) -> None:
    name, ada = f"feast_{next(_NUMBERS)}", api.person()
    code = ada.meter()

    made = api.put(f"/alert-rules/{name}", _NEW, token=admin.token)
    assert made.status_code == 200, made.text
    assert (made.json()["data"]["unit"], made.json()["data"]["tells_operators"]) == ("W", True)
    region = api.put(f"/alert-rules/{name}/regions/north", {"raise_at": 6000}, token=operator.token)
    meter = api.put(f"/alert-rules/{name}/meters/{code}", {"raise_at": 7000}, token=operator.token)
    assert (region.status_code, meter.status_code) == (200, 200), meter.text

    told = [(one["region"], one["meter"], one["raise_at"], one["clear_at"]) for one in _rules(api, operator, rule=name)]
    assert told == [(None, None, 5000, 4500), ("north", None, 6000, 4500), (None, code, 7000, 4500)]
    assert _rules(api, ada, rule=name, meter=code) == [meter.json()["data"]]
    assert _rules(api, api.person(), rule=name, meter=code) == []
    ended = api.delete(f"/alert-rules/{name}/meters/{code}", token=operator.token)
    assert (ended.status_code, ended.json()["data"]) == (200, {"resolved": 0})
    assert _rules(api, operator, meter=code, rule=name) == []
    assert len(_rules(api, operator, meter=code, rule=name, history="true")) == 1
    assert api.delete(f"/alert-rules/{name}/meters/{code}", token=operator.token).status_code == 404
    [(actors,)] = api.do(
        "SELECT array_agg(DISTINCT actor) FROM audit_logs WHERE table_name = 'alert_rules' AND new ->> 'rule' = %s",
        name,
    )
    assert set(actors) == {f"user:{admin.user_id}", f"user:{operator.user_id}"}


def test_a_rule_that_cannot_be_is_refused_in_words(api: Api, admin: Person, operator: Person) -> None:
    for body, words in (
        ({"raise_at": 95}, "between"),
        ({"worse_severity": None}, "worse_severity goes with worse_at or worse_after_s"),
        ({"window_min": 7}, "window_min is a part of a day"),
    ):
        answer = api.put("/alert-rules/under_voltage/regions/north", body, token=operator.token)
        assert answer.status_code == 422, answer.text
        assert words in answer.json()["detail"], answer.text
    for body in ({"raise_at": "high"}, {"colour": "red"}, {"severity": "awful"}, {"severity": None}):
        answer = api.put("/alert-rules/under_voltage", body, token=admin.token)
        assert answer.status_code == 422, (body, answer.text)


def test_a_list_of_a_rule_that_there_never_was_names_those_that_there_are(api: Api, admin: Person) -> None:
    """A typo that finds nothing looks as if the rule were switched off."""
    for who in (admin, api.person()):
        refused = api.get("/alert-rules", token=who.token, rule="under_volts")
        assert (refused.status_code, refused.json()["type"]) == (422, "urn:segs:problem:invalid"), refused.text
        assert refused.json()["where"] == "query.rule"
        assert refused.json()["detail"].startswith("there is no rule under_volts; there are consumption_drop, ")
        assert "under_voltage" in refused.json()["detail"]
    name = f"over_{next(_NUMBERS)}"
    assert api.put(f"/alert-rules/{name}", _NEW, token=admin.token).status_code == 200
    assert api.delete(f"/alert-rules/{name}", token=admin.token).status_code == 200
    assert _rules(api, admin, rule=name) == []


def test_maintenance_is_for_who_looks_after_it(api: Api, operator: Person) -> None:
    ada = api.person()
    near, far = ada.meter(), ada.meter("south")
    api.do("UPDATE meters SET site = 'works' WHERE meter_code = %s", near)
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()

    def add(**on: str) -> Any:
        return api.post("/maintenance-windows", {"until": until, "reason": "Work"} | on, token=operator.token)

    made = [add(meter=near), add(site="works"), add(region="north")]
    assert [answer.status_code for answer in made] == [201, 201, 201], made[0].text
    for on in ({"meter": far}, {"meter": "MTR-99999999"}, {"site": "elsewhere"}, {"region": "south"}, {"gateway": "x"}):
        assert add(**on).status_code == 404, on
    assert add(meter=near, region="north").status_code == 422
    assert add().status_code == 422

    number = made[0].json()["data"]["window_id"]
    listed = api.get("/maintenance-windows", token=operator.token, limit=200).json()["data"]
    assert [one["meter"] for one in listed if one["window_id"] == number] == [near]
    assert listed[0]["created_by"] == operator.user_id
    assert api.delete(f"/maintenance-windows/{number}", token=operator.token).status_code == 200
    assert api.delete(f"/maintenance-windows/{number}", token=operator.token).status_code == 409
    after = api.get("/maintenance-windows", token=operator.token, limit=200)
    assert number not in [one["window_id"] for one in after.json()["data"]]
    assert api.get("/maintenance-windows", token=ada.token).status_code == 403


@pytest.mark.parametrize("subject", ["meter", "site"])
def test_what_is_of_another_region_is_as_absent_as_what_is_not(api: Api, operator: Person, subject: str) -> None:
    """D11: no message tells what exists."""
    code, absent = api.person().meter("south"), "MTR-99999999"
    api.do("UPDATE meters SET site = 'far ' || meter_code WHERE meter_code = %s", code)
    hidden = code if subject == "meter" else f"far {code}"
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    answers = [
        api.post("/maintenance-windows", {"until": until, "reason": "Work", subject: name}, token=operator.token)
        for name in (hidden, absent)
    ]

    assert answers[0].text.replace(hidden, "…") == answers[1].text.replace(absent, "…")
    assert "far" not in answers[1].text
