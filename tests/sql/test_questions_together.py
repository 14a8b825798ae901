"""Questions of several callers in one statement: each under its own grants, and no one's mistake is another's."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta

import psycopg
import pytest
from psycopg_pool import TooManyRequests

from cloud.api.measured.quick import TELEMETRY
from cloud.db.lanes import Lanes, open_lanes
from cloud.db.together import Together
from tests.sql.conftest import START, Telemetry
from tests.sql.reads import owned

NOW = START + timedelta(minutes=30)


@pytest.fixture
def meters(telemetry: Telemetry) -> list[int]:
    found = [telemetry.meter() for _ in range(3)]
    for n, meter_id in enumerate(found):
        telemetry.store(meter_id, ["power_w"], [(0, 100 + n), (60, 200 + n)])
    return found


@pytest.fixture
async def lanes(telemetry: Telemetry) -> AsyncIterator[Lanes]:
    # Only what the API's role may call is asked; that it may nothing else, test_reads_access sees to.
    async with open_lanes(telemetry.dsn, count=1, name="test", statements=TELEMETRY) as found:
        yield found


def _question(meter_id: int, granted: int) -> tuple[bytes, bytes, bytes]:
    grants = json.dumps(owned(granted, ("-infinity", "infinity"))).encode()
    return grants, b"{%d}" % meter_id, NOW.isoformat().encode()


async def _power(together: Together, question: tuple[bytes, bytes, bytes]) -> list[float]:
    return [json.loads(reading or b"")["power_w"] for _, reading in await together.ask(question)]


async def test_each_is_answered_within_its_own_grants(lanes: Lanes, meters: list[int]) -> None:
    together = Together(lanes, "latest", at_once=1)
    asked = [_question(meter_id, meter_id) for meter_id in meters]
    assert await asyncio.gather(*(_power(together, one) for one in asked)) == [[200], [201], [202]]


async def test_a_grant_ends_with_the_question_that_it_is_for(lanes: Lanes, meters: list[int]) -> None:
    """D12: in whatever order they come."""
    first, second, _ = meters
    for strangers in (
        [_question(first, first), _question(first, second)],
        [_question(first, second), _question(first, first)],
    ):
        together = Together(lanes, "latest", at_once=1)
        answers = await asyncio.gather(*(_power(together, one) for one in strangers), return_exceptions=True)
        told = [answer if isinstance(answer, list) else getattr(answer, "sqlstate", answer) for answer in answers]
        expected = [[200] if question == _question(first, first) else "SG060" for question in strangers]
        assert told == expected


async def test_nothing_granted_is_nothing_told(lanes: Lanes, meters: list[int]) -> None:
    together = Together(lanes, "latest", at_once=1)
    _, numbers, now = _question(meters[1], meters[1])
    answers = await asyncio.gather(
        together.ask(_question(meters[0], meters[0])),
        together.ask((None, numbers, now)),
        together.ask((b"", numbers, now)),
    )
    assert [len(rows) for rows in answers] == [1, 0, 0]


async def test_more_than_one_statement_takes_are_answered_in_turn(lanes: Lanes, meters: list[int]) -> None:
    together = Together(lanes, "latest", at_once=1, most=2)
    asked = [_question(meter_id, meter_id) for meter_id in meters * 5]
    assert await asyncio.gather(*(_power(together, one) for one in asked)) == [[200], [201], [202]] * 5


async def test_more_than_wait_are_refused_and_who_leaves_is_not_waited_for(lanes: Lanes, meters: list[int]) -> None:
    together = Together(lanes, "latest", at_once=1, queue=2)
    first, second = (together.ask(_question(meter_id, meter_id)) for meter_id in meters[:2])
    with pytest.raises(TooManyRequests):
        together.ask(_question(meters[2], meters[2]))
    first.cancel()
    assert len(await second) == 1
    assert first.cancelled()


async def test_what_a_lost_database_owed_nobody_waits_for(
    telemetry: Telemetry, lanes: Lanes, meters: list[int]
) -> None:
    together = Together(lanes, "latest", at_once=1)
    question = _question(meters[0], meters[0])
    assert await _power(together, question) == [200]
    asked = [together.ask(question) for _ in range(3)]
    telemetry.connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'test'"
    )
    told = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(one, list | psycopg.OperationalError) for one in told)
    assert await _power(together, question) == [200]
