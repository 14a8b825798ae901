"""`segs-cloud payment`: money that an operator has seen, in cash or on the bank's statement."""

from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated

import httpx
import typer

from cloud.billing.bill import find, whole
from cloud.billing.cli import an_amount
from cloud.billing.show import money
from cloud.command import a_time, group, tell
from cloud.db.queries import Queries
from cloud.errors import CloudError, InputError
from cloud.operator import domain_transaction, rows
from cloud.payments.settings import PaymentSettings
from cloud.payments.signature import HEADER
from cloud.printable import printable

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


class Told(StrEnum):
    """What a provider tells of a payment."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REVERSED = "reversed"


class NoProvider(InputError):
    """There is no secret to sign with."""

    def __init__(self) -> None:
        super().__init__("no provider is simulated; set SEGS_PAYMENT_SIMULATED_SECRETS to the secret that the API has")


class UnknownPayment(CloudError):
    """Nobody has begun it."""

    def __init__(self, reference: str) -> None:
        super().__init__(f"no payment {printable(reference)} was begun; a customer does that, by the API")


class NotTold(CloudError):
    """The API does not know."""


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
        [beyond] = rows(domain, _QUERIES["beyond"], {"payment": made["payment_id"]})
    rest = money(found["open"], currency, found["digits"])
    done = "is recorded" if made["created"] else "was recorded before"
    credit = money(beyond["amount"], currency, found["digits"])
    credited = f" {credit} of it became the customer's credit." if beyond["amount"] else ""
    tell(f"{bill}: {money(amount, currency, found['digits'])} {done}; it is {found['status']}, {rest} open.{credited}")


@app.command()
def reverse(
    bill: Bill,
    reference: Reference,
    at: Annotated[
        datetime | None, typer.Option(parser=a_time, metavar="TIME", help="When it was taken back; else now.")
    ] = None,
) -> None:
    """Take a payment back that was recorded by hand: the bank returned it, or it never came. The bill is open again."""
    now = datetime.now(UTC)
    with domain_transaction() as domain:
        invoice_id = find(domain, bill)
        what = {"invoice": invoice_id, "reference": reference, "at": at or now, "now": now}
        domain.execute(_QUERIES["reverse"], what)
        found = whole(domain, invoice_id)
    rest = money(found["open"], found["currency"], found["digits"])
    tell(f"{bill}: payment {printable(reference)} is reversed; it is {found['status']}, {rest} open.")


@app.command()
def simulate(
    reference: Annotated[str, typer.Argument(help="Reference of a payment that a customer has begun.")],
    api: Annotated[str, typer.Option(help="Address of the API, http://127.0.0.1:8081/api/v1.")],
    status: Annotated[Told, typer.Option(help="What became of it.")] = Told.SUCCEEDED,
) -> None:
    """Be the simulated provider: tell the API by its webhook, signed, what became of a payment. No money moves."""
    provider = PaymentSettings().simulated()
    if provider is None:
        raise NoProvider
    with domain_transaction() as domain:
        found = rows(domain, _QUERIES["begun"], {"provider": provider.name, "reference": reference})
    if not found:
        raise UnknownPayment(reference)
    [payment] = found
    body, signature = provider.tell(
        # However often it is told, it is the same event.
        event_id=f"{reference}-{status.value}",
        payment=reference,
        invoice=payment["invoice"],
        amount=payment["amount"],
        currency=payment["currency"],
        status=status.value,
        at=payment["occurred_at"],
        signed_at=datetime.now(UTC),
    )
    headers = {HEADER: signature, "Content-Type": "application/json"}
    try:
        answer = httpx.post(f"{api.rstrip('/')}/billing/webhooks/{provider.name}", content=body, headers=headers)
    except (httpx.TransportError, httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise NotTold(
            f"the API at {api} does not answer: {error}; segs api prints the address of a local one"
        ) from error
    if not answer.is_success:
        raise NotTold(f"the API refused what it was told, with {answer.status_code}: {printable(answer.text[:500])}")
    tell(f"{reference}: {status.value}, and the API knows.")


@app.command()
def refund(
    bill: Bill, amount: Amount, reference: Reference, method: Annotated[Method, typer.Option(help="How.")] = Method.BANK
) -> None:
    """Record money that went back to a bill's customer, out of what they have to their credit."""
    with domain_transaction() as domain:
        what = {"invoice": find(domain, bill), "reference": reference, "amount": amount, "method": method.value}
        domain.execute(_QUERIES["refund"], {**what, "now": datetime.now(UTC)})
    tell(f"{bill}: {amount:f} went back to its customer.")
