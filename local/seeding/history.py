"""A month that is lived through day by day, by a receiver and by workers whose clock stands in each day in its turn.

All of it at once would be refused, and rightly: readings are accepted for a week, because raw readings are kept for a
week, and energy is computed from them. But time is a parameter of all that stores and computes. So it is the receiver's
own application and the workers' own steps that run here, with the acceptance, the horizons and the rights that they
always have. Only their clock is the history's.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from cloud.app import build
from cloud.db.pool import make_pool
from cloud.db.queries import Queries
from cloud.ingest.acceptance import ACCEPTANCE
from cloud.ingest.admission import Admission
from cloud.ingest.receiver import Limits, Receiver
from cloud.workers import aggregate, vee
from contract.batch import Batch, DeviceBlock, Flag
from contract.codec import PACKED, compress, encode
from contract.terms import Number
from local.seeding.curve import QUARTER
from local.seeding.errors import SeedingError
from local.seeding.folder import GATEWAY, Note
from local.seeding.plan import INTERVAL_MS, Meter

# By then the quarter-hour that the last read lies in is over, and so is the wait of its region.
SETTLED = timedelta(minutes=30)
_PER_DAY = timedelta(days=1) // QUARTER
_STATEMENT_TIMEOUT_S = 120
_STEPS = {work.name: work.step for work in (*aggregate.works(pause_s=1), *vee.works(pause_s=1))}
# Only one worker at a time has a block of meters.
_OF_METERS = ("minutes", "quarters")
_OF_DAYS = ("regions", "vee")
_RETENTION, _SEEDING = Queries("retention"), Queries("seeding")
_CHUNKS_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Day:
    """A batch: reads from `first` to before `last`, delivered when `now` was."""

    seq: int
    first: int
    last: int
    now: datetime


def days(note: Note) -> Iterator[Day]:
    """Each ends with the read at midnight UTC, the last with the last read."""
    first = 0
    for number in range(-(-note.quarters // _PER_DAY)):
        last = min((number + 1) * _PER_DAY, note.quarters) + 1
        yield Day(number + 1, first, last, note.begin + (last - 1) * QUARTER + SETTLED)
        first = last


async def live(
    note: Note, meters: list[Meter], *, ingest_dsn: str, worker_dsn: str, say: Callable[[str], None]
) -> None:
    """Deliver what has not been delivered yet, and compute all of it. Raises SeedingError, psycopg's errors."""
    clock = _Clock(note.begin)
    async with (
        make_pool(ingest_dsn, name="segs-history", size=2, statement_timeout_s=_STATEMENT_TIMEOUT_S) as receiving,
        make_pool(worker_dsn, name="segs-history", size=2, statement_timeout_s=_STATEMENT_TIMEOUT_S) as computing,
        _gateway(note, receiving, clock) as gateway,
    ):
        done = await _delivered(gateway, note)
        if not done:
            # What earlier days have left, and what the registration of exchanges has marked, is of the present.
            await _work_off(computing, (*_OF_METERS, *_OF_DAYS), datetime.now(UTC))
        async with asyncio.TaskGroup() as group:
            day_before: asyncio.Task[None] | None = None
            for day in days(note):
                if day.seq < done:
                    continue
                clock.now = day.now
                await _deliver(gateway, note, meters, day)
                await _work_off(computing, _OF_METERS, day.now)
                if day_before is not None:
                    await day_before
                await _forget(computing, day.now)
                # Goes on beside the next day's meters.
                day_before = group.create_task(_work_off(computing, _OF_DAYS, day.now))
                if day.seq % 10 == 0:
                    say(f"history: {day.seq} of {-(-note.quarters // _PER_DAY)} days")
        await _forget(computing, clock.now)


class _Clock:
    """Tells when it is in the history."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


def _gateway(note: Note, pool: AsyncConnectionPool[AsyncConnection], clock: _Clock) -> httpx.AsyncClient:
    """The receiver, as the gateway of the history sees it."""
    receiver = Receiver(
        pool=pool,
        admission=Admission(in_flight=4, per_gateway=4),
        clock=clock,
        limits=Limits(),
        acceptance=ACCEPTANCE,
    )

    async def ready() -> str | None:
        return None

    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=build(receiver=receiver, ready=ready)),
        base_url="http://history",
        headers={"Authorization": f"Bearer {note.key}"},
    )


async def _work_off(pool: AsyncConnectionPool[AsyncConnection], kinds: Sequence[str], now: datetime) -> None:
    """The workers' steps of these kinds, until there is nothing more to do."""
    async with pool.connection() as connection:
        for kind in kinds:
            while await _STEPS[kind](connection, now):
                pass


async def _forget(pool: AsyncConnectionPool[AsyncConnection], now: datetime) -> None:
    """Drop what retention would have dropped by `now`, as the workers do it. Of the past nobody is alarmed."""
    async with pool.connection() as connection:
        await connection.execute(_SEEDING["forget_alerts"], {"gateway": GATEWAY})
        await connection.execute(_RETENTION["drop_expired_chunks"], {"limit": _CHUNKS_AT_ONCE, "now": now})


async def _delivered(gateway: httpx.AsyncClient, note: Note) -> int:
    """The last batch that the receiver has; 0 before the first."""
    answer = await gateway.get(f"/ingest/v1/streams/{note.stream}")
    if not answer.is_success:
        raise SeedingError(f"the receiver does not know the history's gateway: {answer.text}")
    return max((last for _, last in answer.json()["received"]), default=0)


async def _deliver(gateway: httpx.AsyncClient, note: Note, meters: list[Meter], day: Day) -> None:
    batch = Batch(version=2, stream=note.stream, seq=day.seq, devices=[_block(note, meter, day) for meter in meters])
    answer = await gateway.post(
        "/ingest/v1/batches",
        content=compress(encode(batch, PACKED), "zstd"),
        headers={"Content-Type": PACKED, "Content-Encoding": "zstd"},
    )
    if not answer.is_success or answer.json()["stored"] + answer.json()["duplicates"] != batch.readings:
        raise SeedingError(f"batch {day.seq} of the history was not stored: {answer.text}")


def _registers(meter: Meter, some: slice) -> dict[str, list[Number]]:
    return {name: [*values[some]] for name, values in meter.registers.items()}


def _block(note: Note, meter: Meter, day: Day) -> DeviceBlock:
    some = slice(day.first, day.last)
    begin_us, step_us = round(note.begin.timestamp() * 1e6), round(QUARTER.total_seconds() * 1e6)
    return DeviceBlock(
        device=meter.device,
        time_us=[begin_us + number * step_us for number in range(day.first, day.last)],
        values={
            "power_w": meter.shows.power_w[some].tolist(),
            "voltage_l1_v": meter.shows.voltage_v[some].tolist(),
            **_registers(meter, some),
        },
        flags=[Flag.TIME_FROM_DEVICE] * (day.last - day.first),
        interval_ms=INTERVAL_MS,
    )
