"""The ledger outlives every backlog: whatever has become of the readings, a repeat gets the first answer."""

from datetime import timedelta

import psycopg
import pytest

from cloud.workers import retention
from contract.batch import Batch, DeviceBlock
from contract.notes import Note, NoteKind
from tests.integration.conftest import NOW, NOW_US, STREAM, Cloud, batch

COUNTED = (
    "SELECT (SELECT count(*) FROM raw_readings WHERE time > '2020-01-01'), (SELECT count(*) FROM quarantine),"
    " (SELECT count(*) FROM gateway_notes), (SELECT count(*) FROM ingest_batches)"
)
YEAR_US = 365 * 86_400_000_000


async def _retain(cloud: Cloud) -> None:
    """All marks are worked off, and everything is dropped that retention finds."""
    cloud.do("DELETE FROM dirty_meters")
    async with await psycopg.AsyncConnection.connect(cloud.dsn, autocommit=True) as connection:
        while await retention.drop_expired(connection, cloud.now[0]):
            pass


@pytest.mark.parametrize("days", [1, 8, 31, 366, 3660])
async def test_a_repeat_after_any_time_gets_the_first_answer_and_stores_nothing(cloud: Cloud, days: int) -> None:
    """C3, E23: the ledger is pruned with the readings, and a gateway that was away for longer doubles its backlog."""
    given = Batch(2, STREAM, 1, [*batch().devices, *batch(device="new").devices], [Note(NoteKind.SILENT, 0, NOW_US)])
    first = await cloud.send(given)
    assert (first.json()["stored"], len(first.json()["quarantined"])) == (3, 1)
    cloud.now[0] += timedelta(days=days)
    await _retain(cloud)
    before = cloud.rows(COUNTED)

    again = await cloud.send(given)

    assert again.content == first.content
    assert cloud.rows(COUNTED) == before == [(3 if days == 1 else 0, 1, 1, 1)]


async def test_readings_older_than_what_is_kept_wait_in_the_quarantine_once(cloud: Cloud) -> None:
    """A backlog of a year: nothing of it is dropped, and a lost answer changes nothing."""
    times = [NOW_US - YEAR_US, NOW_US - YEAR_US + 1, NOW_US]
    given = Batch(1, STREAM, 1, [DeviceBlock("main", times, {"energy_import_wh": [1, 2, 3]})])
    answers = [await cloud.send(given)]
    for days in (0, 10, 400):
        cloud.now[0] = NOW + timedelta(days=days)
        await _retain(cloud)
        answers.append(await cloud.send(given))

    assert answers[0].json()["quarantined"] == [{"device": "main", "reason": "too_old", "readings": 2}]
    assert {answer.content for answer in answers} == {answers[0].content}
    assert cloud.rows("SELECT reason, readings, released_at FROM quarantine") == [("too_old", 2, None)]


async def test_no_role_but_the_owner_can_take_a_row_from_the_ledger(cloud: Cloud) -> None:
    rights = cloud.rows(
        "SELECT grantee FROM information_schema.role_table_grants WHERE table_name = 'ingest_batches'"
        " AND privilege_type IN ('DELETE', 'TRUNCATE') AND starts_with(grantee, 'segs_')"
    )

    assert rights == []


async def test_a_batch_late_within_what_is_kept_marks_its_minutes_again(cloud: Cloud) -> None:
    """C7: a late reading is stored and nobody computes its interval anew."""
    cloud.now[0] += timedelta(days=6)

    await cloud.send(batch())

    [(first, last)] = cloud.rows("SELECT first_time, last_time FROM dirty_meters")
    assert (first, last) == (NOW, NOW + timedelta(seconds=2))
