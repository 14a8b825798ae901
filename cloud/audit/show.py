"""The audit log for people: a row a line, and what changed in it."""

import json
from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from cloud.command import table
from cloud.instant import InstantError, parse, written
from cloud.operator import Row
from cloud.printable import printable

_SIDES = ("old", "new")


def overview(found: list[Row]) -> Table:
    shown = table("Audit log", "number", "time", "actor", "action", "table", "row", "request", "what")
    for row in found:
        texts = (row["actor"], row["action"], row["table_name"], row["row_key"], row["request_id"] or "-", _what(row))
        shown.add_row(str(row["audit_id"]), written(row["occurred_at"]), *(escape(printable(text)) for text in texts))
    return shown


def in_utc(row: Row) -> Row:
    """The entry with the times of columns as all commands show them; the log has them in the zone of their session."""
    return row | {
        side: row[side] and {name: _instant(name, value) for name, value in row[side].items()} for side in _SIDES
    }


def _instant(name: str, value: object) -> object:
    if not (name.endswith("_at") and isinstance(value, str)):
        return value
    try:
        return written(parse(value))
    except InstantError:
        return value


def _what(row: Row) -> str:
    """Columns that an UPDATE changed, with their values; what a READ asked for, and of whom."""
    old: Mapping[str, Any] = row["old"] or {}
    new: Mapping[str, Any] = row["new"] or {}
    if row["action"] == "UPDATE":
        changed = [name for name in new if name != "updated_at" and old.get(name) != new[name]]
        return ", ".join(f"{name} {_text(old.get(name))} > {_text(new[name])}" for name in changed)
    if row["action"] == "READ":
        of = {"users": row["subjects"], "meters": row["meters"]}
        asked = [f"{name} {_text(value)}" for name, value in {**new, **of}.items() if value is not None]
        return ", ".join(asked)
    return ""


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
