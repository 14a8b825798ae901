"""What a reading costs, from body to minute, by how many meters it is one of."""

import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import uvloop

from bench.aggregate import work_off
from bench.cluster import cluster, database
from bench.fleet import Gateway, gateways
from bench.load import Load
from bench.million import PRODUCTION
from bench.programs import programs
from bench.result import Result
from bench.sender import post_all
from bench.usage import Usage
from cloud.gateways.key import Key
from contract.codec import PACKED

_METERS = (1000, 10_000, 100_000, 1_000_000)
_MOST_APART = 1.5
# The first minute has none before it.
_LEAST_MINUTES = 3


def run(*, up_to: int, batches: int, home: Path) -> Iterator[Result]:
    """Batches of a minute of 1,000 meters: `batches` of them, or three of each where there are more meters."""
    meters = [number for number in _METERS if number <= up_to]
    costs = [_cost_us(number, batches, home) for number in meters]
    for number, cost in zip(meters, costs, strict=True):
        yield Result.told(f"scale: {number:,} meters", "CPU us/reading", cost)
    yield Result.limit("scale: dearest over cheapest", "times", max(costs) / min(costs), at_most=_MOST_APART)


def _cost_us(meters: int, batches: int, home: Path) -> float:
    """Processor time of receiver, PostgreSQL and the worker's statements, which one connection makes each minute."""
    load = Load(meters=meters, devices=1000, per_device=6, cadence_s=10)
    a_round = meters // load.devices
    rounds = max(_LEAST_MINUTES, batches // a_round)
    key, names = Key.generate(), [f"m{n}" for n in range(meters)]
    with (
        TemporaryDirectory(dir=home, prefix="bench-") as folder,
        cluster(Path(folder), names, key, cadence_s=load.cadence_s, settings=PRODUCTION) as server,
        database(server, "scale") as dsn,
        programs(dsn, 1, 0) as ((port,), usages),
        psycopg.connect(dsn, autocommit=True) as connection,
    ):
        begin_us = (time.time_ns() // 60_000_000_000 - rounds - 60) * 60_000_000
        fleet = gateways(load, start_us=begin_us)
        used = [*usages.values(), Usage(server.pid or 0)]
        for usage in used:
            usage.reset()
        for number in range(rounds):
            uvloop.run(post_all(port, key.text, PACKED, _bodies(fleet, number), connections=4))
            work_off(connection, "aggregate_readings")
        work_off(connection, "aggregate_quarters")
        for usage in used:
            usage.look()
        return sum(usage.cpu_s for usage in used) * 1e6 / (load.readings_per_batch * a_round * rounds)


def _bodies(fleet: list[Gateway], number: int) -> Iterator[bytes]:
    return (gateway.body(number) for gateway in fleet)
