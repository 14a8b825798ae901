"""`segs-cloud billing`: bills of a month, and what becomes of them."""

from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cloud.billing.bill import find, whole
from cloud.billing.block import Billed
from cloud.billing.run import Run
from cloud.billing.show import billed, details, money, overview
from cloud.command import group, show_json, table, tell
from cloud.command import show as show_parts
from cloud.db.queries import Queries
from cloud.errors import CloudError, UnknownMeter
from cloud.operator import domain_database, domain_transaction, rows, telemetry_database

app = group(help="Bills: the run of a month, numbers, credit notes, disputes, what is overdue.")
_QUERIES = Queries("billing")
_AT_ONCE = 1000


def a_month(text: str) -> date:
    """Parser of an option that takes a month."""
    try:
        if len(text) != 7:
            raise ValueError(text)
        return date.fromisoformat(f"{text}-01")
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no month; write 2026-11") from None


def an_amount(text: str) -> Decimal:
    """Parser of an option that takes money."""
    try:
        found = Decimal(text)
    except InvalidOperation:
        found = Decimal(0)
    if not (found.is_finite() and 0 < found < 10**12):
        raise typer.BadParameter(f"{text!r} is no amount above 0; write 12.50")
    return found


class Finalise(StrEnum):
    """Who makes drafts final: the run, or an operator."""

    AUTO = "auto"
    MANUAL = "manual"


class LateData(StrEnum):
    """What readings lead to that come after a bill is final."""

    ADJUST = "adjust"
    REPLACE = "replace"


class Outcome(StrEnum):
    """How a dispute ends."""

    UPHELD = "upheld"
    REJECTED = "rejected"


class Status(StrEnum):
    """What a bill may be."""

    DRAFT = "draft"
    FINAL = "final"
    PAID = "paid"
    OVERDUE = "overdue"
    DISPUTED = "disputed"
    CANCELLED = "cancelled"


class Unbilled(CloudError):
    """Some of a month could not be billed; standard output says what and why."""


Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
Month = Annotated[date, typer.Option(parser=a_month, metavar="YYYY-MM", help="Month, local to each meter.")]
Bill = Annotated[str, typer.Argument(help="Number of the bill, INV-0000000001.")]
Reason = Annotated[str, typer.Option(help="Why; it is kept, and the customer reads it.")]
Amount = Annotated[
    Decimal | None,
    typer.Option(
        parser=an_amount, metavar="AMOUNT", help="How much of it, with its taxes; all that is left without one."
    ),
]


@app.command()
def run(
    month: Month,
    meter: Annotated[list[str] | None, typer.Option(help="Only this meter; may be repeated.")] = None,
    as_json: Json = False,
) -> None:
    """Bill a month. Run it again, and several at once, as often as you like: what is billed stays as it is."""
    done: list[Billed] = []
    with domain_database() as domain, telemetry_database(autocommit=True) as telemetry:
        for one in Run(domain, telemetry, month=month, meters=meter or (), clock=lambda: datetime.now(UTC)):
            done.append(one)
            if not as_json:
                for line in billed(one):
                    typer.echo(line)
    if as_json:
        show_json({"month": f"{month:%Y-%m}", "meters": [_document(one) for one in done]})
    blocked = [one for one in done if one.state == "blocked"]
    if blocked:
        raise Unbilled(
            f"{len(blocked)} of {len(done)} meters are not billed whole; wait for what is not over, mend what else is"
            " told, and run it again"
        )
    tell(f"{len(done)} meters billed, {sum(len(one.bills) for one in done)} bills.")


def _document(one: Billed) -> dict[str, object]:
    findings = [finding.document() for finding in one.findings]
    notes = [note.document() for note in one.notes]
    return {"meter": one.meter, "state": one.state, "bills": one.bills, "findings": findings, "notes": notes}


@app.command("list")
def list_(
    month: Annotated[date | None, typer.Option(parser=a_month, metavar="YYYY-MM", help="Only of this month.")] = None,
    meter: Annotated[str | None, typer.Option(help="Only of this meter.")] = None,
    status: Annotated[Status | None, typer.Option(help="Only those that are so.")] = None,
    as_json: Json = False,
) -> None:
    """Invoices and credit notes."""
    with domain_transaction() as domain:
        if meter is not None and not rows(domain, _QUERIES["meters"], {"codes": [meter]}):
            raise UnknownMeter(meter)
        found = rows(domain, _QUERIES["list"], {"month": month, "meter": meter, "status": status and status.value})
    if as_json:
        show_json(found)
    else:
        show_parts(overview(found))


@app.command()
def show(
    bill: Bill,
    pdf: Annotated[Path | None, typer.Option(dir_okay=False, help="Write it there as a PDF, and show nothing.")] = None,
    as_json: Json = False,
) -> None:
    """A bill with its lines, payments, credit notes and disputes."""
    with domain_transaction() as domain:
        found = whole(domain, find(domain, bill))
    if pdf is not None:
        # Fonts take a moment, which other commands need not wait for.
        from cloud.billing.pdf import written_pdf

        pdf.write_bytes(written_pdf(found))
        tell(f"{bill} is in {pdf}.")
    elif as_json:
        show_json(found)
    else:
        show_parts(*details(found))


@app.command()
def finalise(
    drafts: Annotated[list[str] | None, typer.Argument(help="Drafts by their id.")] = None,
    month: Annotated[
        date | None, typer.Option(parser=a_month, metavar="YYYY-MM", help="All drafts of this month.")
    ] = None,
) -> None:
    """Make drafts final. Each gets its number, recipient and due date, and never changes again."""
    if bool(drafts) == (month is not None):
        raise typer.BadParameter("give drafts, or --month")
    with domain_transaction() as domain:
        wanted = [find(domain, draft) for draft in drafts or ()]
        wanted += [row["invoice_id"] for row in rows(domain, _QUERIES["drafts"], {"month": month})] if month else []
    for invoice_id in wanted:
        with domain_transaction() as domain:
            [made] = rows(domain, _QUERIES["finalise"], {"invoices": [invoice_id], "now": datetime.now(UTC)})
        typer.echo(made["invoice_number"])
    tell(f"{len(wanted)} bills are final.")


@app.command()
def credit(bill: Bill, reason: Reason, amount: Amount = None) -> None:
    """Take a bill back by a credit note, all of it or an amount. What went back whole, the next run bills again."""
    with domain_transaction() as domain:
        what = {"invoice": find(domain, bill), "amount": amount, "reason": reason, "now": datetime.now(UTC)}
        [made] = rows(domain, _QUERIES["credit"], what)
        note = whole(domain, made["invoice_id"])
    typer.echo(note["number"])
    tell(f"{note['number']} takes {money(-note['total'], note['currency'], note['digits'])} of {bill} back.")


@app.command()
def dispute(bill: Bill, reason: Reason) -> None:
    """A customer does not agree with a bill. Until that is resolved it is not overdue."""
    with domain_transaction() as domain:
        domain.execute(_QUERIES["dispute"], {"invoice": find(domain, bill), "reason": reason, "now": datetime.now(UTC)})
    tell(f"{bill} is disputed.")


@app.command()
def resolve(
    bill: Bill, outcome: Annotated[Outcome, typer.Argument(help="How.")], reason: Reason, amount: Amount = None
) -> None:
    """End a dispute: upheld by a credit note, or rejected."""
    with domain_transaction() as domain:
        what = {"invoice": find(domain, bill), "outcome": outcome.value, "amount": amount, "reason": reason}
        [made] = rows(domain, _QUERIES["resolve"], {**what, "now": datetime.now(UTC)})
        note = whole(domain, made["invoice_id"])["number"] if made["invoice_id"] else None
    tell(f"The dispute of {bill} is {outcome.value}{f', by {note}' if note else ''}.")


@app.command()
def overdue(as_json: Json = False) -> None:
    """What is overdue. Workers find it every few minutes; this looks at once."""
    now = datetime.now(UTC)
    with domain_transaction() as domain:
        while rows(domain, _QUERIES["overdue"], {"limit": _AT_ONCE, "now": now})[0]["bills"] == _AT_ONCE:
            pass
        found = rows(domain, _QUERIES["owing"])
    if as_json:
        show_json(found)
        return
    made = table(f"{len(found)} bills are overdue", "number", "meter", "customer", "due", "open")
    for one in found:
        owed = money(one["open"], one["currency"])
        made.add_row(one["number"], one["meter"], str(one["user_id"]), str(one["due_date"]), owed)
    show_parts(made)


@app.command()
def settings(
    issuer: Annotated[str | None, typer.Option(help="Who bills: name, address, tax number, a line each.")] = None,
    payment_days: Annotated[int | None, typer.Option(min=0, max=365, help="Days to pay.")] = None,
    wait_h: Annotated[
        int | None, typer.Option(min=0, max=2400, help="Hours after a month's end before it is billed.")
    ] = None,
    finalise: Annotated[Finalise | None, typer.Option(help="Who makes drafts final.")] = None,
    late_data: Annotated[
        LateData | None, typer.Option(help="A line on the next bill, or a credit note and another bill.")
    ] = None,
    recheck_months: Annotated[
        int | None, typer.Option(min=0, max=11, help="How many months back a run looks for late data.")
    ] = None,
    bill_failed: Annotated[bool | None, typer.Option(help="Bill quarter-hours that failed their checks.")] = None,
    as_json: Json = False,
) -> None:
    """Show the policy of billing, or change what options name."""
    changed = {
        "issuer": issuer,
        "payment_days": payment_days,
        "wait_h": wait_h,
        "finalise": finalise and finalise.value,
        "late_data": late_data and late_data.value,
        "recheck_months": recheck_months,
        "bill_failed": bill_failed,
    }
    with domain_transaction() as domain:
        if any(value is not None for value in changed.values()):
            domain.execute(_QUERIES["set"], changed)
        [found] = rows(domain, _QUERIES["settings"])
    if as_json:
        show_json(found)
        return
    for name, value in found.items():
        shown = value.replace("\n", ", ") if isinstance(value, str) else value
        typer.echo(f"{name}: {shown}")


@app.command()
def address(
    user: Annotated[str, typer.Argument(help="Address that the customer logs in with; the number of one who left.")],
    address: Annotated[str | None, typer.Option(help="Postal address, a line each.")] = None,
    name: Annotated[str | None, typer.Option(help="Name on bills; the account's without one.")] = None,
) -> None:
    """Say where a customer's bills go. Bills that are final stay as they are."""
    if address is None and name is None:
        raise typer.BadParameter("give --address, --name, or both")
    with domain_transaction() as domain:
        found = rows(domain, _QUERIES["user"], {"user": user})
        if not found:
            raise UnknownCustomer(user)
        domain.execute(_QUERIES["address"], {"user": found[0]["user_id"], "name": name, "address": address})
    tell(f"Bills of {user} go there from now on.")


class UnknownCustomer(CloudError):
    """Nobody has this address or number."""

    def __init__(self, user: str) -> None:
        super().__init__(f"there is no user {user}; segs-cloud user list names them")
        self.user = user
