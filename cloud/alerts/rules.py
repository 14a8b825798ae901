"""`segs-cloud alerts rules`: by what alerts are raised."""

import json
import math
from typing import Annotated, Any

import typer
from rich.markup import escape

from cloud.alerts.named import require_named
from cloud.command import group, show_json, span, table, tell
from cloud.command import show as show_parts
from cloud.db.queries import Queries
from cloud.operator import Row, domain_transaction, rows
from cloud.printable import printable

app = group(help="Rules that raise alerts: for all, for a region in their place, or for a meter in place of both.")

_QUERIES = Queries("api_alerts")
_MOST = 10_000
_WORDS = ("metric", "severity", "worse_severity", "category")
_NUMBERS = (
    *("raise_at", "clear_at", "worse_at", "worse_after_s", "window_min", "for_s", "keep_s", "hold_s"),
    *("min_load_percent", "rating_percent"),
)
_LARGEST = 1e15
_SWITCHES = ("above", "tells_owner", "tells_operators", "enabled")
Rule = Annotated[str, typer.Argument(help="Name of the rule.")]
Region = Annotated[str | None, typer.Option(help="For this region; for all without it.")]
Meter = Annotated[str | None, typer.Option(help="For the meter with this code.")]


@app.command("list")
def list_(
    rule: Annotated[str | None, typer.Option(help="Only versions of this rule.")] = None,
    history: Annotated[bool, typer.Option(help="Also versions that are not in force any more.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Rules in force."""
    asked = {"rule": rule, "region": None, "meter": None, "history": history, "after": 0, "limit": _MOST, "id": None}
    with domain_transaction() as domain:
        require_named(domain, rule=rule)
        found = rows(domain, _QUERIES["rules"], asked)[:_MOST]
    if as_json:
        show_json(found)
        return
    columns = ("rule", "for", "severity", "raised", "over", "window", "tells", "enabled", "in force")
    made = table(f"{len(found)} rules", *columns)
    for one in found:
        of = escape(printable(one["meter"] or one["region"] or "all"))
        sign = ">" if one["above"] else "<"
        raised = f"{one['metric']} {sign} {_amount(one['raise_at'])} {one['unit']}".strip()
        window = f"{one['window_min']} min"
        enabled = "yes" if one["enabled"] else "no"
        told = ", ".join(who for who in ("owner", "operators") if one[f"tells_{who}"]) or "nobody"
        thresholds = (raised, _amount(one["clear_at"]), window)
        made.add_row(one["rule"], of, one["severity"], *thresholds, told, enabled, span(one))
    show_parts(made)


@app.command("set")
def set_(
    rule: Rule,
    change: Annotated[
        list[str], typer.Argument(metavar="KEY=VALUE", help="raise_at=88, severity=high, enabled=false; null for none.")
    ],
    region: Region = None,
    meter: Meter = None,
) -> None:
    """Set a rule from now on, or make a new one. What is not said stays. What is open goes on by the new version."""
    said = dict(_said(one) for one in change)
    with domain_transaction() as domain:
        place = _place(domain, region, meter)
        domain.execute(_QUERIES["rule_set"], {"rule": rule, "change": json.dumps(said), **place})
    tell(f"{rule} holds from now on for {meter or region or 'all'}.")


@app.command()
def end(rule: Rule, region: Region = None, meter: Meter = None) -> None:
    """End what is said of a region, of a meter, or of all. What no rule looks at any more is resolved."""
    with domain_transaction() as domain:
        [ended] = rows(domain, _QUERIES["rule_end"], {"rule": rule, **_place(domain, region, meter)})
    tell(f"{rule} ended for {meter or region or 'all'}; alerts resolved: {ended['resolved']}.")


def _place(domain: Any, region: str | None, meter: str | None) -> Row:
    if region is not None and meter is not None:
        raise typer.BadParameter("give --region or --meter, and not both")
    named = {"meter": meter, "gateway": None, "site": None, "region": region}
    [found] = rows(domain, _QUERIES["subject"], named)
    return {"region": found["region"], "meter_id": found["meter_id"]}


def _said(text: str) -> tuple[str, Any]:
    key, sign, value = text.partition("=")
    known = (*_WORDS, *_NUMBERS, *_SWITCHES)
    if not sign or key not in known:
        raise typer.BadParameter(f"{text!r} says nothing of a rule; write KEY=VALUE, with one of {' '.join(known)}")
    if value == "null":
        return key, None
    if key in _WORDS:
        return key, value
    try:
        said = json.loads(value)
    except ValueError:
        said = value
    if key in _SWITCHES and not isinstance(said, bool):
        raise typer.BadParameter(f"{key} is true or false, and not {value!r}")
    if key in _NUMBERS and (isinstance(said, bool) or not isinstance(said, int | float) or not math.isfinite(said)):
        raise typer.BadParameter(f"{key} is a number, or null for none, and not {value!r}")
    if key in _NUMBERS and abs(said) > _LARGEST:
        raise typer.BadParameter(f"{key} is at most 1e15, above 0 and below, and not {value!r}")
    return key, said


def _amount(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"
