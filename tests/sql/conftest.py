"""Readings put straight into a telemetry database, and what the aggregation makes of them."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count

import psycopg
import pytest
from psycopg.rows import dict_row

from local.servers import PostgresServer
from tests.conftest import cloned, filled
from tests.sql.people import SEED

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class Telemetry:
    """A database with one region, `north`, and as many meters as asked for; `now` is what SQL is told the time is."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.now = START + timedelta(hours=6)
        self.connection = psycopg.connect(dsn, autocommit=True, row_factory=dict_row)
        self._meters = count(1)
        self.do("INSERT INTO gateway_registry (gateway_id, name) VALUES (1, 'attic')")
        self.do("INSERT INTO region_registry (region, capacity_w) VALUES ('north', 100000)")

    def do(self, statement: str, *parameters: object) -> None:
        self.connection.execute(statement, parameters)

    def rows(self, query: str, *parameters: object) -> list[dict[str, object]]:
        return self.connection.execute(query, parameters).fetchall()

    def meter(
        self,
        *,
        interval_s: float = 1,
        max_power_w: float = 20_000,
        region: str = "north",
        modulus_wh: int | None = None,
        resets: bool = False,
        meter_id: int | None = None,
    ) -> int:
        """A meter of its own."""
        meter_id = meter_id or next(self._meters)
        self.do(
            "INSERT INTO device_registry (gateway_id, device, meter_id, meter_code, region, timezone, max_power_w,"
            " register_modulus_wh, register_resets, interval_ms) VALUES (1, %s, %s, %s, %s, 'UTC', %s, %s, %s, %s)",
            *(f"d{meter_id}", meter_id, f"MTR-{meter_id:08}", region, max_power_w),
            *(modulus_wh, resets, round(interval_s * 1000)),
        )
        return meter_id

    def store(
        self, meter_id: int, columns: Sequence[str], rows: Iterable[Sequence[object]], *, mark_each: bool = False
    ) -> None:
        """Rows of seconds after START and then `columns`, and their dirty mark, in one transaction, like a batch.

        One mark spans all of them, unless `mark_each`.
        """
        rows = [(START + timedelta(seconds=float(row[0])), *row[1:]) for row in rows]
        names = ", ".join(columns)
        places = ", ".join(["%s"] * len(columns))
        with self.connection.transaction(), self.connection.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO raw_readings (time, meter_id, batch_id, {names}) VALUES (%s, {meter_id}, 1, {places})"
                " ON CONFLICT (meter_id, time) DO NOTHING",
                rows,
            )
            times = [row[0] for row in rows]
            cursor.executemany(
                "SELECT mark_meters(1, ARRAY[%s], %s, %s, %s)",
                [
                    (meter_id, *span, self.now)
                    for span in ([(at, at) for at in times] if mark_each else [(min(times), max(times))])
                ],
            )

    def registers(self, meter_id: int, reads: Iterable[tuple[float, int | None]]) -> None:
        """Reads of the import register: seconds after START, Wh."""
        self.store(meter_id, ["energy_import_wh"], reads)

    def aggregate(self, *, limit: int = 200) -> None:
        """Works the queues off."""
        for queue in ("readings", "quarters", "regions"):
            while self.rows(f"SELECT * FROM aggregate_{queue}(%s, %s, true)", limit, self.now)[0]["marks"]:
                pass

    def minutes(self, meter_id: int) -> list[dict[str, object]]:
        """Rows of aggregates_1m in order, but for when they were computed."""
        return self._computed("aggregates_1m", meter_id)

    def quarters(self, meter_id: int) -> list[dict[str, object]]:
        return self._computed("aggregates_15m", meter_id)

    def energy(self, meter_id: int) -> dict[float, tuple[object, object]]:
        """Minute after START to imported energy, Wh, and quality."""
        return {
            (row["bucket"] - START) / MINUTE: (row["energy_import_wh"], row["quality"])
            for row in self.minutes(meter_id)
        }

    def _computed(self, table: str, meter_id: int) -> list[dict[str, object]]:
        rows = self.rows(
            f"SELECT * FROM {table} WHERE meter_id = %s AND bucket BETWEEN %s AND %s ORDER BY bucket",
            *(meter_id, START - timedelta(days=30), START + timedelta(days=30)),
        )
        return [
            {name: value for name, value in row.items() if name not in ("meter_id", "computed_at", "version")}
            for row in rows
        ]


@pytest.fixture
def telemetry(telemetry_db: str) -> Iterator[Telemetry]:
    found = Telemetry(telemetry_db)
    with found.connection:
        yield found


@pytest.fixture(scope="session")
def people_template(pg_server: PostgresServer, domain_template: str) -> str:
    return filled(pg_server, domain_template, "people", lambda connection: connection.execute(SEED))


@pytest.fixture
def people_db(pg_server: PostgresServer, pg_owner: psycopg.Connection, people_template: str) -> Iterator[str]:
    """DSN of a domain database of this test's own, with people of every role."""
    with cloned(pg_server, pg_owner, template=people_template) as dsn:
        yield dsn
