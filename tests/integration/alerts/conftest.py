"""Meters in both databases, what they measured, and the worker of alerts with the time in its hand."""

from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg.rows import dict_row

from cloud.db.pool import make_pool
from cloud.workers.alerts import Alerts
from local.servers import PostgresServer
from tests.conftest import cloned, filled

NOON = datetime(2026, 6, 10, 12, 0, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
NORMAL: Mapping[str, float] = {
    "voltage_l1_v": 230,
    "voltage_l2_v": 230,
    "voltage_l3_v": 230,
    "frequency_hz": 50,
    "power_w": 1000,
    "power_factor": 0.98,
}


DOMAIN: LiteralString = """
INSERT INTO regions (region, name, timezone, capacity_w) VALUES ('north', 'North', 'UTC', 100000);
INSERT INTO users (email, name, region, role, email_verified_at) VALUES
    ('ops@example.org', 'Ops', 'north', 'OPERATOR', now()), ('ada@example.org', 'Ada', 'north', 'USER', now()),
    ('root@example.org', 'Root', NULL, 'ADMIN', now());
INSERT INTO operator_regions (user_id, region) VALUES (1, 'north');
INSERT INTO gateways (name, region) VALUES ('attic', 'north');
"""
TELEMETRY: LiteralString = """
INSERT INTO gateway_registry (gateway_id, name) VALUES (1, 'attic');
INSERT INTO region_registry (region, capacity_w) VALUES ('north', 100000);
"""


class World:
    """What DOMAIN and TELEMETRY make, a region with an operator (1), and meters of one customer (2) behind `attic`."""

    def __init__(self, domain_dsn: str, telemetry_dsn: str) -> None:
        self.domain_dsn, self.telemetry_dsn = domain_dsn, telemetry_dsn
        self.domain = psycopg.connect(domain_dsn, autocommit=True, row_factory=dict_row)
        self.telemetry = psycopg.connect(telemetry_dsn, autocommit=True, row_factory=dict_row)
        self._pools = [make_pool(dsn, name="test", size=8) for dsn in (domain_dsn, telemetry_dsn)]

    def do(self, statement: str, *parameters: object) -> None:
        self.domain.execute(statement, parameters)

    def measure_do(self, statement: str, *parameters: object) -> None:
        self.telemetry.execute(statement, parameters)

    def rows(self, query: str, *parameters: object) -> list[dict[str, Any]]:
        return self.domain.execute(query, parameters).fetchall()

    def gateway(self, name: str) -> int:
        [row] = self.rows("INSERT INTO gateways (name, region) VALUES (%s, 'north') RETURNING gateway_id", name)
        self.measure_do("INSERT INTO gateway_registry (gateway_id, name) VALUES (%s, %s)", row["gateway_id"], name)
        return int(row["gateway_id"])

    def meters(
        self, count: int = 1, *, site: str | None = None, gateway: int = 1, interval_s: float = 10, **columns: object
    ) -> list[int]:
        """So many new ones; `columns` are of the domain's table."""
        names = ", ".join(["site", *columns])
        made = self.rows(
            f"INSERT INTO meters ({names}) SELECT {', '.join(['%s'] * (1 + len(columns)))} FROM generate_series(1, %s)"
            " RETURNING meter_id",
            *(site, *columns.values(), count),
        )
        meters = [row["meter_id"] for row in made]
        self.do(
            "INSERT INTO meter_locations (meter_id, region, timezone) SELECT u, 'north', 'UTC' FROM unnest(%s) AS u",
            meters,
        )
        self.do(
            "INSERT INTO meter_owners (meter_id, user_id, valid)"
            " SELECT u, 2, '[-infinity, infinity)' FROM unnest(%s) AS u",
            meters,
        )
        self.do(
            "INSERT INTO devices (gateway_id, device, meter_id, interval_ms)"
            " SELECT %s, 'd' || u, u, %s FROM unnest(%s) AS u",
            *(gateway, interval_s * 1000, meters),
        )
        self.measure_do(
            "INSERT INTO device_registry (gateway_id, device, meter_id, meter_code, region, timezone, max_power_w,"
            " interval_ms) SELECT %s, 'd' || u, u, 'MTR-' || lpad(u::text, 8, '0'), 'north', 'UTC', 1000000, %s"
            " FROM unnest(%s) AS u",
            *(gateway, interval_s * 1000, meters),
        )
        return meters

    def minutes(
        self, meters: list[int], first: datetime, count: int = 1, *, mark: bool = True, **values: float | None
    ) -> None:
        """Minutes of meters, as the aggregation makes them of a steady reading: NORMAL but for `values`."""
        steady = {name: value for name, value in (dict(NORMAL) | values).items() if value is not None}
        known = {name: value for name, value in steady.items() if name in NORMAL}
        power = steady.get("power_w", 0)
        energy = [round(steady.get("energy_import_wh", max(power, 0) / 60)), round(max(-power, 0) / 60)]
        names = [f"{name}_{part}" for name in known for part in ("count", "min", "max", "sum")]
        parts = [number for value in known.values() for number in (6, value, value, 6 * value)]
        self.measure_do(
            "INSERT INTO aggregates_1m (meter_id, bucket, samples, coverage, quality, energy_import_wh,"
            f" energy_export_wh, {', '.join(names)})"
            f" SELECT m, b, 6, 100, 14, %s, %s, {', '.join(['%s'] * len(parts))} FROM unnest(%s) AS m,"
            " generate_series(%s::timestamptz, %s, INTERVAL '1 minute') AS b",
            *(*energy, *parts, meters, first, first + (count - 1) * MINUTE),
        )
        if mark:
            self.mark(meters, first, count)

    def mark(self, meters: list[int], first: datetime, count: int = 1) -> None:
        last = first + (count - 1) * MINUTE
        self.measure_do("SELECT mark_alerts(1, %s, %s, %s, %s)", meters, first, last, last + MINUTE)

    def readings(
        self, meters: list[int], first: datetime, last: datetime, *, every_s: float = 10, **values: float
    ) -> None:
        columns = {**dict.fromkeys(("voltage_l1_v", "voltage_l2_v", "voltage_l3_v"), 230.0), **values}
        self.measure_do(
            f"INSERT INTO raw_readings (time, meter_id, batch_id, {', '.join(columns)})"
            f" SELECT t, m, 1, {', '.join(['%s'] * len(columns))}"
            " FROM unnest(%s) AS m, generate_series(%s::timestamptz, %s, %s) AS t",
            *(*columns.values(), meters, first, last, timedelta(seconds=every_s)),
        )

    async def _step(self, name: str, now: datetime) -> None:
        domain, measured = self._pools
        for pool in self._pools:
            await pool.open()
        async with measured.connection() as telemetry:
            while await getattr(Alerts(domain=domain), name)(telemetry, now):
                pass

    async def look(self, now: datetime) -> None:
        """Everything that is marked."""
        await self._step("look", now)

    async def listen(self, now: datetime, *, in_turn: bool = False) -> None:
        """Who is silent; with `in_turn` only if it is time to look again."""
        if not in_turn:
            self.measure_do("DELETE FROM periodic_work")
        await self._step("silence", now)

    async def hear(self, now: datetime) -> None:
        self.measure_do("DELETE FROM periodic_work")
        await self._step("heard", now)

    async def tell(self, now: datetime) -> None:
        """Of what was looked at by `live` until `now`."""
        await self._step("tell", now + timedelta(seconds=7))

    async def live(self, meters: list[int], first: datetime, count: int = 1, **values: float | None) -> datetime:
        """Minute by minute, each looked at a few seconds after its end; when the last of them was."""
        for number in range(count):
            self.minutes(meters, first + number * MINUTE, **values)
            await self.look(first + (number + 1) * MINUTE + timedelta(seconds=6))
        return first + count * MINUTE

    def alerts(
        self, columns: str = "rule, meter_id, phase, severity, state", where: str = "true"
    ) -> list[tuple[Any, ...]]:
        return [
            tuple(row.values()) for row in self.rows(f"SELECT {columns} FROM alerts WHERE {where} ORDER BY alert_id")
        ]

    def messages(self) -> list[tuple[Any, ...]]:
        return [
            tuple(row.values())
            for row in self.rows("SELECT user_id, template, payload ->> 'rule' AS rule FROM outbox ORDER BY outbox_id")
        ]

    async def close(self) -> None:
        self.domain.close()
        self.telemetry.close()
        for pool in self._pools:
            await pool.close()


@pytest.fixture(scope="session")
def alerts_templates(pg_server: PostgresServer, domain_template: str, telemetry_template: str) -> tuple[str, str]:
    return (
        filled(pg_server, domain_template, "alerts_domain", lambda connection: connection.execute(DOMAIN)),
        filled(pg_server, telemetry_template, "alerts_telemetry", lambda connection: connection.execute(TELEMETRY)),
    )


@pytest.fixture
def domain_db(
    pg_server: PostgresServer, pg_owner: psycopg.Connection, alerts_templates: tuple[str, str]
) -> Iterator[str]:
    with cloned(pg_server, pg_owner, template=alerts_templates[0]) as dsn:
        yield dsn


@pytest.fixture
def telemetry_db(
    pg_server: PostgresServer, pg_owner: psycopg.Connection, alerts_templates: tuple[str, str]
) -> Iterator[str]:
    with cloned(pg_server, pg_owner, template=alerts_templates[1]) as dsn:
        yield dsn


@pytest.fixture
async def world(domain_db: str, telemetry_db: str) -> AsyncIterator[World]:
    made = World(domain_db, telemetry_db)
    yield made
    await made.close()
