"""The audit log for people: a row a line, and what changed in it."""

import json
from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from cloud.command import table
from cloud.instant import written
from cloud.operator import Row
from cloud.printable import printable


def overview(found: list[Row]) -> Table:
    shown = table("Audit log", "number", "time", "actor", "action", "table", "row", "request", "what")
    for row in found:
        texts = (row["actor"], row["action"], row["table_name"], row["row_key"], row["request_id"] or "-", _what(row))
        shown.add_row(str(row["audit_id"]), written(row["occurred_at"]), *(escape(printable(text)) for text in texts))
    return shown


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
