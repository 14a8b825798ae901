"""What meters took in the segments and days of bills, from the telemetry database, and whether that is all."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from cloud.billing.finding import Finding
from cloud.db.queries import Queries
from cloud.operator import Row, rows

_QUERIES = Queries("billing_energy")
_OF_PLAN = ("account", "tariff_id", "starts_at", "ends_at", "generators")
_OF_SEGMENTS = (
    *("import_wh", "export_wh", "import_varh", "gross_load_wh", "pv_gen_wh"),
    *("peak_wh", "quality", "version", "estimated"),
)
_OF_DAYS = ("day_import_wh", "day_export_wh", "day_estimated")
_GAPS = 5
"""So many gaps are named one by one."""


@dataclass(frozen=True, slots=True)
class Energy:
    """Of one bill: `columns` are arrays as PostgreSQL writes them, which nobody here reads; `findings` say why it is
    not all."""

    columns: dict[str, str]
    findings: list[Finding]


def document(energies: Sequence[Energy]) -> str:
    """What bills_draft() takes, JSON."""
    return json.dumps([one.columns for one in energies])


def energy(telemetry: psycopg.Connection, bills: Sequence[Row], *, now: datetime, bill_failed: bool) -> list[Energy]:
    """Of each bill, by its `meter_id`, `since` and `until` and the columns of its plan."""
    # What is computed between these statements was waiting, or is there: the queue is looked at before.
    unfinished = _unfinished(telemetry, bills, "meter_id", now)
    asked = _spans(bills, "meter_id") | {
        "segments": [bill["starts_at"] for bill in bills],
        "days": [bill["days"] for bill in bills],
        "generators": [bill["generators"] for bill in bills],
    }
    found = rows(telemetry, _QUERIES["energy"], asked)
    findings = [
        _findings(telemetry, bill, unfinished.get(n), one, now=now, bill_failed=bill_failed)
        for n, (bill, one) in enumerate(zip(bills, found, strict=True))
    ]
    generators = [
        {**bill, "n": n, "generator_id": generator}
        for n, (bill, one) in enumerate(zip(bills, found, strict=True))
        for generator in sorted({segment["generator_id"] for segment in one["gross"] or ()})
    ]
    for place, waits in _unfinished(telemetry, generators, "generator_id", now).items():
        if waits["waiting"]:
            bill = generators[place]
            findings[bill["n"]].append(Finding("unfinished", bill["since"], bill["until"]))
    return [
        Energy(
            {name: bill[name] for name in _OF_PLAN} | {name: one[name] for name in (*_OF_SEGMENTS, *_OF_DAYS)},
            why,
        )
        for bill, one, why in zip(bills, found, findings, strict=True)
    ]


def versions(telemetry: psycopg.Connection, spans: Sequence[Row]) -> list[Row]:
    """Of each span of a meter, by its `meter_id`, `since` and `until`: `version`, the sum of its quarter-hours',
    `import_wh` and `export_wh`, and how many are `missing`."""
    return rows(telemetry, _QUERIES["version"], _spans(spans, "meter_id")) if spans else []


def touched(telemetry: psycopg.Connection, spans: Sequence[Row], *, readings: bool) -> list[int]:
    """Places of spans that may be others than when a bill was made of them at `finalised_at`: by estimates and edits,
    and, if `readings` says so, by readings."""
    if not spans:
        return []
    asked = _spans(spans, "meter_id") | {"after": [span["finalised_at"] for span in spans], "readings": readings}
    return [row["place"] for row in rows(telemetry, _QUERIES["touched"], asked)]


def _spans(spans: Sequence[Row], meter: str) -> dict[str, Any]:
    return {
        "meters": [span[meter] for span in spans],
        "since": [span["since"] for span in spans],
        "until": [span["until"] for span in spans],
    }


def _unfinished(telemetry: psycopg.Connection, spans: Sequence[Row], meter: str, now: datetime) -> dict[int, Row]:
    """By their place, those of which something is."""
    if not spans:
        return {}
    return {row["n"] - 1: row for row in rows(telemetry, _QUERIES["unfinished"], _spans(spans, meter) | {"now": now})}


def _findings(
    telemetry: psycopg.Connection, bill: Row, unfinished: Row | None, found: Row, *, now: datetime, bill_failed: bool
) -> list[Finding]:
    findings = [
        Finding(reason, bill["since"], bill["until"])
        for reason, there in (("unfinished", "waiting"), ("broken", "failed"))
        if unfinished is not None and unfinished[there]
    ]
    if found["missing"]:
        findings += _missing(telemetry, bill)
    if found["unreactive"] and bill["reactive"] is not None:
        findings += _unreactive(telemetry, bill)
    if found["failed_at"] is not None and not bill_failed:
        findings.append(Finding("failed", found["failed_at"], bill["until"]))
    for segment in found["gross"] or ():
        since, until = (datetime.fromisoformat(segment[name]) for name in ("starts_at", "ends_at"))
        if segment["doubtful"]:
            asked = {"meter": bill["meter_id"], "generator": segment["generator_id"], "from": since, "to": until}
            gaps = rows(telemetry, _QUERIES["ungenerated"], asked)
            findings += [Finding("generation", gap["from"], gap["to"]) for gap in gaps]
        if segment["failed_at"] is not None and not bill_failed:
            findings.append(Finding("failed", datetime.fromisoformat(segment["failed_at"]), until))
    return findings


def _missing(telemetry: psycopg.Connection, bill: Row) -> list[Finding]:
    asked = {"meter": bill["meter_id"], "from": bill["since"], "to": bill["until"]}
    return _gaps(
        "missing", rows(telemetry, _QUERIES["missing"], asked), "missing; wait for them, or estimate or edit them"
    )


def _unreactive(telemetry: psycopg.Connection, bill: Row) -> list[Finding]:
    """Taken as none, what is not known would be the best power factor that there is."""
    asked = {"meter": bill["meter_id"], "from": bill["since"], "to": bill["until"], "spans": bill["reactive"]}
    told = (
        "without reactive energy, and its tariff has power factors; have it read, give it by segs-cloud vee edit "
        "--import-varh, or assign another tariff"
    )
    return _gaps("no_reactive", rows(telemetry, _QUERIES["unreactive"], asked), told)


def _gaps(reason: str, gaps: Sequence[Row], told: str) -> list[Finding]:
    named = [Finding(reason, gap["from"], gap["to"], _are(gap["quarters"], told)) for gap in gaps[:_GAPS]]
    rest = gaps[_GAPS:]
    if rest:
        text = f"{len(rest)} more gaps: {_are(sum(gap['quarters'] for gap in rest), told)}"
        named.append(Finding(reason, rest[0]["from"], rest[-1]["to"], text))
    return named


def _are(quarters: int, told: str) -> str:
    return f"{quarters} {'quarter-hour is' if quarters == 1 else 'quarter-hours are'} {told}"
