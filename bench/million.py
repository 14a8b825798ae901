"""Many meters live: receivers and workers as in production on one PostgreSQL, readings at the pace of the clock."""

import asyncio
import os
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory

import psycopg
import uvloop

from bench.cluster import cluster, database
from bench.fleet import Gateway, gateways
from bench.load import Load
from bench.programs import programs
from bench.result import Result
from bench.sender import Connection
from bench.usage import Usage
from cloud.gateways.key import Key

PRODUCTION = {
    "shared_buffers": "4GB",
    "max_wal_size": "16GB",
    "checkpoint_timeout": "15min",
    "wal_compression": "lz4",
    "work_mem": "32MB",
    "autovacuum_naptime": "15s",
}
_CONNECTIONS = 6
_MOST_BYTES = 512 << 20


@dataclass(slots=True)
class _Seen:
    """What was seen while the meters ran."""

    accepted: int = 0
    late_s: list[float] = field(default_factory=list)
    """Of each batch, from when it was due to its receipt."""
    ages_s: list[float] = field(default_factory=list)
    """Of the newest minute all of whose readings are computed, from its end."""
    overdue_s: list[float] = field(default_factory=list)


def run(
    *, meters: int, cadence_s: float, minutes: float, home: Path, receivers: int = 1, workers: int = 1
) -> Iterator[Result]:
    load = Load(meters=meters, devices=min(meters, 5000), per_device=1, cadence_s=cadence_s)
    key = Key.generate()
    with (
        TemporaryDirectory(dir=home, prefix="bench-") as folder,
        cluster(
            Path(folder), [f"m{n}" for n in range(meters)], key, cadence_s=cadence_s, settings=PRODUCTION
        ) as server,
        database(server, "live") as dsn,
        programs(dsn, receivers, workers) as (ports, usages),
    ):
        usages["PostgreSQL"] = Usage(server.pid or 0)
        fleet = gateways(load, start_us=0)
        for usage in usages.values():
            usage.reset()
        own_s = _own_cpu_s()
        started_s = time.monotonic()
        seen = uvloop.run(_live(fleet, load, minutes, ports, key.text, dsn, list(usages.values())))
        took_s = time.monotonic() - started_s
        own_s = _own_cpu_s() - own_s
        _expect_rows(dsn, seen.accepted)
        yield from _results(load, seen, took_s, own_s, usages)


def _results(load: Load, seen: _Seen, took_s: float, own_s: float, usages: dict[str, Usage]) -> Iterator[Result]:
    asked = load.meters / load.cadence_s
    name = f"million: {load.meters:,} meters at {load.cadence_s:g} s"
    # What is under way when the clock stops is a batch a connection.
    yield Result.limit(f"{name}, accepted", "readings/s", seen.accepted / took_s, at_least=asked * 0.98)
    yield Result.limit(f"{name}, receipt, p99", "s", quantiles(seen.late_s, n=100)[98], at_most=load.cadence_s)
    yield Result.limit(f"{name}, newest complete minute, oldest", "s", max(seen.ages_s), at_most=120.0)
    yield Result.limit(f"{name}, most overdue mark", "s", max(seen.overdue_s), at_most=60.0)
    cores = os.cpu_count() or 1
    yield Result.told(f"{name}, the generator's share of the machine", "%", 100 * own_s / took_s / cores)
    for program, usage in usages.items():
        used = f"{name}, {program}"
        yield Result.told(used, "CPU us/reading", usage.cpu_s * 1e6 / seen.accepted)
        yield Result.limit(f"{used}, memory", "MB", usage.most_bytes / 1e6, at_most=_MOST_BYTES / 1e6)


async def _live(
    fleet: list[Gateway], load: Load, minutes: float, ports: list[int], key: str, dsn: str, usages: list[Usage]
) -> _Seen:
    """Every gateway sends in each round, one after the other, evenly spread over it."""
    seen, round_s = _Seen(), load.span_us(1) / 1e6
    rounds = round(minutes * 60 / round_s)
    begin_s = time.time() + 1
    unit = 10 ** fleet[0].group.time.decimals
    for gateway in fleet:
        # A batch is of what was read just before.
        gateway.group.time.low += round((begin_s - round_s) * 1e6) // unit
    due: asyncio.Queue[tuple[float, Gateway, int] | None] = asyncio.Queue()
    async with asyncio.TaskGroup() as group:
        watch = group.create_task(_watch(seen, dsn, usages, begin_s))
        senders = [group.create_task(_send(due, ports[n % len(ports)], key, load, seen)) for n in range(_CONNECTIONS)]
        for number in range(rounds):
            for nth, gateway in enumerate(fleet):
                at_s = begin_s + (number + nth / len(fleet)) * round_s
                await asyncio.sleep(max(0.0, at_s - time.time()))
                due.put_nowait((at_s, gateway, number))
        # Who cannot keep up is not waited for.
        await asyncio.sleep(max(0.0, begin_s + rounds * round_s - time.time()))
        while not due.empty():
            due.get_nowait()
        for _ in senders:
            due.put_nowait(None)
        await asyncio.wait(senders)
        watch.cancel()
    return seen


async def _send(
    due: "asyncio.Queue[tuple[float, Gateway, int] | None]", port: int, key: str, load: Load, seen: _Seen
) -> None:
    async with Connection(port, key) as connection:
        while (item := await due.get()) is not None:
            at_s, gateway, number = item
            await connection.post(gateway.body(number))
            seen.late_s.append(time.time() - at_s)
            seen.accepted += load.readings_per_batch


async def _watch(seen: _Seen, dsn: str, usages: list[Usage], begin_s: float) -> None:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        while True:
            for usage in usages:
                usage.look()
            cursor = await connection.execute(
                "SELECT EXTRACT(epoch FROM min(first_time))::float8, EXTRACT(epoch FROM min(due_at))::float8"
                " FROM dirty_meters WHERE resolution_min = 1"
            )
            oldest_s, due_s = await cursor.fetchone() or (None, None)
            now_s = time.time()
            seen.ages_s.append(now_s - max(begin_s, (oldest_s or now_s) // 60 * 60))
            seen.overdue_s.append(max(0.0, now_s - (due_s or now_s)))
            await asyncio.sleep(5)


def _own_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _expect_rows(dsn: str, count: int) -> None:
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT count(*) FROM raw_readings WHERE time > to_timestamp(0)").fetchone()
    if row != (count,):
        raise RuntimeError(f"{row} readings are stored, not {count}")
