"""`segs-cloud audit`: who did what, who looked at what, and whether the log of it is still what was written."""

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cloud.audit.heads import lines, read
from cloud.audit.show import in_utc, overview
from cloud.audit.verify import read_heads
from cloud.audit.verify import verify as verify_log
from cloud.command import a_time, group, require_span, show, show_json, tell
from cloud.db.queries import Queries
from cloud.errors import CloudError
from cloud.instant import written
from cloud.operator import domain_database, domain_transaction, rows

app = group(help="The audit log: who changed what, who looked at what, and whether the log is whole.")
_QUERIES = Queries("audit")
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


class Action(StrEnum):
    """What was done to a row; READ for a look at somebody else's data."""

    INSERT = "INSERT"
    UPDATE = "UPDATE"
    DELETE = "DELETE"
    READ = "READ"


class BrokenLog(CloudError):
    """The audit log is not what was written."""


@app.command("list")
def list_(
    actor: Annotated[str | None, typer.Option(help="Only what this one did: user:17, segs-cloud:ada.")] = None,
    action: Annotated[Action | None, typer.Option(help="Only this.")] = None,
    table: Annotated[str | None, typer.Option(help="Only of this table; with --action READ, of this part.")] = None,
    row: Annotated[str | None, typer.Option(help="Only of the row with this key.")] = None,
    request: Annotated[str | None, typer.Option(help="Only what this request did.")] = None,
    subject: Annotated[int | None, typer.Option(help="Only looks at this user's data, by number.")] = None,
    meter: Annotated[int | None, typer.Option(help="Only looks at this meter's data, by number.")] = None,
    since: Annotated[
        datetime | None, typer.Option("--from", parser=a_time, metavar="TIME", help="Since when, 2026-11-27T10:00Z.")
    ] = None,
    until: Annotated[datetime | None, typer.Option("--to", parser=a_time, metavar="TIME", help="Until when.")] = None,
    before: Annotated[int | None, typer.Option(help="Go on from here: the last number of the page before.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    as_json: Json = False,
) -> None:
    """What was logged, newest first."""
    if since and until:
        require_span(since, until)
    wanted = {
        "actor": actor,
        "action": None if action is None else action.value,
        "table": table,
        "row": row,
        "request": request,
        "subject": subject,
        "meter": meter,
        "from": since,
        "to": until,
        "before": before,
        "limit": limit,
    }
    with domain_transaction() as domain:
        found = rows(domain, _QUERIES["page"], wanted)
    page = found[:limit]
    if as_json:
        show_json([in_utc(entry) for entry in page])
    elif page:
        show(overview(page))
    else:
        tell("Nothing of that was logged.")
    if len(found) > limit:
        tell(f"There is more: --before {page[-1]['audit_id']}")


@app.command()
def verify(
    heads: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What audit head said before; what it named must still be there."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Recompute every hash. The first row that was altered, deleted, inserted or moved is named; exit status 1."""
    known = read(heads) if heads else []
    with domain_database() as domain:
        verdict = verify_log(domain, known=known)
    fault = verdict.fault
    if as_json:
        show_json(
            {
                "whole": fault is None,
                "rows": verdict.rows,
                "transactions": verdict.links,
                "fault": fault and {"kind": fault.kind, "audit_id": fault.audit_id, "message": fault.message},
            }
        )
    if fault is not None:
        raise BrokenLog(f"the audit log is not what was written: {fault.message}")
    tell(f"The audit log is whole: {verdict.rows} rows of {verdict.links} transactions.")


@app.command()
def head(as_json: Json = False) -> None:
    """The ends of the chain, lane, link and hash. Kept elsewhere, they prove later that no end was cut off."""
    with domain_database() as domain:
        found = read_heads(domain)
    if as_json:
        show_json([{"lane": end.lane, "link_id": end.link_id, "hash": end.hash.hex()} for end in found])
        return
    typer.echo(f"# {written(datetime.now(UTC))}")
    for line in lines(found):
        typer.echo(line)
