"""`segs-cloud alerts`: what was found wrong, and what is done about it."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.markup import escape

from cloud.alerts import maintenance, replaying, rules
from cloud.alerts.errors import NoOperator, UnknownAlert
from cloud.alerts.named import require_named
from cloud.command import a_time, group, require_span, show_json, table, tell
from cloud.command import show as show_parts
from cloud.db.queries import Queries
from cloud.instant import written
from cloud.operator import Row, domain_transaction, rows
from cloud.printable import printable

app = group(help="Alerts: what rules found wrong, and what is done about it.")
app.add_typer(rules.app, name="rules")
app.add_typer(maintenance.app, name="maintenance")
app.command("replay")(replaying.command)

_QUERIES = Queries("api_alerts")
_ANY: dict[str, Any] = dict.fromkeys(
    ("state", "open", "acknowledged", "severity", "rule", "category", "region", "site", "gateway", "meter", "from")
) | {"to": None, "alert": None, "after": 0}


class Severity(StrEnum):
    """How bad an alert is."""

    LOW = "low"
    MEDIUM = "medium"
    WARNING = "warning"
    HIGH = "high"
    CRITICAL = "critical"


class Category(StrEnum):
    """What an alert is about."""

    SUPPLY = "supply"
    LOAD = "load"
    CONSUMPTION = "consumption"
    TAMPER = "tamper"
    DATA = "data"


Numbers = Annotated[list[int], typer.Argument(help="Numbers of alerts.")]
As = Annotated[str, typer.Option("--as", metavar="EMAIL", help="In whose name: an operator's or admin's address.")]
Note = Annotated[str | None, typer.Option(help="What there is to say to it.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


@app.command("list")
def list_(
    everything: Annotated[bool, typer.Option("--all", help="Also those that are resolved.")] = False,
    severity: Annotated[Severity | None, typer.Option(help="Only those that are at least so bad.")] = None,
    rule: Annotated[str | None, typer.Option(help="Only those of this rule.")] = None,
    category: Annotated[Category | None, typer.Option(help="Only those about this.")] = None,
    region: Annotated[str | None, typer.Option(help="Only those of what is there now.")] = None,
    site: Annotated[str | None, typer.Option(help="Only those of this site and its meters.")] = None,
    gateway: Annotated[str | None, typer.Option(help="Only those of it and of what it reads now.")] = None,
    meter: Annotated[str | None, typer.Option(help="Only those of the meter with this code.")] = None,
    since: Annotated[
        datetime | None,
        typer.Option("--from", parser=a_time, metavar="TIME", help="Only those that began then or later."),
    ] = None,
    until: Annotated[
        datetime | None, typer.Option("--to", parser=a_time, metavar="TIME", help="Only those that began before.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 200,
    as_json: Json = False,
) -> None:
    """Alerts, the newest first; those that are open."""
    if since is not None and until is not None:
        require_span(since, until)
    named = {"rule": rule, "region": region, "site": site, "gateway": gateway, "meter": meter}
    asked = _ANY | named | {"severity": severity and severity.value, "category": category and category.value}
    asked |= {"from": since, "to": until, "limit": limit, "open": None if everything else True}
    with domain_transaction() as domain:
        require_named(domain, **named)
        found = rows(domain, _QUERIES["page"], asked)[:limit]
    if as_json:
        show_json(found)
        return
    made = table(f"{len(found)} alerts", "number", "severity", "state", "rule", "of", "since", "taken on", "what")
    for one in found:
        of = one["subject"] + (f", phase {one['phase']}" if one["phase"] else "")
        taken = "-" if one["acknowledged_at"] is None else written(one["acknowledged_at"])
        what = (escape(printable(of)), written(one["started_at"]), taken, escape(printable(one["message"])))
        made.add_row(str(one["alert_id"]), one["severity"], one["state"], one["rule"], *what)
    show_parts(made)


@app.command()
def show(number: Annotated[int, typer.Argument(help="Number of the alert.")], as_json: Json = False) -> None:
    """One alert, and what became of it."""
    with domain_transaction() as domain:
        found = rows(domain, _QUERIES["page"], _ANY | {"alert": number, "limit": 1})
        events = rows(domain, _QUERIES["events"], {"alert": number})
    if not found:
        raise UnknownAlert(number)
    [one] = found
    if as_json:
        show_json(one | {"events": events})
        return
    lines = [
        f"{one['alert_id']}: {printable(one['message'])}",
        f"of {printable(one['subject'])}, {one['severity']}, {one['state']}, by the rule {one['rule']}, since "
        f"{written(one['started_at'])}",
    ]
    made = table("what became of it", "time", "what", "by", "text")
    for event in events:
        by = "-" if event["user_id"] is None else f"user {event['user_id']}"
        made.add_row(written(event["at"]), event["kind"], by, escape(printable(event["text"] or "-")))
    show_parts("\n".join(lines), made)


@app.command()
def acknowledge(numbers: Numbers, name: As, note: Note = None) -> None:
    """Take alerts on: they are not told again for want of somebody."""
    _act("acknowledge", numbers, name, note)


@app.command()
def close(numbers: Numbers, name: As, note: Note = None) -> None:
    """Resolve alerts by hand. They do not open anew until what they are about was over once."""
    _act("close", numbers, name, note)


def _act(action: str, numbers: list[int], email: str, note: str | None) -> None:
    with domain_transaction() as domain:
        if not rows(domain, _QUERIES["operator"], {"email": email}):
            raise NoOperator(email)
        asked = {"action": action, "alerts": numbers, "note": note, "now": datetime.now(UTC)}
        outcomes = rows(domain, _QUERIES["act"], asked)
    tell("\n".join(_told(action, one, email, noted=note is not None) for one in outcomes))
    if any(one["outcome"] == "absent" for one in outcomes):
        raise typer.Exit(1)


def _told(action: str, one: Row, email: str, *, noted: bool) -> str:
    done = {"acknowledge": "is taken on", "close": "is closed"}[action]
    already = {"acknowledge": "was taken on before, or is over", "close": "was over already"}[action]
    already += "; the note is kept as a comment" if noted else ""
    absent = f"is not there, or not looked after by {email}"
    return f"alert {one['alert_id']} {({'done': done, 'already': already}).get(one['outcome'], absent)}."
