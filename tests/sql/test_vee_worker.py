"""The workers that validate and notice silence: a mark that fails holds up no other; many workers do all once."""

import asyncio
from typing import Any

import psycopg
from prometheus_client import REGISTRY

from cloud.workers import silence, vee
from tests.sql.conftest import MINUTE, Telemetry
from tests.sql.quarters import DAY, SUNDAY, put

NOW = SUNDAY + 3 * DAY
SPIKE = [100, 101] * 20 + [900] + [100] + [101, 100] * 27


async def _step(dsn: str, work: Any, *, times: int = 1) -> None:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        for _ in range(times):
            await work(connection, NOW)


async def test_workers_share_the_marks_and_find_everything_once(telemetry: Telemetry) -> None:
    """C11"""
    for _ in range(8):
        put(telemetry, telemetry.meter(), SUNDAY, SPIKE)
    await asyncio.gather(*(_step(telemetry.dsn, vee.validate, times=3) for _ in range(3)))
    assert telemetry.rows("SELECT count(*) AS n FROM vee_findings") == [{"n": 8}]
    assert telemetry.rows("SELECT count(*) AS n FROM dirty_intervals") == [{"n": 0}]


async def test_a_mark_that_fails_waits_and_holds_up_no_other(telemetry: Telemetry) -> None:
    """C12"""
    poisoned, sound = telemetry.meter(), telemetry.meter()
    put(telemetry, poisoned, SUNDAY, [1])
    put(telemetry, sound, SUNDAY, SPIKE)
    telemetry.do(f"ALTER TABLE vee_meters ADD CONSTRAINT no CHECK (meter_id <> {poisoned})")
    await _step(telemetry.dsn, vee.validate)
    waiting = telemetry.rows("SELECT meter_id, not_before > %s AS later, error FROM dirty_intervals", NOW)
    assert [(row["meter_id"], row["later"]) for row in waiting] == [(poisoned, True)]
    assert "violates check constraint" in str(waiting[0]["error"])
    assert telemetry.rows("SELECT meter_id FROM vee_findings") == [{"meter_id": sound}]


async def test_a_mark_that_was_put_off_is_overdue_only_from_then_on(telemetry: Telemetry) -> None:
    """One that fails again and again would hide how late the others are."""
    mark = (
        "INSERT INTO dirty_intervals (meter_id, first_bucket, last_bucket, marked_at, not_before)"
        f" VALUES (%s, '{SUNDAY}', '{SUNDAY}', %s, %s)"
    )
    telemetry.do(mark, 1, NOW - DAY, NOW - MINUTE)
    telemetry.do(mark, 2, NOW - 3 * MINUTE, SUNDAY)
    [measure] = [work.step for work in vee.works(pause_s=1) if work.name == "vee_lag"]
    await _step(telemetry.dsn, measure)
    assert REGISTRY.get_sample_value("segs_worker_lag_seconds", {"queue": "intervals"}) == 180


async def test_several_workers_mark_a_silent_region_once_a_minute(telemetry: Telemetry) -> None:
    """C10, C11"""
    telemetry.meter()
    await asyncio.gather(*(_step(telemetry.dsn, silence.mark) for _ in range(3)))
    marks = telemetry.rows("SELECT bucket, count(*) AS n FROM dirty_regions GROUP BY 1")
    assert len(marks) >= 8
    assert {row["n"] for row in marks} == {1}


def test_all_of_seven_days_is_looked_at_for_silence_within_three_hours() -> None:
    starts = {begin for minute in range(180) for begin, _ in silence.windows(NOW + minute * silence._EVERY)}
    reach = {(NOW - begin) // silence._PIECE for begin in starts}
    assert reach >= set(range(2, 160))
