"""What a running stack has done so far, asked of the gateway and of the database."""

import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import psycopg

from cloud.db.queries import Queries
from edge.clock import Clock
from edge.config.load import load
from edge.status import status
from local.stack import Stack

_QUERIES = Queries("progress")


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
    """Readings since the start; those `quarantined` still wait, and of those `left_out` the polls were never made.

    `lag_s` is the age of the newest stored reading, None before the first.
    """

    elapsed_s: float
    meters: int
    power_w: float
    polled: int
    left_out: int
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
        stored, quarantined, lag_s = self._one("stored")
        if stored and self._first_reading_s is None:
            self._first_reading_s = round(time.monotonic() - self._began, 1)
        (rows,) = self._one("minutes")
        found = self._connection.execute(_QUERIES["meters"], {"gateway": self._gateway})
        lines = [MeterLine(*row) for row in found]
        return Progress(
            elapsed_s=time.monotonic() - self._began,
            meters=len(lines),
            power_w=sum(line.power_w or 0 for line in lines),
            polled=self._polled,
            left_out=sum(device.overruns for device in seen.daemon.devices) if seen.daemon else 0,
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
        (count,) = self._one("unfinished")
        return count

    def _one(self, query: str) -> tuple[int, ...]:
        row = self._connection.execute(_QUERIES[query], {"gateway": self._gateway}).fetchone()
        assert row is not None
        return tuple(row)
