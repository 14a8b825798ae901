"""What meters measured, over HTTP: each their own, by local days, a page at a time, and nothing ignored."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.api.conftest import Api
from tests.integration.api.measured import (
    DAY,
    HOUR,
    QUARTER,
    SHOWN_S,
    arrive,
    pages,
    quarters,
    readings,
    register,
)

SUNDAY = datetime(2026, 3, 1, tzinfo=UTC)
SPAN = {"from": "2026-03-01T00:00:00Z", "to": "2026-03-02T00:00:00Z"}
COMPARED = {
    "before_from": "2026-03-01T00:00:00Z",
    "before_to": "2026-03-01T01:00:00Z",
    "after_from": "2026-03-01T01:00:00Z",
    "after_to": "2026-03-01T03:00:00Z",
}
DAYS = {"from": "2026-03-01", "to": "2026-03-02"}
OF_METERS = {
    "latest": {},
    "history": SPAN,
    "readings": SPAN,
    "channels": SPAN,
    "statistics": SPAN,
    "daily": DAYS,
    "monthly": DAYS,
    "compare": COMPARED,
    "completeness": SPAN,
}
OF_REGIONS = {"statistics": {}, "history": SPAN, "top-consumers": SPAN}


def _rounded(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


@pytest.mark.parametrize(("name", "query"), OF_METERS.items())
def test_each_question_about_a_meter_is_answered_to_its_owner_operator_and_admin_alone(
    api: Api, name: str, query: dict[str, object]
) -> None:
    """D12."""
    owner = api.person()
    code = owner.meter()
    register(api, code)
    found = {
        who: api.get(f"/telemetry/meters/{code}/{name}", token=person.token, **query)
        for who, person in {
            "owner": owner,
            "operator": api.person("OPERATOR", "north"),
            "admin": api.person("ADMIN"),
            "another": api.person(),
            "operator elsewhere": api.person("OPERATOR", "south"),
        }.items()
    }
    assert {who: answer.status_code for who, answer in found.items()} == {
        "owner": 200,
        "operator": 200,
        "admin": 200,
        "another": 404,
        "operator elsewhere": 404,
    }
    none = api.get(f"/telemetry/meters/MTR-09999999/{name}", token=owner.token, **query)
    assert found["another"].json()["detail"].replace(code, "X") == none.json()["detail"].replace("MTR-09999999", "X")


@pytest.mark.parametrize(("name", "query"), OF_REGIONS.items())
def test_a_region_is_told_to_its_operators_and_admins_and_is_not_there_for_others(
    api: Api, name: str, query: dict[str, object]
) -> None:
    people = [api.person("OPERATOR", "north"), api.person("ADMIN"), api.person("OPERATOR", "south"), api.person()]
    path = f"/telemetry/regions/north/{name}"
    assert [api.get(path, token=who.token, **query).status_code for who in people] == [200, 200, 404, 404]
    nowhere = api.get(path.replace("north", "nowhere"), token=people[1].token, **query)
    assert nowhere.status_code == 404


@pytest.mark.parametrize(("name", "query"), OF_METERS.items())
def test_a_parameter_that_is_not_known_is_named_and_refused(api: Api, name: str, query: dict[str, object]) -> None:
    """D16."""
    person = api.person()
    answer = api.get(f"/telemetry/meters/{person.meter()}/{name}", token=person.token, **query, form="short")
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:segs:problem:invalid")
    assert [fault["where"] for fault in answer.json()["errors"]] == ["query.form"]


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("history", SPAN | {"from": "2026-03-01T00:00:00"}),
        ("history", SPAN | {"from": "2026-03-02T00:00:00Z"}),
        ("history", SPAN | {"from": "yesterday"}),
        ("history", SPAN | {"to": "9999-12-31T23:59:59Z"}),
        ("history", SPAN | {"resolution": "5m"}),
        ("history", SPAN | {"resolution": "1h", "width_px": 500}),
        ("history", SPAN | {"width_px": 0}),
        ("history", SPAN | {"limit": 5001}),
        ("history", SPAN | {"cursor": "x"}),
        ("history", SPAN | {"cursor": "OTlAMQ"}),
        ("history", SPAN | {"resolution": "1h", "cursor": "MTVtQDE3NzIzMjMyMDAwMDAwMDA"}),
        ("history", {"from": SPAN["from"]}),
        ("daily", {"from": "2026-03-01", "to": "2026-03-01"}),
        ("daily", {"from": "2026-03-01T12:00:00Z", "to": "2026-03-02"}),
        ("daily", {"from": "2010-01-01", "to": "2020-01-01"}),
        ("compare", COMPARED | {"after_to": "2026-03-01T01:00:00Z"}),
        ("completeness", SPAN | {"stretches": 201}),
    ],
)
def test_a_question_that_makes_no_sense_is_the_asker_s_mistake(api: Api, name: str, query: dict[str, object]) -> None:
    """D16: 422, never 500, and never another question than the one that was asked."""
    person = api.person()
    answer = api.get(f"/telemetry/meters/{person.meter()}/{name}", token=person.token, **query)
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:segs:problem:invalid"), answer.text


def test_pages_of_a_history_have_each_interval_once(api: Api) -> None:
    """D16."""
    person = api.person()
    code = person.meter()
    register(api, code)
    quarters(api, code, SUNDAY, range(96))
    path = f"/telemetry/meters/{code}/history"

    found = pages(api, path, "intervals", token=person.token, **SPAN, resolution="15m", limit=40)
    assert [len(page) for page in found] == [40, 40, 16]
    assert [row["energy_import_wh"] for page in found for row in page] == list(range(96))
    hours = pages(api, path, "intervals", token=person.token, **SPAN, resolution="1h", limit=7)
    assert [row["energy_import_wh"] for page in hours for row in page] == [16 * n + 6 for n in range(24)]
    assert found[0][0]["start_time"] == "2026-03-01T00:00:00Z"


def test_pages_of_readings_have_each_reading_once_with_all_that_it_told(api: Api) -> None:
    person = api.person()
    code = person.meter()
    first = datetime.now(UTC).replace(microsecond=0) - HOUR
    readings(api, code, first, 50)
    span = {"from": first.isoformat(), "to": (first + HOUR).isoformat()}

    found = pages(api, f"/telemetry/meters/{code}/readings", "readings", token=person.token, **span, limit=20)
    assert [row["power_w"] for page in found for row in page] == list(range(1, 51))
    assert (found[0][0]["voltage_l1_v"], found[0][0]["voltage_l2_v"]) == (230.12, None)
    assert "meter_id" not in found[0][0]
    raw = pages(
        api,
        f"/telemetry/meters/{code}/history",
        "intervals",
        token=person.token,
        **span,
        resolution="raw",
        limit=25,
    )
    assert [row["power_w_mean"] for page in raw for row in page] == list(range(1, 51))


def test_the_resolution_fits_the_width_of_the_chart(api: Api) -> None:
    person = api.person()
    path, now = f"/telemetry/meters/{person.meter()}/history", _rounded(datetime.now(UTC))

    def chosen(days: float, width_px: int | None = None) -> str:
        query = {"from": (now - timedelta(days=days)).isoformat(), "to": now.isoformat()}
        answer = api.get(path, token=person.token, **query, **({} if width_px is None else {"width_px": width_px}))
        return str(answer.json()["data"]["resolution"])

    assert [chosen(0.02, 1000), chosen(1, 1000), chosen(1, 100), chosen(40, 1000), chosen(400, 300)] == [
        "raw",
        "1m",
        "15m",
        "1h",
        "1d",
    ]
    assert chosen(1) == chosen(1, 1000)


@pytest.mark.parametrize(
    ("day", "count", "begins", "ends"),
    [
        ("2026-03-29", 92, "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
        ("2026-10-25", 100, "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
    ],
)
def test_a_day_is_the_meter_s_own_also_when_clocks_change(
    api: Api, day: str, count: int, begins: str, ends: str
) -> None:
    """D16: the day is not another one for who asks from elsewhere."""
    person = api.person()
    code = person.meter(zone="Europe/Berlin")
    register(api, code, zone="Europe/Berlin")
    first = datetime.fromisoformat(begins)
    quarters(api, code, first - QUARTER, [1000, *[10] * count, 1000])
    following = (datetime.fromisoformat(day) + DAY).date().isoformat()

    answer = api.get(f"/telemetry/meters/{code}/daily", token=person.token, **{"from": day, "to": following})
    [period] = answer.json()["data"]["periods"]
    assert (period["day"], period["start_time"], period["end_time"]) == (day, begins, ends)
    assert (period["energy_import_wh"], period["quarters"], period["missing"]) == (10 * count, count, 0)
    assert answer.json()["data"]["timezone"] == "Europe/Berlin"
    # The same by instants, in whatever offset they are told.
    span = {"from": first.astimezone(UTC).isoformat(), "to": datetime.fromisoformat(ends).isoformat()}
    [interval] = api.get(f"/telemetry/meters/{code}/history", token=person.token, **span, resolution="1d").json()[
        "data"
    ]["intervals"]
    assert interval["energy_import_wh"] == period["energy_import_wh"]


def test_a_month_is_the_sum_of_its_days_and_the_statistics_of_its_span(api: Api) -> None:
    person = api.person()
    code = person.meter(zone="Europe/Berlin")
    register(api, code, zone="Europe/Berlin")
    begins = datetime(2026, 2, 28, 23, tzinfo=UTC)
    quarters(api, code, begins, [n % 50 for n in range(31 * 96 - 4)])
    march = {"from": "2026-03-01", "to": "2026-04-01"}

    [month] = api.get(f"/telemetry/meters/{code}/monthly", token=person.token, **march).json()["data"]["periods"]
    days = api.get(f"/telemetry/meters/{code}/daily", token=person.token, **march).json()["data"]["periods"]
    span = {"from": month["start_time"], "to": month["end_time"]}
    [whole] = api.get(f"/telemetry/meters/{code}/statistics", token=person.token, **span).json()["data"]["parts"]

    assert (month["day"], month["quarters"], len(days)) == ("2026-03-01", 31 * 96 - 4, 31)
    assert month["energy_import_wh"] == sum(day["energy_import_wh"] for day in days) == whole["energy_import_wh"]
    assert (whole["peak_demand_w"], whole["power_w_max"], whole["missing"]) == (4 * 49, 4 * 49, 0)


def test_two_spans_are_compared(api: Api) -> None:
    person = api.person()
    code = person.meter()
    register(api, code)
    quarters(api, code, SUNDAY, [100] * 4 + [150] * 8)

    answer = api.get(f"/telemetry/meters/{code}/compare", token=person.token, **COMPARED)
    found = answer.json()["data"]["comparison"]
    assert (found["before_energy_import_wh"], found["after_energy_import_wh"]) == (400, 1200)
    assert (found["energy_import_change_wh"], found["energy_import_change_percent"]) == (800, 200)
    assert found["energy_import_per_day_change_percent"] == 50


def test_what_is_missing_is_told_with_its_reason(api: Api) -> None:
    person = api.person()
    code = person.meter()
    register(api, code, interval_ms=1000)
    first = datetime.now(UTC).replace(microsecond=0) - HOUR
    readings(api, code, first, 600)
    readings(api, code, first + timedelta(seconds=900), 100)
    span = {"from": first.isoformat(), "to": (first + timedelta(seconds=1000)).isoformat()}

    [part] = api.get(f"/telemetry/meters/{code}/completeness", token=person.token, **span).json()["data"]["parts"]
    assert (part["expected"], part["received"], part["missing"]) == (1000, 700, 300)
    [stretch] = part["stretches"]
    assert (stretch["missing"], stretch["reason"], part["reasons"]["unknown"]) == (300, "unknown", 300)
    assert datetime.fromisoformat(stretch["from"]).tzinfo is not None
    none = api.get(f"/telemetry/meters/{code}/completeness", token=person.token, **span, stretches=0)
    assert none.json()["data"]["parts"][0]["stretches"] == []


def test_a_new_tenant_s_questions_begin_when_they_moved_in(api: Api) -> None:
    """D12: nor does a sum or a day tell what was before."""
    ada, bob = api.person(), api.person()
    code = ada.meter()
    register(api, code)
    quarters(api, code, SUNDAY, [25] * 96)
    moved = SUNDAY + 12 * HOUR
    api.do("SELECT meter_give(%s, %s, %s, now())", code, bob.user_id, moved)

    def sums(token: str) -> list[object]:
        def asked(name: str, **query: object) -> Any:
            return api.get(f"/telemetry/meters/{code}/{name}", token=token, **query).json()["data"]

        return [
            asked("statistics", **SPAN)["parts"][0]["energy_import_wh"],
            asked("daily", **DAYS)["periods"][0]["energy_import_wh"],
            sum(row["energy_import_wh"] for row in asked("history", **SPAN, resolution="15m")["intervals"]),
            asked("history", **SPAN, resolution="15m")["intervals"][0]["start_time"],
        ]

    assert sums(bob.token) == [48 * 25, 48 * 25, 48 * 25, "2026-03-01T12:00:00Z"]
    assert sums(ada.token) == [48 * 25, 48 * 25, 48 * 25, "2026-03-01T00:00:00Z"]


def test_several_meters_are_asked_for_at_once_in_the_order_of_their_names(api: Api, reading: Any) -> None:
    person = api.person()
    codes = [person.meter() for _ in range(3)]
    for power_w, code in enumerate(codes[:2]):
        reading(code, power_w)

    asked = [codes[2], codes[0], codes[1], codes[0]]
    answer = api.get("/telemetry/latest", token=person.token, meter=asked).json()
    assert [found["code"] for found in answer["data"]] == asked[:3]
    assert [found["reading"] and found["reading"]["power_w"] for found in answer["data"]] == [None, 0, 1]
    another = api.person().meter()
    refused = api.get("/telemetry/latest", token=person.token, meter=[codes[0], another])
    assert (refused.status_code, refused.json()["detail"]) == (404, f"there is no meter {another}")
    assert api.get("/telemetry/latest", token=person.token).status_code == 422


def test_what_has_not_changed_is_not_sent_again(api: Api, reading: Any) -> None:
    person = api.person()
    code = person.meter()
    register(api, code)
    reading(code, 100)
    path = f"/api/v1/telemetry/meters/{code}/latest"

    def asked(tag: str | None = None) -> Any:
        headers = {"authorization": f"Bearer {person.token}"} | ({} if tag is None else {"if-none-match": tag})
        return api.client.get(path, headers=headers)

    first = asked()
    tag = first.headers["etag"]
    for given in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = asked(given)
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert asked('"other"').status_code == 200
    arrive(api, code, 200)
    time.sleep(SHOWN_S)
    changed = asked(tag)
    assert (changed.status_code, changed.json()["data"]["reading"]["power_w"]) == (200, 200)
    assert changed.headers["cache-control"] == "private, no-cache"


def test_an_etag_does_not_open_what_is_not_one_s_own(api: Api, reading: Any) -> None:
    owner, another = api.person(), api.person()
    code = owner.meter()
    reading(code, 100)
    path = f"/api/v1/telemetry/meters/{code}/latest"
    for tag in ("*", api.get(path.removeprefix("/api/v1"), token=owner.token).headers["etag"]):
        headers = {"authorization": f"Bearer {another.token}", "if-none-match": tag}
        assert api.client.get(path, headers=headers).status_code == 404


def test_who_takes_the_most_is_told_with_their_share(api: Api) -> None:
    operator, owner = api.person("OPERATOR", "south"), api.person()
    codes = [owner.meter("south") for _ in range(3)]
    for wh, code in zip((100, 300, 200), codes, strict=True):
        register(api, code, region="south")
        quarters(api, code, SUNDAY, [wh] * 4)

    query = SPAN | {"limit": 2}
    answer = api.get("/telemetry/regions/south/top-consumers", token=operator.token, **query).json()
    assert [(found["rank"], found["code"], found["energy_import_wh"]) for found in answer["data"]["consumers"]] == [
        (1, codes[1], 1200),
        (2, codes[2], 800),
    ]
    assert answer["data"]["consumers"][0]["share_percent"] == 50
    long = SPAN | {"to": "2026-05-01T00:00:00Z"}
    assert api.get("/telemetry/regions/south/top-consumers", token=operator.token, **long).status_code == 422


def test_a_region_is_told_now_and_over_time(api: Api) -> None:
    admin = api.person("ADMIN")
    end = datetime.now(UTC).replace(second=0, microsecond=0)
    end -= timedelta(minutes=end.minute % 15)
    api.do("INSERT INTO region_registry VALUES ('north', 1e6) ON CONFLICT DO NOTHING", telemetry=True)
    api.do(
        "INSERT INTO regional_15m (region, bucket, meters, meters_expected, energy_import_wh, power_w_mean, capacity_w,"
        " load_percent, coverage, quality) SELECT 'north', %s - n * INTERVAL '15 minutes', 3, 4, 1000, 4000, 1e6, 0.4,"
        " 100, 14 FROM generate_series(1, 8) AS n",
        end,
        telemetry=True,
    )
    now = api.get("/telemetry/regions/north/statistics", token=admin.token).json()["data"]["periods"]
    assert [(row["period"], row["energy_import_wh"]) for row in now] == [
        ("latest", 1000),
        ("hour", 4000),
        ("day", 8000),
    ]
    span = {"from": (end - 2 * HOUR).isoformat(), "to": end.isoformat()}
    found = pages(api, "/telemetry/regions/north/history", "intervals", token=admin.token, **span, limit=5)
    assert [len(page) for page in found] == [5, 3]
    assert found[0][0]["load_percent"] == 0.4


def test_every_time_in_an_answer_has_its_offset(api: Api) -> None:
    """D16."""
    person = api.person("ADMIN")
    code = person.meter()
    register(api, code)
    quarters(api, code, SUNDAY, [25] * 96)

    def times(value: Any, key: str = "") -> list[str]:
        if isinstance(value, dict):
            return [found for name, part in value.items() for found in times(part, name)]
        if isinstance(value, list):
            return [found for part in value for found in times(part, key)]
        return [value] if key.endswith(("time", "_at")) and value is not None else []

    for name, query in OF_METERS.items():
        for at in times(api.get(f"/telemetry/meters/{code}/{name}", token=person.token, **query).json()["data"]):
            assert at.endswith("Z"), (name, at)


def test_every_field_of_the_telemetry_is_described_and_every_error_is_listed(api: Api) -> None:
    described = api.get("/openapi.json").json()
    for path, methods in described["paths"].items():
        if not path.startswith("/api/v1/telemetry"):
            continue
        for operation in methods.values():
            assert {"200", "401", "404", "422", "503"} <= set(operation["responses"]), path
            assert all(parameter.get("description") for parameter in operation["parameters"]), path
    schemas = described["components"]["schemas"]

    def says(told: dict[str, Any]) -> bool:
        # A field that is a model of its own may leave the words to the model.
        named = [schemas[told["$ref"].rpartition("/")[2]]] if "$ref" in told else []
        return any(part.get("description") for part in [told, *named]) or any(map(says, told.get("anyOf", [])))

    for name, schema in schemas.items():
        for field, told in schema.get("properties", {}).items():
            if name not in {"HTTPValidationError", "ValidationError"}:
                assert says(told), f"{name}.{field}"


@pytest.mark.parametrize(("name", "query"), OF_METERS.items())
def test_of_a_meter_that_no_gateway_has_read_yet_there_is_nothing(
    api: Api, name: str, query: dict[str, object]
) -> None:
    """D16: it is no mistake to ask."""
    person = api.person()
    assert api.get(f"/telemetry/meters/{person.meter()}/{name}", token=person.token, **query).status_code == 200
