"""What holds of every tariff and every load."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloud.tariffs.load import parse as document_of
from cloud.tariffs.normal import settled
from cloud.tariffs.rate import Rated, rated
from cloud.tariffs.series import COLUMNS, parse
from tests.integration.tariffs.made import documents, energy_periods, intervals, text
from tests.integration.tariffs.reference import PARTS, Bill, bills, half_up

_EXAMPLES = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
_NEAR = Fraction(1, 10**15)
DIGITS = {"EUR": 2, "JPY": 0, "KWD": 3}


@pytest.fixture(scope="module")
def database(pg_server: Any, pg_owner: psycopg.Connection, domain_template: str) -> Iterator[psycopg.Connection]:
    """One for all examples: each is rolled back."""
    from tests.conftest import cloned

    with cloned(pg_server, pg_owner, template=domain_template) as dsn, psycopg.connect(dsn) as connection:
        yield connection


def _rate(connection: psycopg.Connection, document: dict[str, Any], rows: list[dict[str, Any]]) -> Rated:
    columns = [name for name in COLUMNS if name in rows[0]]
    lines = [",".join(["interval_start_utc", *columns])]
    lines += [",".join([row["at"].isoformat(), *(text(row[name]) for name in columns)]) for row in rows]
    parsed = document_of(json.dumps(document))
    with connection.transaction(force_rollback=True):
        return rated(connection, parsed, parse(lines, parsed))


@_EXAMPLES
@given(st.data())
def test_every_bill_is_what_walking_through_its_intervals_gives(
    database: psycopg.Connection, data: st.DataObject
) -> None:
    """Another method: fractions, one interval after the other, from the document before it is normalised."""
    document = data.draw(documents())
    rows = data.draw(intervals(document))

    found = _rate(database, document, rows)

    expected = bills(document, rows)
    assert [month.month for month in found.months] == list(expected)
    for month in found.months:
        _compare(month.numbers, month.taxes, expected[month.month], document)


def _compare(numbers: dict[str, Decimal], taxes: dict[str, Decimal], expected: Bill, document: dict[str, Any]) -> None:
    for name in ("import_kwh", "export_kwh", "peak_kw", "billing_demand_kw"):
        assert abs(Fraction(numbers[name]) - getattr(expected, name)) < _NEAR, name
    for name in PARTS:
        assert abs(Fraction(numbers[name]) - expected.parts[name]) < _NEAR, name
    assert taxes.keys() == expected.taxes.keys()
    for name, amount in taxes.items():
        assert abs(Fraction(amount) - expected.taxes[name]) < _NEAR, name
    if document["rounding"] == "invoice":
        assert numbers["bill"] == half_up(expected.total, DIGITS[document["currency"]])
    assert abs(Fraction(numbers["bill_unrounded"]) - expected.total) < _NEAR


@_EXAMPLES
@given(st.data())
def test_parts_and_taxes_add_up_to_the_bill_and_months_to_the_year(
    database: psycopg.Connection, data: st.DataObject
) -> None:
    document = data.draw(documents()) | {"rounding": data.draw(st.sampled_from(["line", "none"]))}
    found = _rate(database, document, data.draw(intervals(document, most=20)))

    for month in found.months:
        parts = sum(month.numbers[name] for name in PARTS) + sum(month.taxes.values())
        assert abs(parts - month.numbers["bill"]) < Decimal("1e-15")
        if document["rounding"] == "line":
            unit = Decimal(1).scaleb(-DIGITS[document["currency"]])
            assert all(amount % unit == 0 for amount in [month.numbers[name] for name in PARTS])
    assert sum(month.numbers["bill"] for month in found.months) == found.annual_bill


@_EXAMPLES
@given(st.data())
def test_more_energy_never_costs_less_where_no_price_is_negative(
    database: psycopg.Connection, data: st.DataObject
) -> None:
    """A volume basis with a cheaper second slab is an exception by intent, and so are a credit above the price and a
    power factor that is paid for: active energy betters it.

    So is a tax on what is missing to the minimum and not on what takes its place: of 1.00 with 2.5 % there, energy for
    0.40 leaves 0.60 missing, and 1.025 becomes 1.015.
    """
    document = data.draw(documents()) | {
        "tier_basis": "graduated",
        "fixedchargefirstmeter": "1",
        "fixedchargeunits": "/day",
    }
    document |= {"price_series": False, "energyratestructure": data.draw(energy_periods(sell=False))}
    for key in ("baseline", "metering", "energyweekdayschedule", "energyweekendschedule", "power_factor"):
        document.pop(key, None)
    document["energyratestructure"] = document["energyratestructure"][:1]
    for tax in document.get("taxes", []):
        if "minimum" in tax["on"] and "all" not in tax["on"]:
            tax["on"] = sorted({*tax["on"], "energy", "demand"})
    rows = data.draw(intervals(document, most=20))
    more = copy.deepcopy(rows)
    more[data.draw(st.integers(0, len(rows) - 1))]["import_wh"] += data.draw(st.integers(1, 10**6))

    assert _rate(database, document, more).annual_bill >= _rate(database, document, rows).annual_bill


@pytest.mark.long
@_EXAMPLES
@given(st.data())
def test_two_halves_of_a_month_are_the_month_where_prices_are_flat_and_days_prorate(
    database: psycopg.Connection, data: st.DataObject
) -> None:
    zone = ZoneInfo("Europe/Berlin")
    document = {
        "currency": "EUR", "timezone": zone.key, "interval_s": 3600, "proration": "days", "rounding": "none",
        "energyratestructure": [[{"rate": str(data.draw(st.decimals("0", "1", places=4))), "sell": "0.08"}]],
        "fixedchargefirstmeter": "11.95",
        "fixedchargeunits": data.draw(st.sampled_from(["EUR/month", "EUR/day", "EUR/year"])),
        "taxes": [{"name": "vat", "percent": "19", "on": "all"}],
    }  # fmt: skip
    month = data.draw(st.integers(1, 12))
    begin, end = datetime(2026, month, 1, tzinfo=zone), datetime(2026 + month // 12, month % 12 + 1, 1, tzinfo=zone)
    at, rows = begin.astimezone(UTC), []
    while at < end.astimezone(UTC):
        rows.append({"at": at, "import_wh": hash(at) % 5000, "export_wh": hash(at) % 700})
        at += timedelta(hours=1)
    middle = (begin + timedelta(days=data.draw(st.integers(1, 27)))).replace(tzinfo=zone).astimezone(UTC)

    whole = _rate(database, document, rows).annual_bill
    halves = [
        _rate(database, document, [row for row in rows if (row["at"] < middle) is first]).annual_bill
        for first in (True, False)
    ]

    assert abs(sum(halves) - whole) < Decimal("1e-15")


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"])
def test_each_quarter_hour_of_a_year_is_in_exactly_one_period_that_its_local_clock_says(
    database: psycopg.Connection, zone: str
) -> None:
    """D5: neither the server's zone nor UTC; days of 23 and 25 hours too."""
    schedule = [
        [[(month * 5 + hour) % 7 for hour in range(24)] for month in range(12)],
        [[(month + hour) % 7 for hour in range(24)] for month in range(12)],
    ]
    document = settled(document_of(json.dumps({
        "currency": "EUR", "timezone": zone, "holidays": ["2026-12-25"],
        "energyratestructure": [[{"rate": n}] for n in range(7)],
        "energyweekdayschedule": schedule[0], "energyweekendschedule": schedule[1],
    })))  # fmt: skip
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    instants = [begin + timedelta(minutes=15 * n) for n in range(366 * 96)]

    rows = database.execute(
        "SELECT at, period FROM tariff_calendar(%s, %s)", [json.dumps(document), instants]
    ).fetchall()
    database.rollback()

    expected = {}
    for at in instants:
        local = at.astimezone(ZoneInfo(zone))
        weekend = local.weekday() >= 5 or (local.month, local.day) == (12, 25)
        expected[at] = schedule[weekend][local.month - 1][local.hour]
    assert len(rows) == len(instants)
    assert dict(rows) == expected


@_EXAMPLES
@given(documents())
def test_the_normal_form_is_a_document_and_its_own_normal_form(document: dict[str, Any]) -> None:
    once = settled(document_of(json.dumps(document)))
    assert settled(document_of(json.dumps(once))) == once
