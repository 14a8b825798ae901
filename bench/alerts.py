"""Rules of alerts over a minute of many meters, by one worker; and all of them that nothing is heard of."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg

from bench.cluster import both
from bench.result import Result
from cloud.db.pool import make_pool
from cloud.workers.alerts import Alerts
from local.servers import PostgresServer

_FIRST = datetime(2026, 6, 10, 12, tzinfo=UTC)
_MINUTE = timedelta(minutes=1)
_PEOPLE = """
INSERT INTO regions (region, name, timezone, capacity_w)
SELECT 'r' || n, 'Region ' || n, 'UTC', 1e9 FROM generate_series(0, 9) AS n;
INSERT INTO users (email, name, role, region)
SELECT 'o' || n || '@example.net', 'Operator', 'OPERATOR', 'r' || n FROM generate_series(0, 9) AS n;
INSERT INTO operator_regions (user_id, region) SELECT n + 1, 'r' || n FROM generate_series(0, 9) AS n;
INSERT INTO gateways (name, region) SELECT 'g' || n, 'r' || n %% 10 FROM generate_series(0, 999) AS n;
"""
_METERS = """
INSERT INTO meters (rated_power_w, exports) SELECT 20000, n %% 5 = 0 FROM generate_series(1, %(meters)s) AS n;
INSERT INTO meter_locations (meter_id, region, timezone)
SELECT n, 'r' || n %% 10, 'UTC' FROM generate_series(1, %(meters)s) AS n;
INSERT INTO devices (gateway_id, device, meter_id, interval_ms)
SELECT 1 + n %% 1000, 'd' || n, n, 10000 FROM generate_series(1, %(meters)s) AS n;
"""
_DEVICES = """
INSERT INTO gateway_registry (gateway_id, name) SELECT 1 + n, 'g' || n FROM generate_series(0, 999) AS n;
INSERT INTO region_registry (region, capacity_w) SELECT 'r' || n, 1e9 FROM generate_series(0, 9) AS n;
INSERT INTO device_registry (gateway_id, device, meter_id, meter_code, region, timezone, max_power_w, interval_ms)
SELECT 1 + n %% 1000, 'd' || n, n, 'MTR-' || lpad(n::text, 8, '0'), 'r' || n %% 10, 'UTC', 1e6, 10000
FROM generate_series(1, %(meters)s) AS n;
"""
# One in a hundred has low voltage, one in two hundred feeds in.
_MINUTES = """
INSERT INTO aggregates_1m (meter_id, bucket, samples, coverage, quality, energy_import_wh, energy_export_wh,
    power_w_count, power_w_min, power_w_max, power_w_sum, voltage_l1_v_count, voltage_l1_v_min, voltage_l1_v_max,
    voltage_l1_v_sum, voltage_l2_v_count, voltage_l2_v_min, voltage_l2_v_max, voltage_l2_v_sum, voltage_l3_v_count,
    voltage_l3_v_min, voltage_l3_v_max, voltage_l3_v_sum, frequency_hz_count, frequency_hz_min, frequency_hz_max,
    frequency_hz_sum, power_factor_count, power_factor_min, power_factor_max, power_factor_sum)
SELECT n, b, 6, 100, 14, 10, 0, 6, p.w - 10, p.w + 10, 6 * p.w, 6, p.v, p.v, 6 * p.v, 6, 230, 230, 1380, 6, 230, 230,
    1380, 6, 50, 50, 300, 6, 0.98, 0.98, 5.88
FROM generate_series(%(from)s::timestamptz, %(to)s, INTERVAL '1 minute') AS b, generate_series(1, %(meters)s) AS n
CROSS JOIN LATERAL (
    SELECT CASE WHEN n %% 100 = 7 THEN 190 ELSE 228 END AS v, CASE WHEN n %% 200 = 9 THEN -900 ELSE 600 END AS w) AS p
"""
_READINGS = """
INSERT INTO raw_readings (time, meter_id, batch_id, power_w)
SELECT %(at)s::timestamptz - n %% 10 * INTERVAL '1 second', n, 1, 600 FROM generate_series(1, %(meters)s) AS n
"""
_MARK = "SELECT mark_alerts(1, array_agg(n), %(from)s, %(from)s, %(now)s) FROM generate_series(1, %(meters)s) AS n"


def run(*, meters: int, home: Path) -> Iterator[Result]:
    """One in a hundred of `meters` has an alert; the tenth minute has windows of ten and of five minutes as well."""
    with TemporaryDirectory(dir=home, prefix="bench-") as folder, _stored(Path(folder), meters) as server:
        looks_s, silent_s, fired = asyncio.run(_looked(server, meters))
    share = meters / 100_000
    yield Result.limit(
        f"alerts: rules over a minute of {meters:,} meters, one worker, slowest of 15",
        "s",
        max(looks_s),
        at_most=60 * share,
    )
    yield Result.told("alerts: the same, in the middle", "s", sorted(looks_s)[len(looks_s) // 2])
    yield Result.limit(f"alerts: which of {meters:,} meters are silent", "s", silent_s, at_most=10 * share)
    yield Result.told("alerts: fired", "alerts", fired)


async def _looked(server: PostgresServer, meters: int) -> tuple[list[float], float, int]:
    looks_s = []
    domain = make_pool(server.dsn("domain"), name="bench", size=1)
    async with _connected(server.dsn("telemetry")) as telemetry, domain:
        alerts = Alerts(domain=domain)
        for number in range(15):
            ended = _FIRST + (number + 1) * _MINUTE
            await telemetry.execute(_MARK, {"meters": meters, "from": ended - _MINUTE, "now": ended})
            now = ended + timedelta(seconds=6)
            began_s = time.perf_counter()
            while await alerts.look(telemetry, now):
                pass
            looks_s.append(time.perf_counter() - began_s)
        began_s = time.perf_counter()
        await alerts.silence(telemetry, _FIRST + timedelta(seconds=12))
        silent_s = time.perf_counter() - began_s
    with psycopg.connect(server.dsn("domain")) as found:
        row = found.execute("SELECT count(*) FROM alerts").fetchone()
    # Under-voltage of a phase, and the unbalance that it makes; and power that flows back, but for those that may.
    wanted = 2 * (meters // 100) + meters // 200
    if row is None or row[0] != wanted:
        raise RuntimeError(f"{row} alerts instead of {wanted}")
    return looks_s, silent_s, row[0]


@asynccontextmanager
async def _connected(dsn: str) -> AsyncIterator[psycopg.AsyncConnection]:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        yield connection


@contextmanager
def _stored(folder: Path, meters: int) -> Iterator[PostgresServer]:
    asked = {"meters": meters, "from": _FIRST, "to": _FIRST + 14 * _MINUTE, "at": _FIRST}
    statements = {"domain": _PEOPLE + _METERS, "telemetry": f"{_DEVICES}{_MINUTES};{_READINGS}"}
    with both(folder) as server:
        for name, text in statements.items():
            with psycopg.connect(server.dsn(name), autocommit=True) as connection:
                psycopg.ClientCursor(connection).execute(text.encode(), asked)
                connection.execute("VACUUM ANALYZE")
        yield server
