"""Workers on real servers: several at once, killed, without a database; none of it leaves a trace in the aggregates."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from prometheus_client import REGISTRY
from psycopg import AsyncConnection

from cloud.db.pool import make_pool
from cloud.schema.apply import apply
from cloud.schema.errors import VersionError
from cloud.workers import aggregate
from cloud.workers.loop import Loop, Pulse, Work
from cloud.workers.runner import WorkerSettings, run
from local.servers import PostgresServer
from tests.sql.conftest import START, Telemetry

# No domain database: what needs it waits, and holds up nothing else.
_NOWHERE = "postgresql://segs@127.0.0.1:1/none?connect_timeout=1"


def _settings(dsn: str, *, metrics_port: int = 0) -> WorkerSettings:
    return WorkerSettings(dsn=dsn, domain_dsn=_NOWHERE, metrics_port=metrics_port, pause_s=0.05, stop_within_s=5)


@asynccontextmanager
async def _working(settings: WorkerSettings, *, workers: int = 1) -> AsyncIterator[None]:
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(run(settings, stop=stop, clock=lambda: START))
        try:
            yield
        finally:
            stop.set()


async def _until(condition: Callable[[], bool], *, within_s: float = 30) -> None:
    await asyncio.to_thread(_poll, condition, time.monotonic() + within_s)


def _poll(condition: Callable[[], bool], deadline_s: float) -> None:
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come to pass"
        time.sleep(0.05)


def _process(dsn: str, *, domain_dsn: str = _NOWHERE) -> subprocess.Popen[bytes]:
    environment = os.environ | {"SEGS_TELEMETRY_DSN": dsn, "SEGS_DOMAIN_DSN": domain_dsn}
    quiet = subprocess.DEVNULL
    return subprocess.Popen([sys.executable, "-m", "cloud", "worker"], env=environment, stdout=quiet, stderr=quiet)


def _idle(telemetry: Telemetry) -> bool:
    waiting = "SELECT (SELECT count(*) FROM dirty_meters) + (SELECT count(*) FROM dirty_regions) AS marks"
    return telemetry.rows(waiting) == [{"marks": 0}]


def _energy(telemetry: Telemetry, table: str = "aggregates_1m") -> Any:
    query = f"SELECT sum(energy_import_wh)::bigint AS wh FROM {table} WHERE bucket >= %s"
    return telemetry.rows(query, START)[0]["wh"]


async def test_what_is_marked_is_computed_up_to_the_region(telemetry: Telemetry) -> None:
    meter_id = telemetry.meter()
    async with _working(_settings(telemetry.dsn)):
        telemetry.registers(meter_id, [(s, 5 * s) for s in range(300)])
        await _until(lambda: _energy(telemetry, "regional_15m") == 1495)
    assert _energy(telemetry) == 1495


async def test_two_workers_share_the_work_and_agree(telemetry: Telemetry) -> None:
    """C11"""
    meters = [telemetry.meter() for _ in range(12)]
    async with _working(_settings(telemetry.dsn), workers=2):
        for part in range(10):
            for meter_id in meters:
                telemetry.registers(meter_id, [(s, meter_id * s) for s in range(part * 45, part * 45 + 45)])
        await _until(lambda: _idle(telemetry))
    assert _energy(telemetry) == sum(meter_id * 449 for meter_id in meters)
    assert _energy(telemetry, "regional_15m") == _energy(telemetry)
    assert telemetry.rows("SELECT DISTINCT quality FROM aggregates_1m WHERE bucket >= %s", START) == [{"quality": 14}]


async def test_a_worker_killed_in_the_middle_of_a_claim_loses_nothing(telemetry: Telemetry) -> None:
    """C6"""
    meter_id = telemetry.meter()
    telemetry.registers(meter_id, [(s, s) for s in range(200)])
    waits = (
        "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        " AND strpos(query, 'aggregate_readings') > 0"
    )
    with psycopg.connect(telemetry.dsn) as holder:
        holder.execute("LOCK TABLE aggregates_1m IN SHARE MODE")
        with _process(telemetry.dsn) as worker:
            try:
                await _until(lambda: bool(telemetry.rows(waits)))
            finally:
                worker.send_signal(signal.SIGKILL)
        holder.rollback()
    await _until(lambda: not telemetry.rows("SELECT FROM pg_stat_activity WHERE application_name = 'segs-worker'"))
    assert not _idle(telemetry)
    async with _working(_settings(telemetry.dsn)):
        await _until(lambda: _idle(telemetry))
    assert _energy(telemetry) == 199


async def test_a_worker_told_to_stop_ends_by_itself(telemetry: Telemetry) -> None:
    connected = "SELECT FROM pg_stat_activity WHERE application_name = 'segs-worker' AND datname = current_database()"
    with _process(telemetry.dsn) as worker:
        await _until(lambda: bool(telemetry.rows(connected)))
        await asyncio.sleep(0.5)
        worker.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(worker.wait, 15) == 0


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[PostgresServer]:
    with PostgresServer(data_dir=tmp_path / "pg", settings={"fsync": "off"}, bound_to_parent=True) as server:
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            connection.execute("CREATE DATABASE telemetry")
        apply(server.dsn("telemetry"), database="telemetry")
        yield server


async def test_a_worker_ends_while_its_copy_of_the_registry_waits_for_another(
    telemetry: Telemetry, domain_db: str
) -> None:
    """The copy runs in a thread, which nothing can cancel: the process stayed until somebody else let go."""
    telemetry.do("SELECT pg_advisory_lock(hashtextextended('segs.registry', 0))")
    worker = _process(telemetry.dsn, domain_dsn=domain_db)
    try:
        waiting = (
            "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            " AND classid::bigint << 32 | objid::bigint = hashtextextended('segs.registry', 0)"
        )
        await _until(lambda: bool(telemetry.rows(waiting)))
        worker.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(worker.wait, 30) == 0
    finally:
        worker.kill()
        worker.wait()


async def test_a_database_that_is_away_at_the_start_and_dies_in_the_middle_is_waited_for(
    own_server: PostgresServer,
) -> None:
    dsn = own_server.dsn("telemetry")
    telemetry = Telemetry(dsn)
    meter_id = telemetry.meter()
    telemetry.registers(meter_id, [(s, s) for s in range(100)])
    telemetry.connection.close()
    own_server.stop()
    async with _working(_settings(dsn)):
        await asyncio.sleep(0.5)
        own_server.start()
        telemetry = _again(dsn)
        await _until(lambda: _energy(telemetry) == 99)
        telemetry.connection.close()
        own_server.kill()
        await asyncio.sleep(0.5)
        own_server.start()
        telemetry = _again(dsn)
        telemetry.registers(meter_id, [(s, s) for s in range(100, 200)])
        await _until(lambda: _energy(telemetry) == 199)
        telemetry.connection.close()


def _again(dsn: str) -> Telemetry:
    telemetry = Telemetry.__new__(Telemetry)
    telemetry.__dict__.update(dsn=dsn, now=START, connection=psycopg.connect(dsn, autocommit=True))
    telemetry.connection.row_factory = psycopg.rows.dict_row
    return telemetry


async def test_a_mark_that_cannot_be_computed_holds_up_no_other(telemetry: Telemetry) -> None:
    """C8, C12: one claim must not fail for ever, nor be forgotten."""
    meters = [telemetry.meter() for _ in range(5)]
    telemetry.do("ALTER TABLE aggregates_1m ADD CONSTRAINT broken CHECK (meter_id <> 3)")
    for meter_id in meters:
        telemetry.registers(meter_id, [(0, 0), (1, 10)])
    async with _working(_settings(telemetry.dsn)):
        await _until(lambda: _idle(telemetry))
        assert _energy(telemetry) == 40
        [failed] = telemetry.rows("SELECT * FROM failed_marks")
        assert failed["meter_id"] == 3
        assert "broken" in str(failed["error"])
    telemetry.do("ALTER TABLE aggregates_1m DROP CONSTRAINT broken")
    telemetry.do("UPDATE failed_marks SET failed_at = failed_at - INTERVAL '2 hours'")
    async with _working(_settings(telemetry.dsn)):
        await _until(lambda: _energy(telemetry) == 50)


@pytest.mark.long
@pytest.mark.parametrize(("queue", "table"), [("minutes", "aggregates_1m"), ("quarters", "aggregates_15m")])
async def test_a_mark_that_takes_longer_than_the_database_allows_holds_up_no_other(
    telemetry: Telemetry, queue: str, table: str
) -> None:
    """C8: a claim that times out would be taken again for ever, and all its marks with it."""
    for meter_id in (telemetry.meter() for _ in range(5)):
        telemetry.registers(meter_id, [(0, 0), (1, 10)])
    telemetry.do(
        "CREATE FUNCTION slow(integer) RETURNS boolean LANGUAGE sql"
        " AS 'SELECT pg_sleep(600 * ($1 = 3)::int) IS NOT NULL'"
    )
    telemetry.do(f"ALTER TABLE {table} ADD CONSTRAINT slow CHECK (slow(meter_id))")
    steps = {work.name: work.step for work in aggregate.works(pause_s=0)}
    for name in ("minutes", "quarters"):
        async with await psycopg.AsyncConnection.connect(telemetry.dsn, autocommit=True) as connection:
            await connection.execute("SET statement_timeout = '3s'")
            while await steps[name](connection, telemetry.now + timedelta(hours=1)):
                pass
    assert _energy(telemetry, table) == 40
    resolution = {"minutes": 1, "quarters": 15}[queue]
    [failed] = telemetry.rows("SELECT meter_id, resolution_min, error FROM failed_marks")
    assert (failed["meter_id"], failed["resolution_min"]) == (3, resolution)
    assert "57014" in str(failed["error"])


@pytest.mark.parametrize(("queue", "table"), [("minutes", "aggregates_1m"), ("quarters", "aggregates_15m")])
async def test_a_page_that_the_disk_does_not_give_back_holds_up_no_other_meter(
    telemetry: Telemetry, queue: str, table: str
) -> None:
    """C8, C12: its block was claimed first again and again, and no other block of meters was ever computed."""
    for meter_id in (3, 5, 5000):
        telemetry.meter(meter_id=meter_id)
        telemetry.registers(meter_id, [(0, 0), (1, 10)])
    telemetry.do(
        "CREATE FUNCTION page(integer) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN IF $1 = 3 THEN"
        " RAISE data_corrupted USING MESSAGE = 'invalid page in block 7'; END IF; RETURN true; END $$"
    )
    telemetry.do(f"ALTER TABLE {table} ADD CONSTRAINT page CHECK (page(meter_id))")
    steps = {work.name: work.step for work in aggregate.works(pause_s=0)}
    for name in ("minutes", "quarters"):
        async with await psycopg.AsyncConnection.connect(telemetry.dsn, autocommit=True) as connection:
            while await steps[name](connection, telemetry.now + timedelta(hours=1)):
                pass
    assert _energy(telemetry, table) == 20
    [failed] = telemetry.rows("SELECT meter_id, resolution_min, error FROM failed_marks")
    assert (failed["meter_id"], failed["resolution_min"]) == (3, {"minutes": 1, "quarters": 15}[queue])
    assert "invalid page in block 7" in str(failed["error"])


async def test_a_schema_of_another_release_ends_the_worker(telemetry: Telemetry) -> None:
    telemetry.do("INSERT INTO schema_version (version, master) VALUES (1000, 'telemetry')")
    with pytest.raises(ExceptionGroup) as raised:
        await run(_settings(telemetry.dsn), stop=asyncio.Event())
    assert raised.group_contains(VersionError, match="1000")


async def test_metrics_answer_while_there_is_nothing_to_do(telemetry: Telemetry, free_port: Callable[[], int]) -> None:
    """C13"""
    port = free_port()

    def scrape() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return str(answer.read().decode())

    async with _working(_settings(telemetry.dsn, metrics_port=port)):
        await asyncio.sleep(0.3)
        said = await asyncio.to_thread(scrape)
    assert 'segs_worker_lag_seconds{queue="minutes"}' in said
    assert "segs_worker_mismatches_total" in said


async def test_the_lag_is_how_long_the_most_overdue_mark_has_waited(telemetry: Telemetry) -> None:
    meter_id = telemetry.meter()
    telemetry.registers(meter_id, [(0, 0)])
    telemetry.do("UPDATE dirty_meters SET due_at = %s", START - timedelta(hours=1, seconds=1))
    with psycopg.connect(telemetry.dsn) as busy:
        busy.execute("SELECT pg_advisory_xact_lock(hashtext('segs.aggregate'), meter_block(%s))", [meter_id])
        async with _working(_settings(telemetry.dsn)):
            await _until(lambda: _lag() > 3600)
            busy.rollback()
            await _until(lambda: _lag() == 0)


def _lag() -> float:
    found = REGISTRY.get_sample_value("segs_worker_lag_seconds", {"queue": "minutes"})
    assert found is not None
    return found


async def test_what_is_not_due_yet_waits_while_anything_is_overdue(telemetry: Telemetry) -> None:
    """A worker that cannot keep up has no time for those who only watch."""
    overdue, going_on = telemetry.meter(interval_s=10), telemetry.meter(interval_s=10, meter_id=5000)
    telemetry.now = START - timedelta(hours=1)
    telemetry.store(overdue, ["power_w"], [(-3600, 5.0)])
    telemetry.now = START
    telemetry.store(going_on, ["power_w"], [(1, 5.0)])
    with psycopg.connect(telemetry.dsn) as busy:
        busy.execute("SELECT pg_advisory_xact_lock(hashtext('segs.aggregate'), meter_block(%s))", [overdue])
        async with _working(_settings(telemetry.dsn)):
            await asyncio.sleep(3)
            assert telemetry.minutes(going_on) == telemetry.minutes(overdue) == []
            busy.rollback()
            await _until(lambda: len(telemetry.minutes(going_on)) == len(telemetry.minutes(overdue)) == 1)


def test_a_loop_that_does_not_move_is_named() -> None:
    now_s = 0.0
    pulse = Pulse(monotonic_s=lambda: now_s)
    pulse.beat("aggregate")
    pulse.beat("retention", again_in_s=600)
    now_s = 100.0
    assert pulse.stuck(150) == []
    now_s = 200.0
    assert pulse.stuck(150) == ["aggregate"]
    now_s = 800.0
    assert pulse.stuck(150) == ["aggregate", "retention"]


async def test_work_that_is_in_no_haste_leaves_most_of_the_time_to_others(telemetry: Telemetry) -> None:
    worked_s = longest_s = 0.0

    async def step(connection: AsyncConnection, _: datetime) -> bool:
        nonlocal worked_s, longest_s
        started_s = time.monotonic()
        await connection.execute("SELECT pg_sleep(0.02)")
        longest_s = max(longest_s, time.monotonic() - started_s)
        worked_s += time.monotonic() - started_s
        return True

    stop = asyncio.Event()
    work = Work(name="leisure", step=step, pause_s=60, share=0.25)
    pulse = Pulse(monotonic_s=time.monotonic)
    async with make_pool(telemetry.dsn, name="leisure", size=1) as pool, asyncio.TaskGroup() as group:
        started_s = time.monotonic()
        loop = Loop(work=work, pool=pool, clock=lambda: datetime.now(UTC), pulse=pulse, stop=stop)
        group.create_task(loop.run())
        await asyncio.sleep(2)
        stop.set()
    assert 2 * longest_s < worked_s <= 0.25 * (time.monotonic() - started_s) + longest_s
    assert pulse.stuck(150) == []


async def test_systemd_hears_of_readiness_and_of_every_turn_of_the_watchdog(
    telemetry: Telemetry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "200000")
        heard = []
        async with _working(_settings(telemetry.dsn)):
            while heard.count("WATCHDOG=1") < 3:
                heard.append((await asyncio.to_thread(manager.recv, 1000)).decode())
        while heard[-1] != "STOPPING=1":
            heard.append(manager.recv(1000).decode())
    assert "READY=1" in heard
