"""Prices of regions over HTTP: what a kWh costs now and did before, and who may set it for a while."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.integration.api.bills import customer, tariff
from tests.integration.api.conftest import Api, Person

QUARTER = timedelta(minutes=15)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module", autouse=True)
def _priced(api: Api) -> None:
    """The north has had a price for two days; a load of 80 % made it 1.10 times as much a day ago."""
    begun = _quarter(-192)
    api.do("SELECT region_price_set('north', 'EUR', 0.40, NULL, NULL, NULL, NULL, %s)", begun)
    bucket = _quarter(-96)
    api.do("UPDATE region_price_state SET seen_until = %s", bucket)
    told = json.dumps(
        [{"region": "north", "bucket": bucket.isoformat(), "load_percent": 80, "coverage": 100}],
    )
    at = bucket + timedelta(minutes=17)
    api.do("SELECT region_prices_decide('{north}', %s, %s, %s)", told, at, at)


@pytest.fixture(autouse=True)
def _unlimited(api: Api) -> None:
    api.do("DELETE FROM rate_buckets")


@pytest.fixture(scope="module")
def operator(api: Api) -> Person:
    return api.person("OPERATOR", "north")


def _quarter(number: int) -> datetime:
    """The start of a quarter-hour, counted from the one that is running."""
    return _EPOCH + ((datetime.now(UTC) - _EPOCH) // QUARTER + number) * QUARTER


def _price(api: Api, who: Person, **query: Any) -> dict[str, Any]:
    answer = api.get("/regions/north/price", token=who.token, **query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def _override(api: Api, who: Person, first: int, end: int, **said: Any) -> Any:
    """From one quarter-hour to another."""
    body = {"from": _quarter(first).isoformat(), "until": _quarter(end).isoformat(), "reason": "Storm"} | said
    return api.post("/regions/north/overrides", body, token=who.token)


def _end(api: Api, who: Person, made: Any) -> Any:
    path = f"/regions/north/overrides/{made.json()['data']['override_id']}?reason=It+is+over"
    return api.delete(path, token=who.token)


def test_who_is_logged_in_sees_what_a_kwh_costs_and_cost(api: Api, operator: Person) -> None:
    """D9: the price is a number here and a string there."""
    found = _price(api, api.person())["data"]

    assert found["now"] == found["history"][0]
    assert (found["now"]["price_per_kwh"], found["now"]["currency"], found["now"]["tier"]) == ("0.44", "EUR", 3)
    assert (found["now"]["base_price_per_kwh"], found["now"]["factor"], found["now"]["reason"]) == (
        "0.4",
        "1.1",
        "load",
    )
    assert [one["price_per_kwh"] for one in found["history"]] == ["0.44", "0.4"]
    assert found["history"][0]["from"] == found["history"][1]["to"]
    # What the supply carries is for who looks after it.
    assert found["now"]["load_percent"] is None
    assert _price(api, operator)["data"]["now"]["load_percent"] == 80


def test_a_region_without_a_price_has_none_now_and_no_history(api: Api) -> None:
    found = api.get("/regions/south/price", token=api.person().token).json()["data"]

    assert (found["now"], found["history"]) == (None, [])


def test_an_override_is_set_seen_and_ended_by_who_looks_after_the_region(api: Api, operator: Person) -> None:
    user = api.person()
    made = _override(api, operator, 8, 12, factor="2.5")
    assert made.status_code == 201, made.text
    assert (made.json()["data"]["factor"], made.json()["data"]["made_by"]) == ("2.5", f"user:{operator.user_id}")

    # It is known to come.
    coming = _price(api, user)["data"]["history"][:2]
    assert [(one["price_per_kwh"], one["reason"], one["said"]) for one in coming] == [
        ("0.44", "load", None),
        ("1", "override", "Storm"),
    ]
    assert _end(api, api.person("OPERATOR", "south"), made).status_code == 404
    assert _end(api, user, made).status_code == 403

    ended = _end(api, operator, made)
    assert (ended.status_code, ended.json()["data"]["end_reason"]) == (200, "It is over")
    assert _end(api, operator, made).status_code == 409
    listed = api.get("/regions/north/overrides", token=operator.token).json()["data"]
    assert [one["override_id"] for one in listed] == [made.json()["data"]["override_id"]]
    assert _price(api, user)["data"]["history"][0]["price_per_kwh"] == "0.44"


def test_the_same_request_sets_one_price(api: Api, operator: Person) -> None:
    """D3: who lost the answer sends it again."""
    body = {
        "until": _quarter(24).isoformat(),
        "from": _quarter(20).isoformat(),
        "price_per_kwh": "-0.05",
        "reason": "Sun",
    }
    key = {"idempotency-key": str(uuid4())}
    answers = [api.ask("POST", "/regions/north/overrides", body, token=operator.token, headers=key) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()

    again = api.ask("POST", "/regions/north/overrides", body, token=operator.token)
    assert (again.status_code, again.json()["type"]) == (409, "urn:segs:problem:conflict")
    _end(api, operator, answers[0])


@pytest.mark.parametrize(
    ("span", "said"),
    [
        ((-4, 4), {"factor": "2"}),
        ((8, 4), {"factor": "2"}),
        ((4, 8), {}),
        ((4, 8), {"factor": "2", "price_per_kwh": "1"}),
        ((4, 8), {"factor": "200"}),
        ((4, 8), {"factor": "-1"}),
        ((4, 8), {"factor": 2}),
        ((4, 8), {"factor": "2", "reason": ""}),
        ((4, 8), {"factor": "2", "from": "2040-01-01T00:07:00Z"}),
    ],
)
def test_a_price_that_cannot_be_is_refused(
    api: Api, operator: Person, span: tuple[int, int], said: dict[str, Any]
) -> None:
    assert _override(api, operator, *span, **said).status_code == 422


def test_a_region_that_has_no_price_gets_no_override(api: Api) -> None:
    body = {"factor": "2", "until": _quarter(4).isoformat(), "reason": "Storm"}

    assert api.post("/regions/south/overrides", body, token=api.person("ADMIN").token).status_code == 404


def test_history_comes_by_pages_and_has_all_of_it_once(api: Api, operator: Person) -> None:
    """D16."""
    made = [_override(api, operator, 40 + 8 * n, 44 + 8 * n, factor="3") for n in range(3)]
    whole = _price(api, operator)["data"]["history"]
    assert len(whole) == 8

    pages, cursor = [], None
    while cursor is not None or not pages:
        found = _price(api, operator, limit=3, **({} if cursor is None else {"cursor": cursor}))
        pages.append(found["data"]["history"])
        cursor = found["meta"]["next"]

    assert [len(one) for one in pages] == [3, 3, 2]
    assert [one for page in pages for one in page] == whole
    assert api.get("/regions/north/price", token=operator.token, cursor="x").status_code == 422
    for one in made:
        assert _end(api, operator, one).status_code == 200


def test_the_next_bill_of_who_is_priced_by_a_region_is_told_beforehand(api: Api) -> None:
    """D15: what is to come has the price that is known, and what has none yet the mean of what was."""
    for document in ({"regional_price": True}, {"price_series": True}):
        billed = customer(api)
        code = tariff(api, **document)
        first = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        [(region,)] = api.do(
            "INSERT INTO regions (region, name, timezone) VALUES (%s, 'R', 'UTC') RETURNING region", code
        )
        api.do("SELECT region_price_set(%s, 'EUR', 0.50, NULL, NULL, NULL, NULL, %s)", region, first)
        api.do("UPDATE meter_locations SET region = %s WHERE meter_id = %s", region, int(billed.meter[4:]))
        api.do("SELECT meter_assign(%s, %s, %s, now())", billed.meter, code, first)
        until = _quarter(0)
        told = [
            {"at": (first + n * QUARTER).isoformat(), "buy_per_kwh": "0.50"} for n in range((until - first) // QUARTER)
        ]
        if "price_series" in document:
            api.do("SELECT tariff_prices_add(%s, %s, now())", code, json.dumps(told))
        billed.use(first, until)

        found = api.get(f"/billing/meters/{billed.meter}/current", token=billed.owner.token).json()["data"]

        assert found["reason"] is None
        kwh = (until - first) // QUARTER * 0.25
        whole = ((first + timedelta(days=32)).replace(day=1) - first) // QUARTER * 0.25
        assert float(found["so_far"]["total_amount"]) == pytest.approx(kwh * 0.5, abs=0.01)
        assert float(found["projection"]["total_amount"]) == pytest.approx(whole * 0.5, abs=0.01)
