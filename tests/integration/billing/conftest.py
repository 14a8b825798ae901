"""A customer with a meter in Berlin, a tariff, and quarter-hours that are there or are not."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, LiteralString
from zoneinfo import ZoneInfo

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from cloud.billing.block import Billed
from cloud.billing.run import Run
from cloud.tariffs.document import Document
from cloud.tariffs.normal import settled
from local.servers import PostgresServer
from tests.conftest import cloned, filled

BERLIN = ZoneInfo("Europe/Berlin")
QUARTER = timedelta(minutes=15)
MARCH, APRIL = date(2026, 3, 1), date(2026, 4, 1)
"""March has the day of 23 hours."""
NOW = datetime(2026, 4, 3, 12, tzinfo=UTC)
WH = 250
"""Of each quarter-hour: a kilowatt."""
MARCH_KWH = Decimal(31 * 24 - 1)

_SEED: LiteralString = """
INSERT INTO regions (region, name, timezone, capacity_w) VALUES ('north', 'North', 'Europe/Berlin', 1e6);
INSERT INTO users (email, name, region) VALUES ('ada@example.org', 'Ada', 'north'), ('bob@example.org', 'Bob', 'north');
INSERT INTO users (email, name, region, role) VALUES ('ops@example.org', 'Ops', 'north', 'OPERATOR');
INSERT INTO operator_regions (user_id, region) VALUES (3, 'north');
INSERT INTO gateways (name) VALUES ('attic');
"""


def midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=BERLIN).astimezone(UTC)


def add_tariff(domain: psycopg.Connection[Any], code: str, since: date | datetime, **document: Any) -> None:
    whole = {"name": code, "currency": "EUR", "timezone": "Europe/Berlin"} | document
    found = Jsonb(settled(Document.model_validate(whole)))
    at = since if isinstance(since, datetime) else midnight(since)
    domain.execute("SELECT tariff_add(%s, %s, NULL, %s, NULL, NULL, %s)", (code, found, at, at))


class World:
    """Both databases. Meters are 1, 2, …; `ada` is user 1, `bob` 2, the operator 3."""

    def __init__(self, domain_dsn: str, telemetry_dsn: str) -> None:
        self.domain_dsn, self.telemetry_dsn = domain_dsn, telemetry_dsn
        self.now = NOW
        self.domain = psycopg.connect(domain_dsn, autocommit=True, row_factory=dict_row)
        self.telemetry = psycopg.connect(telemetry_dsn, autocommit=True, row_factory=dict_row)
        for one in (self.domain, self.telemetry):
            one.execute("SET timezone = 'UTC'")

    def rows(self, query: LiteralString, *parameters: object) -> list[dict[str, Any]]:
        return self.domain.execute(query, parameters).fetchall()

    def one(self, query: LiteralString, *parameters: object) -> Any:
        [row] = self.rows(query, *parameters)
        [value] = row.values()
        return value

    def do(self, statement: LiteralString, *parameters: object) -> None:
        self.domain.execute(statement, parameters)

    def refusal(self, before: LiteralString, statement: str, *parameters: object) -> str | None:
        """SQLSTATE of what the database says to `statement` after `before`, in a transaction; None where it does it."""
        try:
            with self.domain.transaction():
                self.domain.execute(before)
                self.domain.execute(statement, parameters or None)
        except psycopg.Error as refused:
            return refused.sqlstate
        return None

    def tariff(self, code: str, since: date | datetime = date(2026, 1, 1), **document: Any) -> None:
        add_tariff(self.domain, code, since, **document)

    def meter(self, *, user: int | None = 1, tariff: str | None = "house", since: date = date(2026, 1, 1)) -> int:
        meter_id: int = self.one("INSERT INTO meters DEFAULT VALUES RETURNING meter_id")
        self.do(
            "INSERT INTO meter_locations (meter_id, region, timezone) VALUES (%s, 'north', 'Europe/Berlin')", meter_id
        )
        self.do(
            "INSERT INTO devices (gateway_id, device, meter_id, interval_ms) VALUES (1, %s, %s, 1000)",
            f"m{meter_id}",
            meter_id,
        )
        if user is not None:
            self.do(
                "INSERT INTO meter_owners (meter_id, user_id, valid) VALUES (%s, %s, tstzrange(%s, 'infinity'))",
                *(meter_id, user, midnight(since)),
            )
        if tariff is not None:
            self.do(
                "INSERT INTO meter_tariffs (meter_id, code, valid) VALUES (%s, %s, tstzrange(%s, 'infinity'))",
                *(meter_id, tariff, midnight(since)),
            )
        return meter_id

    def use(
        self,
        meter_id: int,
        first: date = MARCH,
        end: date = APRIL,
        wh: int | Sequence[int] = WH,
        *,
        quality: int = 17,
        export_wh: int = 0,
    ) -> None:
        """Quarter-hours of local days; what is there is replaced, and its version counted up."""
        since, until = midnight(first), midnight(end)
        count = (until - since) // QUARTER
        values = [wh] * count if isinstance(wh, int) else [wh[n % len(wh)] for n in range(count)]
        self.telemetry.execute(
            "INSERT INTO aggregates_15m AS a (meter_id, bucket, samples, coverage, quality, energy_import_wh,"
            " energy_export_wh) SELECT %s, %s + (n - 1) * INTERVAL '15 minutes', 90, 100, %s, wh, %s"
            " FROM unnest(%s::bigint[]) WITH ORDINALITY AS u (wh, n) ON CONFLICT (meter_id, bucket) DO UPDATE"
            " SET version = a.version + 1, energy_import_wh = excluded.energy_import_wh,"
            " energy_export_wh = excluded.energy_export_wh, quality = excluded.quality",
            (meter_id, since, quality, export_wh, values),
        )
        # Worked off.
        self.telemetry.execute("DELETE FROM dirty_intervals")

    def run(self, month: date = MARCH, *meters: str, first: int = 1) -> list[Billed]:
        with (
            psycopg.connect(self.domain_dsn, autocommit=True) as domain,
            psycopg.connect(self.telemetry_dsn, autocommit=True) as telemetry,
        ):
            done = list(Run(domain, telemetry, month=month, meters=meters, clock=lambda: self.now, first=first))
        # The next one is a later one.
        self.now += timedelta(seconds=1)
        return done

    def bill(self, meter_id: int | None = None, *, wh: int | Sequence[int] = WH) -> dict[str, Any]:
        """A final invoice over March."""
        if meter_id is None:
            meter_id = self.meter()
        self.use(meter_id, wh=wh)
        [billed] = self.run(MARCH, f"MTR-{meter_id:08}")
        assert (billed.state, [str(finding) for finding in billed.findings]) == ("done", [])
        return self.invoice(billed.bills[0]["invoice_id"])

    def draft(self, meter_id: int, net: object, tax: object = 0, *, month: date = MARCH, user: int = 1) -> int:
        """A draft of one line, and of one of tax, that no tariff made."""
        end = date(month.year + month.month // 12, month.month % 12 + 1, 1)
        invoice_id: int = self.one(
            "INSERT INTO invoices (meter_id, user_id, period_start, period_end, timezone, span, currency, net_amount,"
            " tax_amount) VALUES (%s, %s, %s, %s, 'Europe/Berlin', tstzrange(%s, %s), 'EUR', %s, %s)"
            " RETURNING invoice_id",
            *(meter_id, user, month, end, midnight(month), midnight(end), net, tax),
        )
        self.do(
            "INSERT INTO invoice_line_items (invoice_id, position, component, description, quantity, unit, unit_price,"
            " amount) SELECT %s, n, component, component, 1, 'bill', amount, amount"
            " FROM (VALUES (1, 'adjustment', %s::numeric), (2, 'tax', %s::numeric)) AS l (n, component, amount)",
            *(invoice_id, net, tax),
        )
        return invoice_id

    def final(self, meter_id: int, net: object, tax: object = 0, *, month: date = MARCH, user: int = 1) -> int:
        """The same, final."""
        invoice_id = self.draft(meter_id, net, tax, month=month, user=user)
        self.do("SELECT bill_finalise(%s, %s)", invoice_id, self.now)
        return invoice_id

    def pay(self, invoice_id: int, amount: object, reference: str, status: str = "succeeded") -> int:
        return self.one(
            "SELECT payment_id FROM payment_record(%s, 'simulated', %s, %s, 'EUR', %s, NULL, NULL, %s, %s)",
            *(invoice_id, reference, amount, status, self.now, self.now),
        )

    def credit(self, invoice_id: int, amount: object = None, reason: str = "Misread") -> int:
        return self.one("SELECT bill_credit(%s, %s, %s, %s)", invoice_id, amount, reason, self.now)

    def owed(self, user: int = 1) -> Decimal:
        """What the customer has to their credit."""
        found = self.rows("SELECT amount FROM credit_balances WHERE user_id = %s AND currency = 'EUR'", user)
        return found[0]["amount"] if found else Decimal(0)

    def invoice(self, invoice_id: int) -> dict[str, Any]:
        [found] = self.rows("SELECT * FROM invoices WHERE invoice_id = %s", invoice_id)
        return found

    def lines(self, invoice_id: int) -> list[dict[str, Any]]:
        return self.rows("SELECT * FROM invoice_line_items WHERE invoice_id = %s ORDER BY position", invoice_id)


def _begin(domain: psycopg.Connection) -> None:
    domain.execute(_SEED)
    add_tariff(domain, "house", date(2026, 1, 1), energyratestructure=[[{"rate": "0.30"}]])


@pytest.fixture(scope="session")
def billing_template(pg_server: PostgresServer, domain_template: str) -> str:
    return filled(pg_server, domain_template, "billing", _begin)


@pytest.fixture
def domain_db(pg_server: PostgresServer, pg_owner: psycopg.Connection, billing_template: str) -> Iterator[str]:
    """With the customers, and the tariff `house` at 0.30 a kWh."""
    with cloned(pg_server, pg_owner, template=billing_template) as dsn:
        yield dsn


@pytest.fixture
def world(domain_db: str, telemetry_db: str) -> Iterator[World]:
    found = World(domain_db, telemetry_db)
    with found.domain, found.telemetry:
        yield found
