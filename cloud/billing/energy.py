"""What a meter took in spans of time, from the telemetry database, and whether that is all."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg

from cloud.billing.finding import Finding
from cloud.db.queries import Queries
from cloud.instant import written
from cloud.operator import Row, rows

_QUERIES = Queries("billing_energy")
_OF_SEGMENT = (
    "account",
    "tariff_id",
    "import_wh",
    "export_wh",
    "import_varh",
    "peak_wh",
    "quality",
    "version",
    "estimated",
)
_OF_GENERATION = ("gross_load_wh", "pv_gen_wh", "peak_wh", "quality", "version", "estimated")
_OF_DAY = ("import_wh", "export_wh", "estimated")
_QUARTER = timedelta(minutes=15)
_GAPS = 5
"""So many gaps are named one by one."""


@dataclass(frozen=True, slots=True)
class Energy:
    """Energy of each span, in order, by the columns of the query; `findings` say why it is not all."""

    segments: list[Row]
    days: list[Row]
    findings: list[Finding]

    def documents(self) -> dict[str, str]:
        """What bill_draft() takes, as JSON."""
        segments = [
            {name: written(segment[name]) for name in ("starts_at", "ends_at")}
            | {name: segment[name] for name in _OF_SEGMENT}
            | {name: segment[name] for name in _OF_GENERATION if name in segment}
            for segment in self.segments
        ]
        days = [{"day": str(day["day"]), **{name: day[name] for name in _OF_DAY}} for day in self.days]
        return {"energy": json.dumps(segments), "days": json.dumps(days)}


def energy(
    telemetry: psycopg.Connection,
    meter_id: int,
    segments: Sequence[Row],
    days: Sequence[Row],
    *,
    now: datetime,
    bill_failed: bool,
) -> Energy:
    """Of one bill's segments and days, each with `starts_at` and `ends_at`, in order and without gaps."""
    spanned: dict[str, Any] = {
        "meter": meter_id,
        "from": segments[0]["starts_at"],
        "to": segments[-1]["ends_at"],
        "now": now,
    }
    # What is computed between these statements was waiting, or is there: the queue is looked at before.
    [unfinished] = rows(telemetry, _QUERIES["unfinished"], spanned)
    found = _spans(telemetry, meter_id, segments)
    findings = [
        Finding(reason, spanned["from"], spanned["to"])
        for reason, there in (("unfinished", unfinished["waiting"]), ("broken", unfinished["failed"]))
        if there
    ]
    if any(one["missing"] for one in found):
        findings += _missing(telemetry, spanned)
    failed = [one["failed_at"] for one in found if one["failed"]]
    if failed and not bill_failed:
        findings.append(Finding("failed", min(failed), spanned["to"]))
    gross = [number for number, segment in enumerate(segments) if segment["gross"]]
    told = _generation(telemetry, meter_id, [segments[number] for number in gross])
    for number, one in zip(gross, told, strict=True):
        findings += _contradictions(telemetry, meter_id, segments[number], one)
        if one["failed"] and not bill_failed:
            findings.append(Finding("failed", one["failed_at"], one["ends_at"]))
        found[number] |= {name: one[name] for name in _OF_GENERATION}
    for generator in sorted({segments[number]["generator_id"] for number in gross}):
        [waiting] = rows(telemetry, _QUERIES["unfinished"], {**spanned, "meter": generator})
        if waiting["waiting"]:
            findings.append(Finding("unfinished", spanned["from"], spanned["to"]))
    return Energy(
        [{**dict(segment), **one} for segment, one in zip(segments, found, strict=True)],
        [{**dict(day), **one} for day, one in zip(days, _spans(telemetry, meter_id, days), strict=True)],
        findings,
    )


def version(telemetry: psycopg.Connection, meter_id: int, span: Row, generated: Sequence[Row]) -> Row:
    """The one span's `version`, the sum of its quarter-hours', and how many are `missing`; `generated` are those of
    other meters that are behind it too."""
    found = _spans(telemetry, meter_id, [span])
    for one in generated:
        found += _spans(telemetry, one["meter"], [one])
    return {name: sum(one[name] for one in found) for name in ("version", "missing")}


def _generation(telemetry: psycopg.Connection, meter_id: int, spans: Sequence[Row]) -> list[Row]:
    if not spans:
        return []
    asked = {
        "meter": meter_id,
        "starts": [span["starts_at"] for span in spans],
        "ends": [span["ends_at"] for span in spans],
        "generators": [span["generator_id"] for span in spans],
    }
    return rows(telemetry, _QUERIES["generation"], asked)


def _contradictions(telemetry: psycopg.Connection, meter_id: int, segment: Row, told: Row) -> list[Finding]:
    quarters = (segment["ends_at"] - segment["starts_at"]) / _QUARTER
    if told["known"] == quarters and not told["contradicted"]:
        return []
    asked = {
        "meter": meter_id,
        "generator": segment["generator_id"],
        "from": segment["starts_at"],
        "to": segment["ends_at"],
    }
    return [Finding("generation", gap["from"], gap["to"]) for gap in rows(telemetry, _QUERIES["ungenerated"], asked)]


def _spans(telemetry: psycopg.Connection, meter_id: int, spans: Sequence[Row]) -> list[Row]:
    ends = {
        "meter": meter_id,
        "starts": [span["starts_at"] for span in spans],
        "ends": [span["ends_at"] for span in spans],
    }
    return rows(telemetry, _QUERIES["spans"], ends)


def _missing(telemetry: psycopg.Connection, spanned: dict[str, Any]) -> list[Finding]:
    gaps = rows(telemetry, _QUERIES["missing"], spanned)
    named = [Finding("missing", gap["from"], gap["to"], _lacks(gap["quarters"])) for gap in gaps[:_GAPS]]
    rest = gaps[_GAPS:]
    if rest:
        text = f"{len(rest)} more gaps: {_lacks(sum(gap['quarters'] for gap in rest))}"
        named.append(Finding("missing", rest[0]["from"], rest[-1]["to"], text))
    return named


def _lacks(quarters: int) -> str:
    what = "quarter-hour is" if quarters == 1 else "quarter-hours are"
    return f"{quarters} {what} missing; wait for them, or estimate or edit them"
