"""Bills of the months before, whose intervals may be others by now."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from decimal import Decimal

import psycopg

from cloud.billing.energy import touched, versions
from cloud.billing.finding import Finding
from cloud.db.queries import Queries
from cloud.operator import Row, rows
from cloud.tariffs.amount import plain

_QUERIES = Queries("billing")
_FARTHEST = 11
"""So many months back a run can be told to look."""


def changed(domain: psycopg.Connection, telemetry: psycopg.Connection, bills: Sequence[Row]) -> list[Row]:
    """Those of other intervals than they were made from, those that go on from one of them or from a bill that is
    younger, and those that have corrections which are another's."""
    return _changed(telemetry, bills, _spans(domain, bills))


def late(
    domain: psycopg.Connection, telemetry: psycopg.Connection, bills: Sequence[Row], *, month: date, looked: bool
) -> dict[int, list[Finding]]:
    """By meter, of `bills` that the run of `month` corrects no more, those of other intervals than they were made from.

    `looked` says whether a run looked at them again after all of their readings could have come.
    """
    spans = _spans(domain, bills)
    places = {spans[place]["bill"] for place in touched(telemetry, spans, readings=not looked)}
    # Few are: what all bills of a year add up to by now would take longer than to make those of a month.
    few = [bill for n, bill in enumerate(bills) if n in places]
    notes: dict[int, list[Finding]] = defaultdict(list)
    for bill in _changed(telemetry, few, _spans(domain, few)):
        if bill["changed"]:
            notes[bill["meter_id"]].append(Finding("late", bill["starts_at"], bill["ends_at"], _text(bill, month)))
    return notes


def _spans(domain: psycopg.Connection, bills: Sequence[Row]) -> list[Row]:
    """Those of which the intervals are behind bills; `bill` is the place of theirs."""
    spans = [
        {**bill, "since": bill["starts_at"], "until": bill["ends_at"], "bill": n, "own": True}
        for n, bill in enumerate(bills)
    ]
    generated = [(n, bill) for n, bill in enumerate(bills) if bill["generated"]]
    if generated:
        asked = {
            "meters": [bill["meter_id"] for _, bill in generated],
            "first": [bill["first_day"] for _, bill in generated],
            "end": [bill["end_day"] for _, bill in generated],
        }
        spans += [
            {
                "meter_id": row["generator_id"],
                "since": row["starts_at"],
                "until": row["ends_at"],
                "finalised_at": generated[row["bill"] - 1][1]["finalised_at"],
                "bill": generated[row["bill"] - 1][0],
                "own": False,
            }
            for row in rows(domain, _QUERIES["generators"], asked)
        ]
    return spans


def _changed(telemetry: psycopg.Connection, bills: Sequence[Row], spans: Sequence[Row]) -> list[Row]:
    """With what the meter took and gave by now, and whether it is the bill itself that `changed`."""
    now, missing = [0] * len(bills), [0] * len(bills)
    energy: dict[int, Row] = {}
    for span, one in zip(spans, versions(telemetry, spans), strict=True):
        now[span["bill"]] += one["version"]
        missing[span["bill"]] += one["missing"]
        if span["own"]:
            energy[span["bill"]] = {"now_import_wh": one["import_wh"], "now_export_wh": one["export_wh"]}
    found: list[Row] = []
    for n, bill in enumerate(bills):
        # A bill that goes on with what is banked, or looks back at peaks, may be another one because one before is.
        follows = bill["looks_back"] and found and found[-1]["meter_id"] == bill["meter_id"]
        other = now[n] != bill["version"]
        # What retention has dropped is no change, and what is not all there yet will be.
        if not missing[n] and (other or follows or bill["behind"] or bill["stranded"]):
            found.append({**bill, **energy[n], "changed": other})
    return found


def _text(bill: Row, month: date) -> str:
    was, has = (f"{_kwh(bill[f'{of}import_wh'])} and {_kwh(bill[f'{of}export_wh'])}" for of in ("", "now_"))
    first = bill["first_day"]
    # The run of this month has been; the next one would have to look a month farther back.
    months = 12 * (month.year - first.year) + month.month - first.month + 1
    by_a_run = f"segs-cloud billing settings --recheck-months {months} has the next one do so, or "
    return (
        f"{bill['invoice_number']} is over {was} kWh of import and export, its intervals have {has} by now, and no run"
        f" looks back that far; {by_a_run if months <= _FARTHEST else ''}segs-cloud billing credit takes it back and a"
        " run of its month bills it anew"
    )


def _kwh(wh: int) -> str:
    return plain(Decimal(wh) / 1000)
