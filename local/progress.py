"""What a running stack has done so far, asked of the gateway and of the database."""

import time
from dataclasses import dataclass
from types import TracebackType
from typing import LiteralString, Self

import psycopg

from edge import status
from edge.clock import Clock
from edge.config import load
from local.stack import Stack


@dataclass(frozen=True, slots=True)
class MeterLine:
    """One meter now: its latest power and register, and its latest minute."""

    device: str
    region: str
    power_w: float | None
    energy_import_wh: int | None
    minute_mean_w: float | None
    minute_wh: int | None


@dataclass(frozen=True, slots=True)
class Progress:
    """Readings since the start. `lag_s` is the age of the newest stored reading, None before the first."""

    elapsed_s: float
    meters: int
    power_w: float
    polled: int
    buffered: int
    synced: int
    stored: int
    quarantined: int
    lag_s: float | None
    aggregates_1m_rows: int
    first_reading_s: float | None
    lines: list[MeterLine]


class Watcher:
    """Looks at `stack` through one connection. `began` is the monotonic time that seconds count from."""

    def __init__(self, *, stack: Stack, gateway: str, began: float) -> None:
        self._stack, self._gateway, self._began = stack, gateway, began
        self._connection = psycopg.connect(stack.databases.dsn("telemetry"), autocommit=True)
        self._config = load(stack.gateway_file)
        self._first_reading_s: float | None = None
        self._polled = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def look(self) -> Progress:
        """The state now."""
        seen = status.read(self._config, clock=Clock())
        self._polled = max(self._polled, int(self._stack.edge_metrics()["segs_edge_readings_polled_total"]))
        buffered = seen.stored.backlog.readings if seen.stored else 0
        stored, quarantined, lag_s = self._one(_STORED)
        if stored and self._first_reading_s is None:
            self._first_reading_s = round(time.monotonic() - self._began, 1)
        (rows,) = self._one(_ROWS_1M)
        lines = [MeterLine(*row) for row in self._connection.execute(_METERS, [self._gateway])]
        return Progress(
            elapsed_s=time.monotonic() - self._began,
            meters=len(lines),
            power_w=sum(line.power_w or 0 for line in lines),
            polled=self._polled,
            buffered=buffered,
            synced=seen.stored.synced_readings if seen.stored else 0,
            stored=stored,
            quarantined=quarantined,
            lag_s=None if lag_s is None else round(lag_s, 1),
            aggregates_1m_rows=rows,
            first_reading_s=self._first_reading_s,
            lines=lines,
        )

    def unfinished(self) -> int:
        """Marks that the workers have not worked off."""
        row = self._connection.execute(
            "SELECT (SELECT count(*) FROM dirty_readings) + (SELECT count(*) FROM dirty_regions)"
        ).fetchone()
        return row[0] if row else 0

    def _one(self, query: LiteralString) -> tuple[int, ...]:
        row = self._connection.execute(query, [self._gateway]).fetchone()
        assert row is not None
        return tuple(row)


_DEVICES = """
WITH mine AS (
    SELECT d.meter_id, d.device, d.region FROM device_registry AS d JOIN gateway_registry AS g USING (gateway_id)
    WHERE g.name = %s AND upper(d.valid) = 'infinity'
)"""
_STORED = """
SELECT COALESCE(sum(stored), 0)::bigint,
    COALESCE((SELECT sum(readings) FROM quarantine AS q WHERE q.gateway_id = g.gateway_id), 0)::bigint,
    (SELECT EXTRACT(epoch FROM clock_timestamp() - max(r.time))::float8 FROM raw_readings AS r
     WHERE r.meter_id IN (SELECT meter_id FROM device_registry AS d WHERE d.gateway_id = g.gateway_id)
       AND r.time > clock_timestamp() - INTERVAL '10 minutes')
FROM gateway_registry AS g LEFT JOIN ingest_batches AS b USING (gateway_id)
WHERE g.name = %s GROUP BY g.gateway_id
"""
_ROWS_1M = (
    _DEVICES
    + """
SELECT count(*) FROM aggregates_1m AS a JOIN mine USING (meter_id)
WHERE a.bucket > clock_timestamp() - INTERVAL '1 day'
"""
)
_METERS = (
    _DEVICES
    + """
SELECT m.device, m.region, p.power_w, e.energy_import_wh, a.power_w_sum / NULLIF(a.power_w_count, 0), a.energy_import_wh
FROM mine AS m
LEFT JOIN LATERAL (
    SELECT r.power_w FROM raw_readings AS r
    WHERE r.meter_id = m.meter_id AND r.time > clock_timestamp() - INTERVAL '10 minutes' AND r.power_w IS NOT NULL
    ORDER BY r.time DESC LIMIT 1) AS p ON true
LEFT JOIN LATERAL (
    SELECT r.energy_import_wh FROM raw_readings AS r
    WHERE r.meter_id = m.meter_id AND r.time > clock_timestamp() - INTERVAL '10 minutes'
      AND r.energy_import_wh IS NOT NULL
    ORDER BY r.time DESC LIMIT 1) AS e ON true
LEFT JOIN LATERAL (
    SELECT b.* FROM aggregates_1m AS b
    WHERE b.meter_id = m.meter_id AND b.bucket > clock_timestamp() - INTERVAL '10 minutes'
    ORDER BY b.bucket DESC LIMIT 1) AS a ON true
ORDER BY m.device
"""
)
