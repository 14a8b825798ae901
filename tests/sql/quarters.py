"""Quarter-hours put straight into aggregates_15m, and what is made of them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.sql.conftest import Telemetry

QUARTER = timedelta(minutes=15)
# A Sunday; three weeks of days before it.
SUNDAY = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def put(
    telemetry: Telemetry,
    meter_id: int,
    first: datetime,
    energy_wh: Sequence[int | None],
    *,
    samples: int = 90,
    quality: int = 14,
    **columns: Sequence[object],
) -> None:
    """One quarter-hour after another from `first`. What is there is replaced, and its version counted up."""
    names = ["samples", "coverage", "quality", "energy_import_wh", *columns]
    rows = zip(energy_wh, *columns.values(), strict=True)
    places = ", ".join(["%s"] * len(names))
    sets = ", ".join(f"{name} = excluded.{name}" for name in names)
    with telemetry.connection.cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO aggregates_15m AS a (meter_id, bucket, {', '.join(names)}) VALUES (%s, %s, {places})"
            f" ON CONFLICT (meter_id, bucket) DO UPDATE SET version = a.version + 1, {sets}",
            [
                (meter_id, first + n * QUARTER, samples, 100 if samples else 0, quality, *row)
                for n, row in enumerate(rows)
            ],
        )


def effective(telemetry: Telemetry, meter_id: int, first: datetime, last: datetime) -> list[dict[str, Any]]:
    query = "SELECT * FROM effective_quarters(ARRAY[%s], ARRAY[%s], ARRAY[%s]) ORDER BY bucket"
    return telemetry.rows(query, meter_id, first, last)


def intervals(
    telemetry: Telemetry, meters: list[int], first: datetime, last: datetime, resolution: str, zone: str | None = None
) -> list[dict[str, Any]]:
    return telemetry.rows("SELECT * FROM intervals(%s, %s, %s, %s, %s)", meters, first, last, resolution, zone)


def validate(telemetry: Telemetry, now: datetime) -> None:
    """Works the queue off."""
    while telemetry.rows("SELECT * FROM validate_intervals(500, %s)", now)[0]["marks"]:
        pass


def live(telemetry: Telemetry, meter_id: int) -> list[tuple[object, ...]]:
    """Estimates and edits that hold, by time."""
    query = (
        "SELECT bucket, method, quality, energy_import_wh FROM interval_versions"
        " WHERE meter_id = %s AND ended_at IS NULL ORDER BY bucket, method"
    )
    return [tuple(row.values()) for row in telemetry.rows(query, meter_id)]
