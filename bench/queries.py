"""How long questions take with a day of readings of 100,000 meters stored: the slowest of a hundred."""

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory

import psycopg

from bench.cluster import cluster, database
from bench.result import Result
from cloud.db.queries import Queries
from cloud.gateways.key import Key

_QUERIES = Queries("telemetry")
_SETTINGS = {"max_wal_size": "8GB", "shared_buffers": "1GB", "maintenance_work_mem": "512MB", "wal_level": "minimal"}
_SETTINGS |= {"max_wal_senders": "0"}
# Minutes of a day and quarter-hours of a month are stored for so many of the meters, spread over all of them.
_WITH_INTERVALS = 500
_ASKED = 1000
_SEED = 7
_INDEX = "CREATE UNIQUE INDEX raw_readings_meter_id_time_key ON raw_readings (meter_id, time)"
_RAW = """
INSERT INTO raw_readings (time, meter_id, batch_id, power_w, power_factor, voltage_l1_v, voltage_l2_v, voltage_l3_v,
                          current_l1_a, frequency_hz, energy_import_wh)
SELECT %(from)s + n * %(cadence)s + m % 1000 * INTERVAL '1 millisecond', m, 1, p, 0.95, 230 + p / 1000, 231, 229,
       p / 230, 50, m * 1000 + n * 100
FROM generate_series(0, %(rounds)s - 1) AS n CROSS JOIN generate_series(1, %(meters)s) AS m
CROSS JOIN LATERAL (SELECT 800 + 600 * sin(n * 0.1) + m % 7 * 100 AS p) AS load
""".replace("m % 1000", "m %% 1000").replace("m % 7", "m %% 7")
_INTERVALS = """
INSERT INTO {table} (meter_id, bucket, samples, coverage, quality, energy_import_wh, energy_import_start_wh,
                     power_w_count, power_w_min, power_w_max, power_w_sum)
SELECT m, b, 6, 100, 14, 10, 1000, 6, 500, 700, 3600
FROM generate_series(%(from)s, %(to)s - {step}, {step}) AS b
CROSS JOIN generate_series(1, %(meters)s, %(every)s) AS m
"""


def run(*, meters: int, cadence_s: float, home: Path) -> Iterator[Result]:
    """`meters` for a day at `cadence_s`, then a thousand questions of each kind."""
    to = datetime.fromtimestamp(time.time() // 86_400 * 86_400, UTC)
    names = [f"m{n}" for n in range(meters)]
    with (
        TemporaryDirectory(dir=home, prefix="bench-") as folder,
        cluster(Path(folder), names, Key.generate(), cadence_s=cadence_s, settings=_SETTINGS) as server,
        database(server, "stored") as dsn,
    ):
        _fill(dsn, meters, cadence_s, to)
        with psycopg.connect(dsn, autocommit=True) as connection:
            chance = random.Random(_SEED)
            anyone = range(1, meters + 1)
            known = range(1, meters + 1, max(1, meters // _WITH_INTERVALS))
            day, month = {"from": to - timedelta(days=1), "to": to}, {"from": to - timedelta(days=30), "to": to}
            hour = {"from": to - timedelta(hours=1), "to": to}
            stored = f"queries: {meters:,} meters, a day at {cadence_s:g} s"
            for name, statement, meter_ids, given, rows, at_most_ms in (
                ("latest values", "latest", anyone, {"since": to - timedelta(days=1)}, 1, 20.0),
                ("a day of minutes", "intervals", known, day | {"resolution": "1m"}, 1440, 20.0),
                ("a month of quarter-hours", "intervals", known, month | {"resolution": "15m"}, 2880, 20.0),
                ("all regions, last hour", "regions", anyone, hour, 4 * (1 + meters // 10_000), 50.0),
            ):
                took_ms = _ask(connection, statement, given, meter_ids, chance, rows)
                slowest = quantiles(took_ms, n=100)[98]
                yield Result.limit(f"{stored}: {name}, p99", "ms", slowest, at_most=at_most_ms)


def _fill(dsn: str, meters: int, cadence_s: float, to: datetime) -> None:
    """Readings in the order in which they come; indexes are filled afterwards, which is faster."""
    day = {"from": to - timedelta(days=1), "to": to, "meters": meters, "every": max(1, meters // _WITH_INTERVALS)}
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("DROP INDEX raw_readings_meter_id_time_key")
        cadence = timedelta(seconds=cadence_s)
        connection.execute(_RAW, day | {"cadence": cadence, "rounds": round(86_400 / cadence_s)})
        connection.execute(_INDEX)
        connection.execute(_INTERVALS.format(table="aggregates_1m", step="INTERVAL '1 minute'"), day)
        month = day | {"from": to - timedelta(days=30)}
        connection.execute(
            _INTERVALS.format(table="aggregates_15m", step="INTERVAL '15 minutes'")
            .replace(", energy_import_start_wh", "")
            .replace("10, 1000, 6", "10, 6"),
            month,
        )
        connection.execute(
            "INSERT INTO regional_15m (region, bucket, meters, meters_expected, energy_import_wh, power_w_mean,"
            " coverage, quality) SELECT region, b, 10000, 10000, 1, 1, 100, 14 FROM region_registry"
            " CROSS JOIN generate_series(%(from)s, %(to)s - INTERVAL '15 minutes', INTERVAL '15 minutes') AS b",
            month,
        )
        connection.execute("VACUUM (ANALYZE)")
        connection.execute("CHECKPOINT")


def _ask(
    connection: psycopg.Connection,
    statement: str,
    given: Mapping[str, object],
    meter_ids: Sequence[int],
    chance: random.Random,
    rows: int,
) -> list[float]:
    """Milliseconds of each question, its rows read."""
    took_ms = []
    for _ in range(_ASKED):
        asked = {**given, "meter_id": chance.choice(meter_ids)}
        started_s = time.perf_counter()
        found = connection.execute(_QUERIES[statement], asked).fetchall()
        took_ms.append((time.perf_counter() - started_s) * 1e3)
        if len(found) != rows:
            raise RuntimeError(f"{statement} gave {len(found)} rows, not {rows}")
    return took_ms
