"""The API's questions by name: typed rows, of what the caller may see of the span that was asked for."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta, timezone

import psycopg
import pytest
from psycopg import AsyncConnection

from cloud.db.errors import InvalidError, NotFoundError, domain_error
from cloud.telemetry import reads
from tests.sql.conftest import START, Telemetry
from tests.sql.grants import Grants, grant
from tests.sql.quarters import DAY, QUARTER, SUNDAY, put

HOUR = timedelta(hours=1)
EVERYTHING = Grants(everything=True)


@pytest.fixture
async def api(telemetry: Telemetry) -> AsyncIterator[AsyncConnection]:
    """A transaction of the API's role."""
    async with await AsyncConnection.connect(telemetry.dsn) as connection:
        await connection.execute("SET ROLE segs_api")
        yield connection


@pytest.fixture
def meter_id(telemetry: Telemetry) -> int:
    """25 Wh a quarter-hour on a Sunday; readings each 10 s of an hour from its noon on."""
    meter_id = telemetry.meter(interval_s=10)
    telemetry.store(
        meter_id, ["power_w", "voltage_l1_v", "energy_import_wh"], [(s, s, 230, s) for s in range(0, 3600, 10)]
    )
    telemetry.aggregate()
    put(telemetry, meter_id, SUNDAY, [25] * 96)
    return meter_id


async def _newest(api: AsyncConnection, meter_id: int) -> tuple[object, ...] | None:
    """Time and powers."""
    query = "SELECT time, power_w, power_l1_w FROM latest_values(ARRAY[%s]::integer[], %s, %s)"
    return await (await api.execute(query, [meter_id, SUNDAY, SUNDAY + DAY])).fetchone()


async def test_nothing_is_told_before_anything_is_granted(api: AsyncConnection, meter_id: int) -> None:
    with pytest.raises(psycopg.Error) as refused:
        await reads.history(api, meter_id=meter_id, since=SUNDAY, until=SUNDAY + DAY, resolution="1d", limit=9)
    assert isinstance(domain_error(refused.value), NotFoundError)


async def test_a_span_is_told_as_far_as_it_is_the_callers(api: AsyncConnection, meter_id: int) -> None:
    """Moved in at 12:07:30 of the Sunday."""
    moved = START + timedelta(minutes=7, seconds=30)
    window = {"meter_id": meter_id, "since": SUNDAY - DAY, "until": SUNDAY + 2 * DAY}
    await grant(api, Grants(meters={meter_id: [(moved, None)]}))

    readings = await reads.readings(api, **window, limit=1000)
    [day] = await reads.history(api, **window, resolution="1d", limit=1000)
    [whole] = await reads.statistics(api, **window, now=SUNDAY + DAY)
    [of_date] = await reads.energy(
        api, meter_id=meter_id, first=date(2026, 3, 1), end=date(2026, 3, 2), unit="1d", zone="UTC"
    )
    [complete] = await reads.completeness(api, **window, now=START + HOUR)

    assert (readings[0].time, readings[0].meter_id) == (moved, meter_id)
    assert (day.start_time, day.end_time) == (START + QUARTER, SUNDAY + DAY)
    assert [row.energy_import_wh for row in (day, whole, of_date)] == [47 * 25] * 3
    assert (of_date.day, of_date.quarters) == (date(2026, 3, 1), 47)
    assert (complete.start_time, complete.expected, complete.missing) == (moved, 315, 0)


async def test_who_came_back_reads_both_times_and_not_what_was_between(api: AsyncConnection, meter_id: int) -> None:
    spans = [(None, SUNDAY + 4 * QUARTER), (SUNDAY + 8 * QUARTER, SUNDAY + 12 * QUARTER)]
    window = {"meter_id": meter_id, "since": SUNDAY, "until": SUNDAY + DAY}
    await grant(api, Grants(meters={meter_id: spans}))
    hours = await reads.history(api, **window, resolution="1h", limit=1000)
    assert [row.start_time for row in hours] == [SUNDAY, SUNDAY + 2 * HOUR]
    assert [row.energy_import_wh for row in await reads.statistics(api, **window, now=SUNDAY + DAY)] == [100, 100]
    assert len(await reads.history(api, **window, resolution="15m", limit=6)) == 6


async def test_a_span_of_others_has_no_rows(api: AsyncConnection, meter_id: int) -> None:
    await grant(api, Grants(meters={meter_id: [(SUNDAY + DAY, None)]}))
    window = {"meter_id": meter_id, "since": SUNDAY, "until": SUNDAY + DAY}
    assert await reads.history(api, **window, resolution="1d", limit=9) == []
    assert await reads.statistics(api, **window, now=SUNDAY + DAY) == []
    assert await _newest(api, meter_id) is None
    spans = (SUNDAY, SUNDAY + DAY), (SUNDAY + DAY, SUNDAY + 2 * DAY)
    assert await reads.compare(api, meter_id=meter_id, before=spans[0], after=spans[1], now=SUNDAY + 2 * DAY) is None


async def test_every_question_has_its_rows(telemetry: Telemetry, api: AsyncConnection, meter_id: int) -> None:
    telemetry.aggregate()
    telemetry.do(
        "INSERT INTO delivery_tallies (gateway_id, batches, readings, last_received_at, last_stream, last_seq)"
        " VALUES (1, 1, 360, %s, gen_random_uuid(), 7)",
        START,
    )
    now, window = START + HOUR, {"since": SUNDAY, "until": SUNDAY + DAY}
    await grant(api, EVERYTHING)

    newest = await _newest(api, meter_id)
    channels = await reads.channels(api, meter_id=meter_id, since=START, until=now, resolution="1m", limit=9)
    compared = await reads.compare(
        api, meter_id=meter_id, before=(SUNDAY, SUNDAY + HOUR), after=(SUNDAY + HOUR, SUNDAY + 3 * HOUR), now=now
    )
    regions = await reads.regions(api, names=["north"], now=now)
    quarters = await reads.region_history(api, region="north", **window, limit=2)
    [consumer] = await reads.top_consumers(api, region="north", **window)
    [heard] = await reads.gateways(api, gateways=[1, 2])

    assert newest == (now - timedelta(seconds=10), 3590, None)
    assert [row.voltage_l1_v_mean for row in channels] == [230] * 9
    assert compared is not None
    assert (compared.energy_import_change_wh, compared.energy_import_per_day_change_percent) == (100, 0)
    assert [row.period for row in regions] == ["latest", "hour", "day"]
    assert [row.start_time for row in quarters] == [START, START + QUARTER]
    assert (consumer.meter_id, consumer.energy_import_wh, consumer.share_percent) == (meter_id, 2400, 100)
    assert (heard.last_seq, heard.report) == (7, None)
    assert await reads.resolution(api, since=SUNDAY, until=SUNDAY + DAY, pixels=800, now=now) == "1m"


async def test_what_makes_no_sense_is_the_askers_mistake(api: AsyncConnection, meter_id: int) -> None:
    """D16: and no fault of the server."""
    await grant(api, EVERYTHING)
    for mistake in (
        reads.top_consumers(api, region="north", since=SUNDAY, until=SUNDAY + 32 * DAY),
        reads.energy(
            api, meter_id=meter_id, first=date(2026, 3, 1), end=date(2026, 3, 2), unit="1d", zone="Mars/Olympus"
        ),
        reads.energy(api, meter_id=meter_id, first=date(2026, 3, 2), end=date(2026, 3, 1), unit="1d"),
    ):
        with pytest.raises(psycopg.Error) as refused:
            async with api.transaction():
                await mistake
        assert isinstance(domain_error(refused.value), InvalidError)


async def test_what_is_granted_later_in_a_transaction_takes_the_place_of_what_was(
    api: AsyncConnection, meter_id: int
) -> None:
    await grant(api, EVERYTHING)
    await grant(api, Grants())
    with pytest.raises(psycopg.Error) as refused:
        await _newest(api, meter_id)
    assert refused.value.sqlstate == "SG060"


def test_a_time_of_no_zone_grants_nothing() -> None:
    with pytest.raises(ValueError, match="has no offset"):
        Grants(meters={1: [(datetime(2026, 3, 1), None)]})


def test_grants_are_told_by_instants_whatever_their_zone() -> None:
    berlin = timezone(HOUR)
    told = Grants(
        meters={7: [(datetime(2026, 3, 1, 1, tzinfo=berlin), datetime(2026, 3, 2, tzinfo=UTC)), (None, None)]}
    )
    assert told.setting() == (
        '{"7": [["2026-03-01T01:00:00+01:00", "2026-03-02T00:00:00+00:00"], ["-infinity", "infinity"]],'
        ' "regions": [], "gateways": []}'
    )
