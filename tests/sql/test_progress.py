"""What the watchers of a running stack are told."""

from psycopg.rows import tuple_row

from cloud.db.queries import Queries
from tests.sql.conftest import START, Telemetry


def _set_aside(telemetry: Telemetry, *, readings: int, released_stored: int | None) -> None:
    telemetry.do(
        "INSERT INTO quarantine (batch_id, gateway_id, device, reason, readings, first_time, last_time, block,"
        " created_at, released_at, released_stored)"
        " VALUES (1, 1, 'plug', 'unknown_device', %s, %s, %s, '{}', %s, %s, %s)",
        *(readings, START, START, START, None if released_stored is None else START, released_stored),
    )


def test_readings_that_left_the_quarantine_count_as_stored_and_no_longer_as_waiting(telemetry: Telemetry) -> None:
    telemetry.do(
        "INSERT INTO ingest_batches (gateway_id, stream, seq, sha256, received_at, readings, stored, duplicates)"
        " VALUES (1, gen_random_uuid(), 1, sha256(''), %s, 13, 5, 1)",
        START,
    )
    _set_aside(telemetry, readings=4, released_stored=3)
    _set_aside(telemetry, readings=3, released_stored=None)

    with telemetry.connection.cursor(row_factory=tuple_row) as cursor:
        found = cursor.execute(Queries("progress")["stored"], {"gateway": "attic"}).fetchone()

    assert found == (5 + 3, 3, None)
