"""From raw readings to minutes and quarter-hours, against one plain GROUP BY of the same readings."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import psycopg

from bench.cluster import cluster, database
from bench.load import Load
from bench.result import Result
from cloud.db.queries import Queries
from cloud.gateways.key import Key
from cloud.ingest import binary_copy

_QUERIES = Queries("aggregate")
# As cloud.workers.aggregate claims.
_MARKS_AT_ONCE = 500
_QUANTITIES = (
    *("power_w", "voltage_l1_v", "voltage_l2_v", "voltage_l3_v", "current_l1_a", "current_l2_a", "current_l3_a"),
    *("frequency_hz", "power_factor"),
)
_PLAIN = "SELECT meter_id, time_bucket(INTERVAL '1 minute', time) AS bucket, count(*) AS samples"
_PLAIN += "".join(
    f", count({q}) AS {q}_count, min({q}) AS {q}_min, max({q}) AS {q}_max, sum({q}::double precision) AS {q}_sum"
    for q in _QUANTITIES
)
_PLAIN += " FROM raw_readings WHERE time >= %s AND time < %s GROUP BY 1, 2"
# Neither side spills to disk, nor waits for its commits.
_SETTINGS = {"work_mem": "64MB", "max_wal_size": "8GB", "shared_buffers": "1GB"}


def run(*, minutes: int, rounds: int, home: Path) -> Iterator[Result]:
    """`minutes` of 1,000 meters at 1 s, then of 4,000 at 10 s; ours and the peer's in turn, on copies of one database.

    Both twice: when all of it has come, as a worker catches up, and with a claim as each minute ends.
    """
    # Batches as gateways in touch with their receiver send them: of what was read a moment ago.
    every_second = Load(meters=1000, devices=1000, per_device=5)
    every_ten = Load(meters=4000, devices=4000, per_device=1, cadence_s=10)
    yield from _measured("aggregate: meters at 1 s", every_second, minutes, rounds, home, at_least=0.5)
    yield from _measured("aggregate: meters at 10 s", every_ten, minutes, rounds, home)


def _measured(
    name: str, load: Load, minutes: int, rounds: int, home: Path, *, at_least: float | None = None
) -> Iterator[Result]:
    # A whole number of quarter-hours, well inside what is kept.
    first = datetime.fromtimestamp(time.time() // 86_400 * 86_400, UTC) - timedelta(days=1)
    last = first + timedelta(minutes=minutes)
    names = [f"m{n}" for n in range(load.meters)]
    with (
        TemporaryDirectory(dir=home, prefix="bench-") as folder,
        cluster(Path(folder), names, Key.generate(), cadence_s=load.cadence_s, settings=_SETTINGS) as server,
        database(server, "stored") as stored,
    ):
        readings = _store(stored, load, first, last)
        caught_up: list[float] = []
        followed: list[float] = []
        peers: list[float] = []
        for number in range(rounds):
            for figures, every in ((caught_up, minutes), (followed, 1)):
                with database(server, f"ours_{number}", template="stored") as dsn:
                    figures.append(readings / _aggregate(dsn, first, last, timedelta(minutes=every)))
                    _expect(dsn, "aggregates_1m", load.meters * minutes)
                    _expect(dsn, "aggregates_15m", load.meters * minutes // 15)
            with database(server, f"peer_{number}", template="stored") as dsn:
                peers.append(readings / _group(dsn, first, last))
                _expect(dsn, "plain", load.meters * minutes)
        for how, figures, bound in (("", caught_up, at_least), (", minute by minute", followed, None)):
            yield Result(
                name=name + how,
                unit="readings/s",
                figures=figures,
                peer="plain GROUP BY, without energy and quarter-hours",
                peer_figures=peers,
                at_least=bound,
                edition=server.edition,
            )


def _store(dsn: str, load: Load, first: datetime, last: datetime) -> int:
    """Batches as the receiver writes and marks them; how many readings."""
    start_us = round(first.timestamp() * 1e6)
    span_us = round((last - first).total_seconds() * 1e6)
    batches = span_us // load.span_us(1) * (load.meters // load.devices)
    count = 0
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        for number, rows in enumerate(load.rows(batches, start_us=start_us)):
            columns = ", ".join(("time", "meter_id", "flags", "batch_id", *rows.values))
            with cursor.copy(f"COPY raw_readings ({columns}) FROM STDIN (FORMAT binary)") as copy:
                for piece in binary_copy.pieces(rows, number + 1):
                    copy.write(piece)
            newest = datetime.fromtimestamp(int(rows.time_us.max()) / 1e6, UTC)
            oldest = datetime.fromtimestamp(int(rows.time_us.min()) / 1e6, UTC)
            marked = (np.unique(rows.meter_id).tolist(), oldest, newest, newest)
            cursor.execute("SELECT mark_meters(1, %s, %s, %s, %s)", marked)
            count += len(rows)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE) raw_readings")
        connection.execute(f"CREATE TABLE plain AS {_PLAIN} LIMIT 0", (first, last))
    return count


def _aggregate(dsn: str, first: datetime, last: datetime, every: timedelta) -> float:
    """Seconds in which one worker that looks `every` so often computes what has become due."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        started_s = time.perf_counter()
        now = first
        while now < last:
            now += every
            for queue in ("aggregate_readings", "aggregate_quarters"):
                # By then minutes and quarter-hours that ended are due.
                work_off(connection, queue, now + timedelta(seconds=40))
        return time.perf_counter() - started_s


def work_off(connection: psycopg.Connection, queue: str, now: datetime | None = None) -> None:
    """All that is due at `now`, claim by claim, as a worker does; all there is without one. Raises RuntimeError."""
    wanted = {"limit": _MARKS_AT_ONCE, "now": now or datetime.now(UTC), "early": now is None}
    while True:
        row = connection.execute(_QUERIES[queue], wanted).fetchone()
        if row is None or row[2]:
            raise RuntimeError(f"{queue} set marks aside: {row}")
        if not row[0]:
            return


def _group(dsn: str, first: datetime, last: datetime) -> float:
    with psycopg.connect(dsn, autocommit=True) as connection:
        started_s = time.perf_counter()
        connection.execute(f"INSERT INTO plain {_PLAIN}", (first, last))
        return time.perf_counter() - started_s


def _expect(dsn: str, table: str, count: int) -> None:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(f"SELECT count(*) FROM {table} WHERE bucket > to_timestamp(0)").fetchone()
    if row != (count,):
        raise RuntimeError(f"{table} has {row} rows, not {count}")
