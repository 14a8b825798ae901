"""From an HTTP body to a committed row, against psql's binary COPY of the same rows into the same table."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import uvloop

from bench.cluster import cluster, database
from bench.load import Load, wire
from bench.programs import programs
from bench.result import Result
from bench.sender import post_all
from cloud.gateways.key import Key
from cloud.ingest import binary_copy
from cloud.ingest.acceptance import Window
from cloud.ingest.columns import sort_out
from cloud.ingest.portion import portions
from cloud.ingest.registry import Assignment, Registry
from contract.batch import Batch
from contract.codec import MSGPACK, PACKED
from local.servers import PostgresServer

_CONNECTIONS = 4
_ALWAYS = (-(2**63), 2**63 - 1)
# Of 100 meters each their last 50 readings, as a backlog comes; of 5,000 meters one each, as live readings do.
_BACKLOG = Load(meters=1000, devices=100, per_device=50)
_LIVE = Load(meters=5000, devices=5000, per_device=1)


def run(*, batches: int, rounds: int, home: Path) -> Iterator[Result]:
    """`rounds` rounds of `batches` batches of 5,000 readings, ours and the peer's in turn, each in a new database."""
    yield _measured("ingest", _BACKLOG, PACKED, batches, rounds, home, at_least=0.75)
    yield _measured("ingest: a reading of each meter", _LIVE, PACKED, batches, rounds, home)
    yield _measured("ingest: MessagePack", _BACKLOG, MSGPACK, batches, rounds, home)
    name = "ingest with a worker, until the last minute is computed"
    yield _measured(name, _BACKLOG, PACKED, 4 * batches, rounds, home, at_least=0.35, worker=True)


def _measured(
    name: str,
    load: Load,
    media_type: str,
    batches: int,
    rounds: int,
    home: Path,
    *,
    at_least: float | None = None,
    worker: bool = False,
) -> Result:
    # The newest reading is an hour old, and the oldest well inside what the receiver takes.
    now_us = time.time_ns() // 1000
    made = list(load.batches(batches, start_us=now_us - load.span_us(batches) - 3_600_000_000))
    key, names = Key.generate(), [f"m{n}" for n in range(load.meters)]
    with (
        TemporaryDirectory(dir=home, prefix="bench-") as folder,
        cluster(Path(folder), names, key) as server,
    ):
        files = _copy_files(Path(folder), made, load)
        bodies = [wire(batch, media_type) for batch in made]
        ours, peers = [], []
        for number in range(rounds):
            with database(server, f"ours_{number}") as dsn:
                ours.append(load.readings_per_batch * batches / _post_all(dsn, key, media_type, bodies, worker=worker))
                _expect_rows(dsn, load.readings_per_batch * batches)
                if worker:
                    _expect_minutes(dsn, load.readings_per_batch * batches)
            with database(server, f"peer_{number}") as dsn:
                peers.append(load.readings_per_batch * batches / _psql(server, dsn, files))
                _expect_rows(dsn, load.readings_per_batch * batches)
        return Result(
            name=name,
            unit="rows/s",
            figures=ours,
            peer="psql binary COPY, one connection",
            peer_figures=peers,
            at_least=at_least,
            edition=server.edition,
        )


def _copy_files(folder: Path, made: list[Batch], load: Load) -> list[Path]:
    """The same rows, columns and transactions as COPY files."""
    assignments: dict[tuple[int, str], tuple[Assignment, ...]] = {
        (1, f"m{n}"): (Assignment(*_ALWAYS, n + 1),) for n in range(load.meters)
    }
    registry = Registry(1, {}, assignments)
    files = []
    for batch in made:
        rows = sort_out(portions(batch.devices), 1, registry, Window(*_ALWAYS)).rows
        files.append(folder / f"{batch.seq}.copy")
        files[-1].write_bytes(b"".join(binary_copy.pieces(rows, batch.seq)))
    return files


def _psql(server: PostgresServer, dsn: str, files: list[Path]) -> float:
    """Seconds that psql takes, its start not counted."""
    names = "time, meter_id, flags, batch_id, power_w, power_factor, voltage_l1_v, voltage_l2_v, voltage_l3_v,"
    names += " current_l1_a, frequency_hz, energy_import_wh"
    script = "\n".join(f"\\copy raw_readings ({names}) FROM '{file}' WITH (FORMAT binary)" for file in files)
    command = [str(server.installation.program("psql")), "-X", "-q", "-v", "ON_ERROR_STOP=1", dsn]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\\echo ready\n")
    process.stdin.flush()
    process.stdout.readline()
    started = time.perf_counter()
    process.stdin.write(script + "\n\\echo done\n")
    process.stdin.close()
    process.stdout.read()
    if process.wait():
        raise RuntimeError("psql failed")
    return time.perf_counter() - started


def _post_all(dsn: str, key: Key, media_type: str, bodies: list[bytes], *, worker: bool) -> float:
    """Seconds from the first body to the last receipt, or to the last minute computed by a worker beside it."""
    with programs(dsn, 1, 1 if worker else 0) as ((port,), _):
        took_s = uvloop.run(post_all(port, key.text, media_type, bodies, connections=_CONNECTIONS))
        return took_s + (_worked_off_s(dsn) if worker else 0)


def _worked_off_s(dsn: str) -> float:
    """Seconds until no minute waits to be computed."""
    started_s = time.perf_counter()
    with psycopg.connect(dsn, autocommit=True) as connection:
        while connection.execute("SELECT FROM dirty_meters WHERE resolution_min = 1 LIMIT 1").fetchone() is not None:
            time.sleep(0.05)
    return time.perf_counter() - started_s


def _expect_rows(dsn: str, count: int) -> None:
    """A figure counts only when every row is there."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT count(*) FROM raw_readings WHERE time > to_timestamp(0)").fetchone()
    if row != (count,):
        raise RuntimeError(f"{row} rows are stored, not {count}")


def _expect_minutes(dsn: str, readings: int) -> None:
    """Or when every reading is in a minute."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT sum(samples) FROM aggregates_1m WHERE bucket > to_timestamp(0)").fetchone()
    if row != (readings,):
        raise RuntimeError(f"{row} readings are in minutes, not {readings}")
