"""Payments: customers pay by a provider, and operators record what they have seen; nobody says of an own bill that it
is paid."""

from typing import Annotated
from uuid import uuid4

from fastapi import APIRouter
from pydantic import Field

from cloud.api.access import reach
from cloud.api.billing.forms import Method, Paid, Payment, Reference, decimal
from cloud.api.billing.invoices import InvoiceId, kept, looked
from cloud.api.caller import CallerIs, DatabasesAre, PartsAre
from cloud.api.database import Caller, Databases, Transaction
from cloud.api.http.envelope import Body, Success, problems
from cloud.api.http.errors import Malformed
from cloud.api.http.fields import Instant
from cloud.api.http.idempotency import ONCE, Once, OnceIs
from cloud.db.queries import Queries

router = APIRouter(prefix="/api/v1/billing/invoices/{invoice_id}", tags=["billing"])
_QUERIES = Queries("api_billing")


class Pay(Body):
    """How a customer pays."""

    provider: Annotated[
        str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$", description="Who takes the money.", examples=["simulated"])
    ]
    amount: Annotated[
        Paid | None, Field(description="How much of what is open, in the bill's currency; all of it without.")
    ] = None


class Seen(Body):
    """Money that an operator has seen."""

    amount: Annotated[Paid, Field(description="How much, a decimal above 0, in the bill's currency.")]
    method: Method
    reference: Annotated[
        Reference, Field(description="Number of the receipt, or of the line of the bank's statement: it counts once.")
    ]
    occurred_at: Annotated[Instant | None, Field(description="When it came; now without.")] = None


class Reversal(Body):
    """Money that an operator had recorded, and that was taken back."""

    reference: Annotated[Reference, Field(description="By which it was recorded.")]
    occurred_at: Annotated[Instant | None, Field(description="When it was taken back; now without.")] = None


class Refund(Body):
    """Money that goes back."""

    amount: Annotated[
        Paid, Field(description="How much of the customer's credit, a decimal above 0, in the bill's currency.")
    ]
    method: Method
    reference: Annotated[Reference, Field(description="Number of the receipt or of the order to the bank.")]


@router.post(
    "/payments",
    openapi_extra=reach("invoice", user="own", operator="own", admin="own"),
    status_code=201,
    responses=problems(401, 404, 409, 422, *ONCE),
)
async def pay(
    invoice_id: InvoiceId, body: Pay, caller: CallerIs, databases: DatabasesAre, parts: PartsAre, once: OnceIs
) -> Success[Payment]:
    """Begin to pay a bill of one's own. The payment is pending, and the bill as open as before, until the provider
    tells by its webhook what became of it."""
    if body.provider not in parts.providers:
        known = ", ".join(sorted(parts.providers)) or "none"
        raise Malformed(f"there is no provider {body.provider}; there is {known}", where="body.provider")
    async with databases.domain(caller) as domain:

        async def work() -> Success[Payment]:
            wanted = {"provider": body.provider, "reference": f"pay-{uuid4()}"}
            made = await domain.value(
                _QUERIES["pay"],
                {**wanted, "invoice": invoice_id, "amount": decimal(body.amount), "now": caller.now},
            )
            await looked(domain, invoice_id)
            return Success(
                message="Pay by this reference; the provider tells us.", data=await _one(domain, invoice_id, made)
            )

        return await once.answer(domain, Success[Payment], work)


@router.post(
    "/payments/manual",
    openapi_extra=reach("invoice", operator="region"),
    status_code=201,
    responses=problems(401, 403, 404, 409, 422, *ONCE),
)
async def record(
    invoice_id: InvoiceId, body: Seen, caller: CallerIs, databases: DatabasesAre, once: OnceIs
) -> Success[Payment]:
    """Record cash or a transfer that an operator has seen, of nobody's own bill. What is more than is open is the
    customer's credit, which the next bill uses."""
    wanted = body.model_dump() | {"amount": decimal(body.amount)}
    return await _moved(databases, caller, once, invoice_id, "record", wanted, "Recorded.")


@router.post(
    "/payments/manual/reversals",
    openapi_extra=reach("invoice", operator="region"),
    status_code=201,
    responses=problems(401, 403, 404, 409, 422, *ONCE),
)
async def reverse(
    invoice_id: InvoiceId, body: Reversal, caller: CallerIs, databases: DatabasesAre, once: OnceIs
) -> Success[Payment]:
    """Take a payment back that an operator recorded: the bank returned it, or it never came. What it had paid is open
    again, also of bills that its credit paid."""
    return await _moved(databases, caller, once, invoice_id, "reverse", body.model_dump(), "Reversed.")


@router.post(
    "/refunds",
    openapi_extra=reach("invoice", operator="region"),
    status_code=201,
    responses=problems(401, 403, 404, 409, 422, *ONCE),
)
async def refund(
    invoice_id: InvoiceId, body: Refund, caller: CallerIs, databases: DatabasesAre, once: OnceIs
) -> Success[Payment]:
    """Record money that went back to the bill's customer, out of their credit."""
    wanted = body.model_dump() | {"amount": decimal(body.amount)}
    return await _moved(databases, caller, once, invoice_id, "refund", wanted, "Recorded.")


async def _moved(
    databases: Databases,
    caller: Caller,
    once: Once,
    invoice_id: int,
    query: str,
    wanted: dict[str, object],
    message: str,
) -> Success[Payment]:
    async with kept(databases, caller, invoice_id) as domain:

        async def work() -> Success[Payment]:
            made = await domain.value(_QUERIES[query], {**wanted, "invoice": invoice_id, "now": caller.now})
            return Success(message=message, data=await _one(domain, invoice_id, made))

        return await once.answer(domain, Success[Payment], work)


async def _one(domain: Transaction, invoice_id: int, payment_id: int) -> Payment:
    row = await domain.row(_QUERIES["payments"], {"invoice": invoice_id, "payment": payment_id})
    return Payment.model_validate(row)
