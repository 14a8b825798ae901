"""The run of a month: what bills cost beside the one pass over their quarter-hours that nobody can do without, and one
meter's bill by itself."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory

import psycopg

from bench.cluster import both
from bench.result import Result
from cloud.billing.run import Run
from cloud.tariffs.load import validate
from cloud.tariffs.normal import settled
from local.servers import PostgresServer

_MONTH, _END = date(2026, 6, 1), date(2026, 7, 1)
_ZONE, _QUARTERS = "Europe/Berlin", 30 * 96
_NOW = datetime(2026, 7, 3, 12, tzinfo=UTC)
_ALONE = 200
"""Meters that are billed one by one, before the others: enough for a 99th percentile."""
_SOLAR = 50
"""Meters after these that are billed one by one, too, each with one of a generator that follows it."""
_BEFORE = _ALONE + 2 * _SOLAR
_GENERATORS = list(range(_ALONE + 2, _BEFORE + 1, 2))
_FROM = "(TIMESTAMP '2026-06-01' AT TIME ZONE 'Europe/Berlin')"
# Two prices by the hour of weekdays, a fixed charge and a tax: what most households have.
_DOCUMENT = {
    "name": "Bench",
    "currency": "EUR",
    "timezone": _ZONE,
    "energyratestructure": [[{"rate": "0.24"}], [{"rate": "0.34"}]],
    "energyweekdayschedule": [[0] * 6 + [1] * 16 + [0] * 2] * 12,
    "energyweekendschedule": [[0] * 24] * 12,
    "fixedchargefirstmeter": "9.90",
    "fixedchargeunits": "EUR/month",
    "taxes": [{"name": "vat", "percent": 19, "on": "all"}],
}
# All that is used is bought, all that is generated is sold.
_SELLS = _DOCUMENT | {
    "name": "Solar",
    "energyratestructure": [[{"rate": "0.24", "sell": "0.08"}], [{"rate": "0.34", "sell": "0.08"}]],
    "metering": {"rule": "buy_all_sell_all"},
}
_REGISTRY = (
    "INSERT INTO regions (region, name, timezone) VALUES ('north', 'North', 'Europe/Berlin')",
    "INSERT INTO meters (model) SELECT 'sdm630' FROM generate_series(1, %(meters)s)",
    "INSERT INTO meter_locations (meter_id, region, timezone) SELECT meter_id, 'north', 'Europe/Berlin' FROM meters",
    "INSERT INTO users (email, name, role, email_verified_at)"
    " SELECT 'p' || n || '@example.net', 'Somebody', 'USER', now() FROM generate_series(1, %(meters)s) AS n",
    "INSERT INTO meter_owners (meter_id, user_id, valid)"
    " SELECT m.meter_id, m.meter_id, '[2026-01-01, infinity)' FROM meters AS m"
    " WHERE m.meter_id <> ALL (%(generators)s)",
    "INSERT INTO meter_generators (meter_id, generator_id, valid)"
    " SELECT g - 1, g, '[2026-01-01, infinity)' FROM unnest(%(generators)s::integer[]) AS g",
)
# Only where there is a generator anything goes out, and never more than came in and was generated.
_INTERVALS = f"""
INSERT INTO aggregates_15m (meter_id, bucket, samples, coverage, quality, energy_import_wh, energy_export_wh,
                            power_w_count, power_w_min, power_w_max, power_w_sum)
SELECT m, {_FROM} + n * INTERVAL '15 minutes', 15, 100, 14, 40 + (m * 7 + n * 13) % 300,
       CASE WHEN m > {_ALONE} AND m <= {_BEFORE} THEN (m * 3 + n * 5) % 40 END, 15, 100, 900, 7500
FROM generate_series(0, {_QUARTERS} - 1) AS n CROSS JOIN generate_series(1, %s) AS m
""".replace(" % ", " %% ")
# The spans in which one price holds, of all meters at once that are billed in blocks.
_PASS = """
SELECT count(*), sum(wh) FROM (
    SELECT a.meter_id, width_bucket(a.bucket, %(starts)s::timestamptz[]) AS span, sum(a.energy_import_wh) AS wh,
           max(a.energy_import_wh) AS peak
    FROM aggregates_15m AS a WHERE a.meter_id > %(before)s AND a.bucket >= %(from)s AND a.bucket < %(to)s
    GROUP BY 1, 2) AS s
"""


def run(*, meters: int, rounds: int, home: Path) -> Iterator[Result]:
    """A month of `meters` in blocks, once, after that of some others one by one, without and with a generator; the pass
    over the former `rounds` times."""
    with (
        TemporaryDirectory(dir=home, prefix="bench-") as folder,
        _stored(Path(folder), _BEFORE + meters) as server,
        psycopg.connect(server.dsn("domain"), autocommit=True) as domain,
        psycopg.connect(server.dsn("telemetry"), autocommit=True) as telemetry,
    ):
        passes = [_pass(telemetry, meters) for _ in range(rounds)]
        took_ms, solar_ms = (
            [1000 * _billed(domain, telemetry, f"MTR-{meter:08}") for meter in some]
            for some in (range(1, _ALONE + 1), range(_ALONE + 1, _BEFORE, 2))
        )
        # Tables that were empty are known to be so. Autovacuum does this on a server that has been there for a minute.
        domain.execute("ANALYZE")
        took_s = _billed(domain, telemetry)
        _require_all(domain, telemetry, _ALONE + _SOLAR + meters)
    yield Result(
        name=f"billing: a month of {meters:,} meters, {meters * _QUARTERS:,} quarter-hours",
        unit="s",
        figures=[took_s] * rounds,
        peer="one pass that sums them by price",
        peer_figures=passes,
    )
    yield Result.told("billing: of each meter", "ms", 1000 * took_s / meters)
    yield Result.limit("billing: one meter's bill, p99", "ms", quantiles(took_ms, n=100)[98], at_most=100)
    yield Result.told("billing: one meter's bill, median", "ms", median(took_ms))
    yield Result.told("billing: one meter's bill with what a generator's meter tells, median", "ms", median(solar_ms))


def _billed(domain: psycopg.Connection, telemetry: psycopg.Connection, *meters: str) -> float:
    """Seconds."""
    began_s = time.perf_counter()
    for billed in Run(domain, telemetry, month=_MONTH, meters=meters, clock=lambda: _NOW):
        if billed.state != "done":
            raise RuntimeError(f"{billed.meter}: {billed.findings}")
    return time.perf_counter() - began_s


def _pass(telemetry: psycopg.Connection, meters: int) -> float:
    """Seconds."""
    month = telemetry.execute(
        f"SELECT {_FROM} AS first, array_agg(d + h * INTERVAL '1 hour' ORDER BY d, h)"
        f" FROM generate_series({_FROM}, {_FROM} + INTERVAL '29 days', INTERVAL '1 day') AS d,"
        " unnest(ARRAY[0, 6, 22]) AS h WHERE h = 0 OR EXTRACT(isodow FROM d AT TIME ZONE 'Europe/Berlin') < 6"
    ).fetchone()
    assert month is not None
    asked = {"before": _BEFORE, "from": month[0], "to": month[0] + timedelta(days=30), "starts": month[1]}
    began_s = time.perf_counter()
    found = telemetry.execute(_PASS, asked).fetchone()
    took_s = time.perf_counter() - began_s
    if found is None or found[0] != meters * len(month[1]):
        raise RuntimeError(f"the pass found {found} of {meters} meters")
    return took_s


def _require_all(domain: psycopg.Connection, telemetry: psycopg.Connection, meters: int) -> None:
    billed = domain.execute("SELECT count(*), sum(energy_import_wh) FROM invoices WHERE status = 'final'").fetchone()
    taken = telemetry.execute(
        "SELECT %s::bigint, sum(energy_import_wh) FROM aggregates_15m WHERE meter_id <> ALL (%s)", [meters, _GENERATORS]
    ).fetchone()
    if billed != taken:
        raise RuntimeError(f"bills have {billed}, the meters took {taken}")


@contextmanager
def _stored(folder: Path, meters: int) -> Iterator[PostgresServer]:
    with both(folder, helpers=1) as server:
        with psycopg.connect(server.dsn("domain"), autocommit=True) as domain:
            for statement in _REGISTRY:
                domain.execute(statement, {"meters": meters, "generators": _GENERATORS})
            since = datetime(2026, 1, 1, tzinfo=UTC)
            for code, document in (("bench", _DOCUMENT), ("solar", _SELLS)):
                normal = json.dumps(settled(validate(document)))
                domain.execute("SELECT tariff_add(%s, %s, 'north', %s, NULL, NULL, now())", [code, normal, since])
            domain.execute(
                "SELECT meter_assign(o.meter_code, CASE WHEN g.generator_id IS NULL THEN 'bench' ELSE 'solar' END, %s,"
                " now()) FROM meters AS o LEFT JOIN meter_generators AS g USING (meter_id)"
                " WHERE o.meter_id <> ALL (%s)",
                [since, _GENERATORS],
            )
            domain.execute("VACUUM ANALYZE")
        with psycopg.connect(server.dsn("telemetry"), autocommit=True) as telemetry:
            telemetry.execute(_INTERVALS.encode(), [meters])
            # All is computed that there is to compute.
            telemetry.execute("TRUNCATE dirty_intervals, dirty_meters")
            telemetry.execute("VACUUM ANALYZE")
            telemetry.execute("CHECKPOINT")
        yield server
