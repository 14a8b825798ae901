"""After hours offline: how fast the backlog drains, how old live readings are meanwhile, how much memory it takes."""

import asyncio
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.error import URLError

import psycopg

from bench import profiles
from bench.cluster import cluster, database
from bench.daemon import KEY, Usage, gateway
from bench.household import Households
from bench.polling import buses
from bench.result import Result
from cloud.gateways.key import Key
from edge.buffer.limits import Limits
from edge.buffer.store import Store
from edge.clock import Clock
from edge.reading import Reading
from local.servers import free_port
from peers import libmodbus

_METERS = 50
# Of the meters on the wire: those that may have the value that they all have.
_QUANTITIES = 6
_ENDED_S = 120
"""How long ago the outage ended: live readings come after it."""
_LONGEST_S = 3600
_LOOK_S = 0.5


def run(*, hours: float, home: Path) -> list[Result]:
    """50 meters at 1 s after `hours` offline, with a real receiver and database on the same machine."""
    with (
        TemporaryDirectory(dir=home, prefix="bench-") as name,
        libmodbus.tcp_server(devices=_METERS, registers=profiles.served()) as ports,
    ):
        folder = Path(name)
        devices = [f"meter-{port}" for port in ports]
        with cluster(folder, devices, Key(KEY)) as server, database(server, "drain") as dsn:
            (folder / "data").mkdir()
            before_us = time.time_ns() // 1000 - _ENDED_S * 1_000_000
            waiting = asyncio.run(_fill(folder / "data", devices, round(hours * 3600), before_us))
            with _receiver(dsn) as url:
                config = buses(ports, profiles.integers(folder, _QUANTITIES))
                watched = _watch(folder, config, url, dsn, waiting, before_us)
    took_s, lag_s, resident_bytes = watched
    what = f"drain: {waiting} readings, {hours:g} h of {_METERS} meters"
    return [
        Result(
            name=what,
            unit="readings/s",
            figures=[waiting / took_s],
            peer="limit",
            peer_figures=[20_000],
            at_least=1.0,
        ),
        Result.limit(f"{what}: age of the newest live reading of the worst meter", "s", lag_s, at_most=5),
        Result.limit(f"{what}: resident memory of the gateway", "MB", resident_bytes / 1e6, at_most=80),
    ]


async def _fill(data_dir: Path, devices: Sequence[str], seconds: int, until_us: int) -> int:
    """A buffer as the gateway leaves it after `seconds` without a receiver, a commit a second. Returns its readings."""
    store = Store(path=data_dir / "buffer.sqlite", clock=Clock(), limits=Limits(max_bytes=2**30))
    await store.open()
    done = 0
    while done < seconds:
        count = min(600, seconds - done)
        start_us = until_us - (seconds - done) * 1_000_000
        blocks = list(Households(meters=_METERS, cadence_s=1, seed=done).blocks(count, start_us=start_us))
        for row in range(count):
            group = []
            for device, block in zip(devices, blocks, strict=True):
                values = {name: value for name, column in block.values.items() if (value := column[row]) is not None}
                group.append(Reading(device, block.time_us[row], values, 0, 1000))
            await store.commit(group)
        done += count
    waiting = (await store.backlog()).readings
    await store.close()
    return waiting


@contextmanager
def _receiver(dsn: str) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "cloud", "serve", "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(command, env=os.environ | {"SEGS_TELEMETRY_DSN": dsn}, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        _await_ready(f"{url}/readyz")
        yield url
    finally:
        process.terminate()
        process.wait()


def _await_ready(url: str) -> None:
    deadline_s = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (URLError, OSError):
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.1)


def _watch(folder: Path, config: str, url: str, dsn: str, waiting: int, before_us: int) -> tuple[float, float, int]:
    """Seconds until all that waited is stored, the oldest that live readings were, and the most memory there was.

    Live readings are looked at from when each meter has one until the backlog is gone.
    """
    lag_s = resident = 0.0
    with gateway(folder, config, url) as process, psycopg.connect(dsn, autocommit=True) as db:
        began_s = first_s = None
        started_s = time.monotonic()
        stored = 0
        while stored < waiting:
            time.sleep(_LOOK_S)
            now_s = time.monotonic()
            if now_s - started_s > _LONGEST_S:
                raise RuntimeError(f"{stored} of {waiting} readings after {_LONGEST_S} s")
            resident = max(resident, Usage.of(process.pid).resident_bytes)
            [(stored,)] = db.execute(
                "SELECT COALESCE(sum(stored), 0)::bigint - (SELECT count(*) FROM raw_readings"
                " WHERE time > to_timestamp(%s / 1e6)) FROM ingest_batches",
                [before_us],
            ).fetchall()
            [(meters, oldest_s)] = db.execute(
                "SELECT count(*), extract(epoch FROM clock_timestamp() - min(newest))::float8 FROM (SELECT max(time)"
                " AS newest FROM raw_readings WHERE time > to_timestamp(%s / 1e6) GROUP BY meter_id) AS live",
                [before_us],
            ).fetchall()
            if stored and began_s is None:
                began_s = now_s
            if meters == _METERS:
                first_s = first_s or now_s
                lag_s = max(lag_s, oldest_s)
        if began_s is None or first_s is None:
            raise RuntimeError("no live reading came before the backlog was gone")
        return time.monotonic() - began_s + _LOOK_S, lag_s, int(resident)
