"""`segs-cloud payment`: money that an operator has seen, in cash or on the bank's statement."""

from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated

import typer

from cloud.billing.bill import find, whole
from cloud.billing.cli import an_amount
from cloud.billing.show import money
from cloud.command import a_time, group, tell
from cloud.db.queries import Queries
from cloud.operator import domain_transaction, rows

app = group(help="Payments: what came, and what goes back.")
_QUERIES = Queries("payment")
Bill = Annotated[str, typer.Argument(help="Number of the bill, INV-0000000001.")]
Amount = Annotated[Decimal, typer.Option(parser=an_amount, metavar="AMOUNT", help="How much, 12.50.")]
Reference = Annotated[
    str, typer.Option(help="Number of the receipt, or of the line of the bank's statement: it counts once.")
]


class Method(StrEnum):
    """How money came."""

    CASH = "cash"
    BANK = "bank"


@app.command()
def record(
    bill: Bill,
    amount: Amount,
    reference: Reference,
    method: Annotated[Method, typer.Option(help="How it came.")] = Method.BANK,
    at: Annotated[
        datetime | None, typer.Option(parser=a_time, metavar="TIME", help="When it came, 2026-11-27T10:00Z; else now.")
    ] = None,
) -> None:
    """Record a payment. What is more than is open is the customer's credit. A reference counts once."""
    now = datetime.now(UTC)
    with domain_transaction() as domain:
        invoice_id = find(domain, bill)
        currency = whole(domain, invoice_id)["currency"]
        what = {"invoice": invoice_id, "reference": reference, "amount": amount, "currency": currency}
        [made] = rows(domain, _QUERIES["record"], {**what, "method": method.value, "at": at or now, "now": now})
        found = whole(domain, invoice_id)
    rest = money(found["open"], currency, found["digits"])
    done = "is recorded" if made["created"] else "was recorded before"
    tell(f"{bill}: {money(amount, currency, found['digits'])} {done}; it is {found['status']}, {rest} open.")


@app.command()
def refund(
    bill: Bill, amount: Amount, reference: Reference, method: Annotated[Method, typer.Option(help="How.")] = Method.BANK
) -> None:
    """Record money that went back to a bill's customer, out of what they have to their credit."""
    with domain_transaction() as domain:
        what = {"invoice": find(domain, bill), "reference": reference, "amount": amount, "method": method.value}
        domain.execute(_QUERIES["refund"], {**what, "now": datetime.now(UTC)})
    tell(f"{bill}: {amount:f} went back to its customer.")
