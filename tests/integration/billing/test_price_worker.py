"""The worker of prices, on both databases: what it reads in one becomes a price in the other, once."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from cloud.workers.prices import Prices
from tests.integration.billing.conftest import QUARTER, World

NOW = datetime.now(UTC)


@pytest.fixture
def begun() -> datetime:
    """The quarter-hour from which on the region has a price; two hours of it are over."""
    return datetime.fromtimestamp(NOW.timestamp() // 900 * 900, UTC) - timedelta(hours=2)


@pytest.fixture
def priced(world: World, begun: datetime) -> World:
    world.do("SELECT region_price_set('north', 'EUR', 0.40, NULL, NULL, NULL, NULL, %s)", begun)
    world.tariff("load", regional_price=True)
    world.meter(tariff="load")
    return world


def load(world: World, bucket: datetime, percent: float | None, coverage: float = 100) -> None:
    world.telemetry.execute(
        "INSERT INTO regional_15m (region, bucket, meters, meters_expected, power_w_mean, capacity_w, load_percent,"
        " coverage, quality) VALUES ('north', %s, 1, 1, %s, 100, %s, %s, 17)",
        [bucket, percent, percent, coverage],
    )


async def work(*worlds: World) -> None:
    async def one(world: World) -> None:
        async with await psycopg.AsyncConnection.connect(world.telemetry_dsn, autocommit=True) as telemetry:
            await Prices(dsn=world.domain_dsn).step(telemetry, datetime(2020, 1, 1, tzinfo=UTC))

    await asyncio.gather(*(one(world) for world in worlds))


def history(world: World) -> list[dict[str, Any]]:
    return world.rows(
        "SELECT tier, price, load_percent, load_at, lower(valid) AS since FROM region_prices ORDER BY valid"
    )


async def test_the_load_of_a_region_becomes_its_price_from_the_next_quarter_hour_on(
    priced: World, begun: datetime
) -> None:
    """By the clock of the domain's server: the worker's stands years behind."""
    load(priced, begun, 60)
    load(priced, begun + QUARTER, 92)

    await work(priced)

    first, last = history(priced)
    assert (first["tier"], first["since"]) == (None, begun)
    assert (last["tier"], last["price"], last["load_percent"]) == (4, Decimal("0.50"), 92)
    assert (last["load_at"], last["since"] > datetime.now(UTC) - timedelta(minutes=1)) == (begun + QUARTER, True)
    assert priced.one("SELECT count(*) FROM outbox WHERE template = 'price_changed'") == 1


async def test_several_workers_at_once_decide_once_and_so_does_one_that_comes_again(
    priced: World, begun: datetime
) -> None:
    """C11: with two instances each publishes half a region."""
    for n in range(6):
        load(priced, begun + n * QUARTER, 95)

    await work(*[priced] * 5)
    await work(priced)

    assert len(history(priced)) == 2
    assert priced.one("SELECT count(*) FROM outbox WHERE template = 'price_changed'") == 1


async def test_a_quarter_hour_that_is_to_be_computed_again_is_not_complete(priced: World, begun: datetime) -> None:
    load(priced, begun, 95)
    priced.telemetry.execute("INSERT INTO dirty_regions (region, bucket) VALUES ('north', %s)", [begun])

    await work(priced)

    assert len(history(priced)) == 1


async def test_a_region_of_which_nothing_is_heard_keeps_its_price(priced: World, begun: datetime) -> None:
    """C10: a blackout is no load of 0, and neither is half a region."""
    load(priced, begun, 95)
    await work(priced)
    before = history(priced)
    priced.do("UPDATE region_price_state SET seen_until = %s", begun + QUARTER)
    load(priced, begun + QUARTER, None, coverage=0)
    load(priced, begun + 2 * QUARTER, 10, coverage=50)

    await work(priced)

    assert history(priced) == before
    # Passed over, all that is older than the time that is waited; what is younger may still come.
    behind = datetime.now(UTC) - priced.one("SELECT seen_until FROM region_price_state")
    assert behind < timedelta(minutes=47)


def test_a_worker_that_is_killed_between_reading_and_telling_has_changed_nothing(
    priced: World, begun: datetime
) -> None:
    """kill -9: the next one does it."""
    load(priced, begun, 95)
    databases = {"SEGS_DOMAIN_DSN": priced.domain_dsn, "SEGS_TELEMETRY_DSN": priced.telemetry_dsn}
    # From the other database: a transaction sees the server's activity as it was when it looked first.
    [name] = priced.rows("SELECT current_database() AS name, pg_backend_pid() AS pid")
    others = (
        "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = %(name)s AND pid <> %(pid)s AND (wait_event_type ="
        " 'Lock' AND query LIKE '%%region_prices_decide%%' OR NOT %(waiting)s)"
    )

    def count(*, waiting: bool) -> int:
        found = priced.telemetry.execute(others, {**name, "waiting": waiting}).fetchone()
        assert found is not None
        return int(found["n"])

    with priced.domain.transaction():
        # Loads are read by then, and prices cannot be written.
        priced.do("LOCK TABLE region_prices IN SHARE ROW EXCLUSIVE MODE")
        worker = subprocess.Popen([sys.executable, "-m", "cloud", "worker"], env={**os.environ, **databases})
        deadline = time.monotonic() + 60
        while not count(waiting=True):
            assert worker.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    while count(waiting=False):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert len(history(priced)) == 1
    assert priced.one("SELECT seen_until FROM region_price_state") == begun

    asyncio.run(work(priced))

    assert [row["tier"] for row in history(priced)] == [None, 4]
    assert priced.one("SELECT count(*) FROM outbox WHERE template = 'price_changed'") == 1
