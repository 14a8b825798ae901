"""Quarter-hours and readings put straight into the telemetry database of a running API."""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import psycopg

from tests.integration.api.conftest import Api

QUARTER, HOUR, DAY = timedelta(minutes=15), timedelta(hours=1), timedelta(days=1)
_DEVICES = count(1)
SHOWN_S = 0.3
"""Until an arrival is shown to who has asked before."""


def number(code: str) -> int:
    return int(code.removeprefix("MTR-"))


def register(api: Api, code: str, *, region: str = "north", zone: str = "UTC", interval_ms: int = 1000) -> None:
    """The meter in the telemetry database's registry, read by gateway 1 from the beginning."""
    api.do("INSERT INTO gateway_registry VALUES (1, 'attic') ON CONFLICT DO NOTHING", telemetry=True)
    api.do("INSERT INTO region_registry VALUES (%s, 1e6) ON CONFLICT DO NOTHING", region, telemetry=True)
    api.do(
        "INSERT INTO device_registry (gateway_id, device, meter_id, meter_code, region, timezone, interval_ms)"
        " VALUES (1, %s, %s, %s, %s, %s, %s)",
        *(f"d{next(_DEVICES)}", number(code), code, region, zone, interval_ms),
        telemetry=True,
    )


def quarters(api: Api, code: str, first: datetime, energy_wh: Sequence[int]) -> None:
    """One quarter-hour after another from `first` on."""
    api.do(
        "INSERT INTO aggregates_15m (meter_id, bucket, samples, coverage, quality, energy_import_wh, energy_export_wh,"
        " power_w_count, power_w_min, power_w_max, power_w_sum)"
        " SELECT %s, %s + (n - 1) * INTERVAL '15 minutes', 90, 100, 14, wh, 1, 90, 4 * wh, 4 * wh, 360 * wh"
        " FROM unnest(%s::integer[]) WITH ORDINALITY AS q (wh, n)",
        *(number(code), first, list(energy_wh)),
        telemetry=True,
    )


def readings(api: Api, code: str, first: datetime, count: int, *, step: timedelta = timedelta(seconds=1)) -> None:
    """`count` readings, of 1 W, 2 W, 3 W, …"""
    api.do(
        "INSERT INTO raw_readings (time, meter_id, batch_id, power_w, voltage_l1_v)"
        " SELECT %s + n * %s::interval, %s, 1, n + 1, 230.12 FROM generate_series(0, %s - 1) AS n",
        *(first, step, number(code), count),
        telemetry=True,
    )


def arrive(api: Api, code: str, power_w: float, at: datetime | None = None, *, gateway: int = 1) -> None:
    """A batch of one reading, of now or of another time, as the receiver stores one of a registered device."""
    at = at or datetime.now(UTC)
    with psycopg.connect(api.telemetry) as connection:
        row = connection.execute(
            "INSERT INTO ingest_batches (gateway_id, stream, seq, sha256, received_at, readings, stored, duplicates,"
            " first_time, last_time) VALUES (%s, %s, 1, sha256('x'), now(), 1, 1, 0, %s, %s) RETURNING batch_id",
            [gateway, uuid.uuid4(), at, at],
        ).fetchone()
        assert row is not None
        connection.execute(
            "INSERT INTO raw_readings (time, meter_id, batch_id, power_w) VALUES (%s, %s, %s, %s)",
            [at, number(code), row[0], power_w],
        )


def pages(api: Api, path: str, key: str, *, token: str, **query: object) -> list[list[dict[str, Any]]]:
    """All pages, each a list."""
    found: list[list[dict[str, Any]]] = []
    cursor: dict[str, object] = {}
    while True:
        answer = api.get(path, token=token, **query, **cursor)
        assert answer.status_code == 200, answer.text
        found.append(answer.json()["data"][key])
        following = answer.json()["meta"]["next"]
        if following is None:
            return found
        cursor = {"cursor": following}
