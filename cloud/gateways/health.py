"""How gateways are doing: what was registered, what they delivered, and what they last said of themselves."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec
import psycopg
from msgspec.structs import asdict
from psycopg.rows import class_row

from cloud.db.queries import Queries
from cloud.instant import written
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
        report = self.report
        return known | {name: None if report is None else said(self, report) for name, said in _REPORTED.items()}


_REPORTED: dict[str, Callable[[Gateway, Report], object]] = {
    "software": lambda _, report: report.software,
    "started_at": lambda _, report: _iso(_time(report.started_us)),
    "backlog": lambda gateway, report: {
        "readings": report.backlog.readings,
        "bytes": report.backlog.bytes,
        "oldest_at": _iso(_time(report.backlog.oldest_us)),
        "age_s": gateway.backlog_age_s,
    },
    "loss_window_s": lambda _, report: report.loss_window_s,
    "clock": lambda gateway, report: {"ahead_s": gateway.heard.clock_ahead_s} | asdict(report.clock),
    "last_receipt_at": lambda _, report: _iso(_time(report.last_receipt_us)),
    "given_up": lambda _, report: asdict(report.given_up),
    "lost_notes": lambda _, report: report.lost_notes,
    "buffer": lambda _, report: {name: value for name, value in asdict(report.buffer).items() if name != "set_aside"},
    "set_aside_files": lambda _, report: report.buffer.set_aside,
    "meters": lambda _, report: report.meters,
    "silent_meters": lambda _, report: report.silent_meters,
    "rejected_messages": lambda _, report: report.rejected_messages,
    "troubles": lambda _, report: report.troubles,
}
"""What a report says of a gateway, by the names that machines read."""


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
    return None if time is None else written(time)
