"""Bills for people: tables of many, and one whole."""

from collections.abc import Iterator, Sequence
from decimal import Decimal

from rich.markup import escape
from rich.table import Table

from cloud.billing.block import Billed
from cloud.command import table
from cloud.operator import Row
from cloud.printable import printable
from cloud.tariffs.amount import plain


def money(amount: Decimal, currency: str, digits: int = 2) -> str:
    """The amount with the currency's decimal places, more only where it has more."""
    whole, _, fraction = plain(amount).partition(".")
    fraction = fraction.ljust(digits, "0")
    return f"{whole}.{fraction} {currency}" if fraction else f"{whole} {currency}"


def billed(one: Billed) -> Iterator[str]:
    """A line a bill or finding."""
    for bill in one.bills:
        name = bill["invoice_number"] or f"draft {bill['invoice_id']}"
        span = f"{bill['period_start']} to {bill['period_end']}"
        yield f"{one.meter}: {name}, {span}, {money(bill['total_amount'], bill['currency'])}, {bill['status']}"
    for finding in (*one.findings, *one.notes):
        yield f"{one.meter}: {finding}"
    if not one.bills and not one.findings and not one.notes:
        yield f"{one.meter}: nothing was left to bill"


def overview(bills: Sequence[Row]) -> Table:
    made = table(f"{len(bills)} bills", "number", "kind", "meter", "from", "to", "status", "total", "open", "due")
    for bill in bills:
        made.add_row(
            bill["number"] or f"draft {bill['invoice_id']}",
            *(bill["kind"].replace("_", " "), bill["meter"], str(bill["first_day"]), str(bill["end_day"])),
            bill["status"],
            *(money(bill[name], bill["currency"]) for name in ("total", "open")),
            str(bill["due_date"] or "-"),
        )
    return made


def details(bill: Row) -> Iterator[str | Table]:
    """`bill` is what `segs-cloud billing show --json` says."""
    currency, digits = bill["currency"], bill["digits"]
    yield f"{bill['number'] or 'draft'}: {bill['kind'].replace('_', ' ')}, {bill['status']}"
    if bill["credits"]:
        yield f"takes back: {bill['credits']}, {printable(bill['reason'])}"
    yield f"meter: {bill['meter']}, {bill['first_day']} to {bill['end_day']} ({bill['timezone']})"
    if bill["recipient_name"]:
        address = printable((bill["recipient_address"] or "").replace("\n", ", "))
        yield f"recipient: {printable(bill['recipient_name'])}, {address}"
    made = table(f"{len(bill['lines'])} lines", "what", "of", "quantity", "price", "amount", "tariff", "quality")
    for line in bill["lines"]:
        of = "-" if line["period"] is None else f"period {line['period']}"
        tier = "" if line["tier"] is None else f" tier {line['tier']}"
        made.add_row(
            escape(printable(line["description"])),
            of + tier,
            f"{plain(line['quantity'])} {line['unit']}",
            plain(line["unit_price"]),
            money(line["amount"], currency, digits),
            "-" if line["tariff"] is None else f"{line['tariff']} ({line['tariff_id']})",
            ("-" if line["quality"] is None else str(line["quality"])) + (", estimated" if line["estimated"] else ""),
        )
    yield made
    for name in ("net", "tax", "total", "paid", "credited", "open"):
        yield f"{name}: {money(bill[name], currency, digits)}"
    if bill["due_date"]:
        yield f"due: {bill['due_date']}"
    for payment in bill["payments"]:
        by = f"{payment['provider']} {printable(payment['reference'])}"
        yield f"{payment['kind']}: {money(payment['amount'], currency, digits)} by {by}, {payment['status']}"
    for note in bill["credit_notes"]:
        yield f"credit note: {note['number']}, {money(note['total'], currency, digits)}, {printable(note['reason'])}"
    for dispute in bill["disputes"]:
        end = f"{dispute['outcome']}: {printable(dispute['resolution'])}" if dispute["outcome"] else "open"
        yield f"dispute: {printable(dispute['reason'])}, {end}"
