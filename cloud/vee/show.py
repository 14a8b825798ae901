"""Findings and quarter-hours for people."""

from datetime import datetime

from rich.markup import escape
from rich.table import Table

from cloud.command import table
from cloud.operator import Row
from cloud.printable import printable

_ENERGY = {
    "energy_import_wh": "import, Wh",
    "energy_export_wh": "export, Wh",
    "reactive_energy_import_varh": "import, varh",
    "reactive_energy_export_varh": "export, varh",
}


def findings_table(found: list[Row]) -> Table:
    shown = table("Findings that stand", "meter", "day", "rule", "first, UTC", "last, UTC", "measured", "allowed")
    for one in found:
        numbers = (f"{one['measured']:g}", f"{one['allowed']:g}")
        times = (_time(one["first_bucket"]), _time(one["last_bucket"]))
        shown.add_row(one["meter_code"], str(one["day"]), one["rule"], *times, *numbers)
    return shown


def quarters_table(meter: str, found: list[Row]) -> Table:
    shown = table(f"{meter}: what holds", "start, UTC", *_ENERGY.values(), "quality", "version", "from")
    for one in found:
        energy = [_number(one[name]) for name in _ENERGY]
        shown.add_row(_time(one["bucket"]), *energy, str(one["quality"]), str(one["version"]), one["source"])
    return shown


def history_table(meter: str, found: list[Row]) -> Table:
    columns = ("start, UTC", "method", *_ENERGY.values(), "since, UTC", "by", "why", "until, UTC", "by", "why")
    shown = table(f"{meter}: what ever stood in for its readings", *columns)
    for one in found:
        made = (_time(one["created_at"]), _text(one["actor"]), _text(one["reason"]))
        ended = (_time(one["ended_at"]), _text(one["ended_by"]), _text(one["ended_reason"]))
        energy = [_number(one[name]) for name in _ENERGY]
        shown.add_row(_time(one["bucket"]), one["method"], *energy, *made, *ended)
    return shown


def _time(when: datetime | None) -> str:
    return "" if when is None else f"{when:%Y-%m-%d %H:%M}"


def _number(value: int | None) -> str:
    return "" if value is None else str(value)


def _text(value: str | None) -> str:
    return escape(printable(value or ""))
