"""What bills are built on: many accounts at once, sums instead of intervals, lines with what they were priced from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from psycopg.rows import dict_row

from cloud.tariffs.load import parse
from cloud.tariffs.normal import settled
from tests.conftest import cloned

HOUR = timedelta(hours=1)
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
TIERED = {
    "currency": "EUR", "timezone": "UTC", "interval_s": 3600,
    "energyratestructure": [
        [{"max": 100, "rate": "0.10"}, {"rate": "0.20"}], [{"max": 150, "rate": "0.30"}, {"rate": "0.45"}],
    ],
    "energyweekdayschedule": [[0] * 8 + [1] * 12 + [0] * 4] * 12, "energyweekendschedule": [[0] * 24] * 12,
    "demandratestructure": [[{"rate": 1}], [{"max": 2, "rate": 3}, {"rate": 4}]],
    "demandweekdayschedule": [[0] * 10 + [1] * 14] * 12, "demandweekendschedule": [[0] * 24] * 12,
    "flatdemandstructure": [[{"rate": 2}]], "taxes": [{"name": "vat", "percent": 19, "on": "all"}],
}  # fmt: skip
FLAT = {"currency": "JPY", "timezone": "Asia/Tokyo", "interval_s": 3600, "energyratestructure": [[{"rate": 31}]]}


@pytest.fixture
def database(
    pg_server: Any, pg_owner: psycopg.Connection, domain_template: str
) -> Iterator[psycopg.Connection[dict[str, Any]]]:
    with (
        cloned(pg_server, pg_owner, template=domain_template) as dsn,
        psycopg.connect(dsn, row_factory=dict_row) as connection,
    ):
        connection.execute("SET TIME ZONE 'UTC'")
        connection.execute("SELECT rating_open()")
        yield connection


def _wh(account: int, hour: int) -> int:
    return (hour * 7919 + account * 104729) % 2500


def _fill(connection: psycopg.Connection[Any], tariffs: dict[int, dict[str, Any]], accounts: dict[int, int]) -> None:
    for tariff_id, document in tariffs.items():
        normal = json.dumps(settled(parse(json.dumps(document))))
        connection.execute("INSERT INTO rating_tariffs VALUES (%s, %s)", [tariff_id, normal])
    for account_id, tariff_id in accounts.items():
        connection.execute(
            "INSERT INTO rating_accounts (account_id, tariff_id) VALUES (%s, %s)", [account_id, tariff_id]
        )


def _hours(connection: psycopg.Connection[Any], account: int, hours: int = 31 * 24, **columns: Any) -> None:
    names = ["account_id", "starts_at", "import_wh", *columns]
    with connection.cursor().copy(f"COPY rating_intervals ({','.join(names)}) FROM STDIN") as copy:
        for hour in range(hours):
            copy.write_row((account, BEGIN + hour * HOUR, _wh(account, hour), *columns.values()))


def _bills(connection: psycopg.Connection[Any]) -> dict[tuple[int, str], Any]:
    connection.execute("SELECT rate()")
    rows = connection.execute("SELECT * FROM rating_months").fetchall()
    return {
        (row["account_id"], str(row["month"])): (row["bill"], row["bill_unrounded"], row["peak_kw"]) for row in rows
    }


def test_accounts_of_several_tariffs_are_rated_at_once_as_each_alone(database: psycopg.Connection[Any]) -> None:
    tariffs, accounts = {1: TIERED, 2: FLAT}, {10: 1, 11: 1, 12: 2}
    _fill(database, tariffs, accounts)
    for account in accounts:
        _hours(database, account)

    together = _bills(database)

    alone: dict[tuple[int, str], Any] = {}
    for account, tariff_id in accounts.items():
        database.execute("SELECT rating_open()")
        _fill(database, {tariff_id: tariffs[tariff_id]}, {account: tariff_id})
        _hours(database, account)
        alone |= _bills(database)
    assert together == alone
    # March of UTC reaches into April in Tokyo.
    assert sorted(together) == [(10, "2026-03-01"), (11, "2026-03-01"), (12, "2026-03-01"), (12, "2026-04-01")]


def test_sums_of_the_spans_between_changes_of_period_are_rated_as_their_intervals(
    database: psycopg.Connection[Any],
) -> None:
    """Telemetry adds up what the tariff does not tell apart: 744 hours become fewer than a hundred rows."""
    _fill(database, {1: TIERED}, {10: 1})
    _hours(database, 10)
    intervals = _bills(database)
    lines = database.execute("SELECT * FROM rating_lines ORDER BY component, period, tier").fetchall()

    database.execute("SELECT rating_open()")
    _fill(database, {1: TIERED}, {10: 1})
    spans = database.execute(
        "SELECT s.* FROM rating_tariffs AS t CROSS JOIN LATERAL tariff_segments(t.document, %s, %s) AS s",
        [BEGIN, BEGIN + 31 * 24 * HOUR],
    ).fetchall()
    for span in spans:
        wh = [_wh(10, n) for n in range((span["starts_at"] - BEGIN) // HOUR, (span["ends_at"] - BEGIN) // HOUR)]
        row = [10, span["starts_at"], span["ends_at"], sum(wh), max(wh)]
        database.execute(
            "INSERT INTO rating_intervals (account_id, starts_at, ends_at, import_wh, peak_wh)"
            " VALUES (%s, %s, %s, %s, %s)",
            row,
        )

    assert 80 < len(spans) < 100
    assert _bills(database) == intervals
    assert database.execute("SELECT * FROM rating_lines ORDER BY component, period, tier").fetchall() == lines


@pytest.mark.parametrize(
    ("zone", "begin"),
    [
        ("UTC", datetime(2026, 3, 1, 5, 15, tzinfo=UTC)),
        ("Europe/Berlin", datetime(2026, 3, 20, 23, 0, tzinfo=UTC)),
        ("Europe/Berlin", datetime(2026, 10, 20, 22, 30, tzinfo=UTC)),
        ("Asia/Kathmandu", datetime(2026, 5, 1, 18, 15, tzinfo=UTC)),
        # By half an hour.
        ("Australia/Lord_Howe", datetime(2026, 4, 1, 13, 0, tzinfo=UTC)),
        # There and back within a month.
        ("Africa/Casablanca", datetime(2026, 2, 10, 0, 0, tzinfo=UTC)),
        # A minute after midnight.
        ("America/St_Johns", datetime(2007, 3, 10, 3, 30, tzinfo=UTC)),
        # From then back into the day before.
        ("America/St_Johns", datetime(2009, 11, 1, 2, 30, tzinfo=UTC)),
        # At midnight, which there is not on that day, or twice; and a day that there never was.
        ("America/Sao_Paulo", datetime(2018, 10, 20, 2, 45, tzinfo=UTC)),
        ("America/Sao_Paulo", datetime(2018, 2, 1, 2, 0, tzinfo=UTC)),
        ("Atlantic/Azores", datetime(2026, 10, 20, 0, 0, tzinfo=UTC)),
        ("Pacific/Apia", datetime(2011, 12, 1, 10, 15, tzinfo=UTC)),
    ],
)
def test_each_quarter_hour_is_in_the_period_of_its_local_hour(
    database: psycopg.Connection[Any], zone: str, begin: datetime
) -> None:
    document = settled(parse(json.dumps(TIERED | {"timezone": zone})))
    end = begin + 40 * 24 * HOUR

    spans = database.execute("SELECT * FROM tariff_segments(%s, %s, %s)", [json.dumps(document), begin, end]).fetchall()

    assert [span["starts_at"] for span in spans] == [begin, *(span["ends_at"] for span in spans)][:-1]
    assert spans[-1]["ends_at"] == end
    found = {
        span["starts_at"] + n * HOUR / 4: (span["month"], span["period"], span["demand_period"])
        for span in spans
        for n in range((span["ends_at"] - span["starts_at"]) // (HOUR / 4))
    }
    assert found == {
        at: (local.date().replace(day=1), int(local.weekday() < 5 and 8 <= local.hour < 20),
             int(local.weekday() < 5 and local.hour >= 10))
        for n in range((end - begin) // (HOUR / 4))
        for at in [begin + n * HOUR / 4]
        for local in [at.astimezone(ZoneInfo(zone))]
    }  # fmt: skip


def test_a_line_says_what_it_was_priced_from(database: psycopg.Connection[Any]) -> None:
    """D8: an invoice's lines have quantity, unit, price, tier, period, version of the intervals, worst quality."""
    _fill(database, {1: FLAT | {"timezone": "UTC"}}, {10: 1})
    _hours(database, 10, hours=24, quality=14, version=3)
    database.execute("UPDATE rating_intervals SET quality = 8, version = 5 WHERE starts_at = %s", [BEGIN + 5 * HOUR])

    database.execute("SELECT rate()")

    [line] = database.execute("SELECT * FROM rating_lines").fetchall()
    kwh = Decimal(sum(_wh(10, hour) for hour in range(24))) / 1000
    assert (line["component"], line["period"], line["tier"]) == ("energy", 0, 0)
    assert (line["quantity"], line["unit"], line["unit_price"], line["amount"]) == (kwh, "kWh", 31, kwh * 31)
    assert (line["quality"], line["version"]) == (8, 23 * 3 + 5)
    assert (line["first_at"], line["last_at"]) == (BEGIN, BEGIN + 24 * HOUR)


def test_what_was_banked_and_the_peaks_before_the_first_month_count(database: psycopg.Connection[Any]) -> None:
    document = FLAT | {
        "timezone": "UTC",
        "metering": {"rule": "net_metering"},
        "flatdemandstructure": [[{"rate": 100}]],
    }
    _fill(database, {1: document | {"lookbackpercent": "0.5", "lookbackrange": 2}}, {10: 1})
    _hours(database, 10, hours=24)
    database.execute("INSERT INTO rating_banks VALUES (10, 0, 4), (10, NULL, 4)")
    database.execute("INSERT INTO rating_peaks VALUES (10, 1, 3), (10, 2, 40), (10, 3, 1000)")

    database.execute("SELECT rate()")

    kwh = Decimal(sum(_wh(10, hour) for hour in range(24))) / 1000
    lines = {row["component"]: row["quantity"] for row in database.execute("SELECT * FROM rating_lines").fetchall()}
    assert lines == {"energy": kwh - 4, "demand_flat": 20}


def test_the_worker_may_rate_and_the_api_may_not(database: psycopg.Connection[Any]) -> None:
    database.rollback()
    database.execute("SET ROLE segs_worker")
    database.execute("SELECT rating_open()")
    database.execute("SELECT rate()")
    database.execute("SET ROLE segs_api")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        database.execute("SELECT rating_open()")


def test_nothing_of_one_rating_is_in_the_next(database: psycopg.Connection[Any]) -> None:
    """Rows stay when a transaction ends, few or many, and are gone with the next rating."""
    for accounts in (1, 3, 1):
        database.execute("SELECT rating_open()")
        _fill(database, {1: TIERED}, dict.fromkeys(range(10, 10 + accounts), 1))
        for account in range(10, 10 + accounts):
            _hours(database, account)
        assert sorted(account for account, _ in _bills(database)) == list(range(10, 10 + accounts))
        database.commit()

    database.execute("SELECT rating_open()")
    _fill(database, {2: FLAT}, {11: 2})
    database.rollback()
    database.execute("SELECT rating_open()")

    for name in ("tariffs", "accounts", "intervals", "rates", "months", "lines"):
        assert database.execute(f"SELECT FROM rating_{name}").fetchall() == []
