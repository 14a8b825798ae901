"""How gateways are doing: what was registered, what they delivered, and what they last said of themselves."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec
import psycopg
from psycopg.rows import class_row

from cloud.db.queries import Queries
from contract.report import Report

_QUERIES = Queries("gateway")
SILENT_AFTER = timedelta(minutes=5)


class Health(StrEnum):
    OK = "ok"
    TROUBLED = "troubled"
    """It says itself what is wrong."""
    SILENT = "silent"
    """Neither batch nor report for longer than `SILENT_AFTER`."""
    NEVER = "never"
    """Nothing has ever come."""
    UNUSED = "unused"
    """It has delivered, and no device is registered for it now: a demo's that is over, say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """A gateway as the domain database has it: numbers of its valid keys, devices that it has now."""

    gateway_id: int
    name: str
    keys: list[int]
    devices: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What the telemetry database knows of a gateway: deliveries in all, and the newest report."""

    gateway_id: int
    last_batch_at: datetime | None = None
    batches: int = 0
    readings: int = 0
    last_stream: UUID | None = None
    last_seq: int | None = None
    last_report_at: datetime | None = None
    clock_ahead_s: float | None = None
    report: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """One gateway at `now`; `report` is None while it has not sent any."""

    registered: Registered
    heard: Heard
    report: Report | None
    now: datetime

    @property
    def health(self) -> Health:
        last = max(filter(None, (self.heard.last_batch_at, self.heard.last_report_at)), default=None)
        if last is None:
            return Health.NEVER
        if not self.registered.devices:
            return Health.UNUSED
        if self.now - last > SILENT_AFTER:
            return Health.SILENT
        return Health.TROUBLED if self.report and self.report.troubles else Health.OK

    @property
    def backlog_age_s(self) -> float | None:
        """How old the oldest reading without a receipt is, None where there is none."""
        oldest = None if self.report is None else _time(self.report.backlog.oldest_us)
        return None if oldest is None else max(0.0, (self.now - oldest).total_seconds())

    def summary(self) -> dict[str, object]:
        """For machines; times in ISO 8601. What only a report says is None without one."""
        heard = self.heard
        batch = {"stream": str(heard.last_stream), "seq": heard.last_seq, "at": _iso(heard.last_batch_at)}
        known: dict[str, object] = {
            "name": self.registered.name,
            "keys": self.registered.keys,
            "devices": self.registered.devices,
            "last_batch_at": _iso(heard.last_batch_at),
            "batches": heard.batches,
            "readings": heard.readings,
            "health": self.health.value,
            "last_batch": None if heard.last_seq is None else batch,
            "last_report_at": _iso(heard.last_report_at),
        }
        return known | (dict.fromkeys(_REPORTED) if self.report is None else self._reported(self.report))

    def _reported(self, report: Report) -> dict[str, object]:
        backlog, buffer, clock = report.backlog, report.buffer, report.clock
        said = (
            report.software,
            _iso(_time(report.started_us)),
            {
                "readings": backlog.readings,
                "bytes": backlog.bytes,
                "oldest_at": _iso(_time(backlog.oldest_us)),
                "age_s": self.backlog_age_s,
            },
            report.loss_window_s,
            {"ahead_s": self.heard.clock_ahead_s} | {name: getattr(clock, name) for name in clock.__struct_fields__},
            _iso(_time(report.last_receipt_us)),
            {name: getattr(report.given_up, name) for name in report.given_up.__struct_fields__},
            {name: getattr(buffer, name) for name in buffer.__struct_fields__ if name != "set_aside"},
            buffer.set_aside,
            report.meters,
            report.silent_meters,
            report.rejected_messages,
            report.troubles,
        )
        return dict(zip(_REPORTED, said, strict=True))


_REPORTED = (
    "software",
    "started_at",
    "backlog",
    "loss_window_s",
    "clock",
    "last_receipt_at",
    "given_up",
    "buffer",
    "set_aside_files",
    "meters",
    "silent_meters",
    "rejected_messages",
    "troubles",
)


def look(domain: psycopg.Connection, telemetry: psycopg.Connection, now: datetime) -> list[Gateway]:
    """All gateways by name."""
    with telemetry.cursor(row_factory=class_row(Heard)) as cursor:
        heard = {one.gateway_id: one for one in cursor.execute(_QUERIES["heard"])}
    with domain.cursor(row_factory=class_row(Registered)) as names:
        return [_gateway(one, heard.get(one.gateway_id), now) for one in names.execute(_QUERIES["gateways"])]


def _gateway(registered: Registered, heard: Heard | None, now: datetime) -> Gateway:
    heard = heard or Heard(gateway_id=registered.gateway_id)
    report = None if heard.report is None else msgspec.convert(heard.report, Report)
    return Gateway(registered=registered, heard=heard, report=report, now=now)


def _time(time_us: int | None) -> datetime | None:
    """None for a time that no calendar has, too: a gateway's clock may say anything."""
    try:
        return None if time_us is None else datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_us)
    except OverflowError:
        return None


def _iso(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()
