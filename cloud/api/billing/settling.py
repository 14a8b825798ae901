"""What becomes of a bill besides its payment: it becomes final, is disputed, and is taken back."""

from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import Field

from cloud.api.access import reach
from cloud.api.billing.forms import InvoiceDetails, Paid, Sentence, decimal
from cloud.api.billing.invoices import InvoiceId, kept, looked, whole
from cloud.api.caller import CallerIs, DatabasesAre
from cloud.api.database import Caller, Databases
from cloud.api.http.envelope import Body, Success, problems
from cloud.api.http.idempotency import ONCE, Once, OnceIs
from cloud.db.queries import Queries

router = APIRouter(prefix="/api/v1/billing/invoices/{invoice_id}", tags=["billing"])
_QUERIES = Queries("api_billing")


class Disputing(Body):
    """What is wrong with a bill."""

    reason: Annotated[Sentence, Field(description="Why; operators read it.", examples=["Nobody was at home"])]


class Resolving(Body):
    """How a dispute ends."""

    outcome: Annotated[
        Literal["rejected", "upheld"], Field(description="Upheld by a credit note, or rejected.", examples=["upheld"])
    ]
    amount: Annotated[
        Paid | None,
        Field(description="How much is taken back with its taxes, in the bill's currency; all that is left without."),
    ] = None
    resolution: Annotated[Sentence, Field(description="Why; the customer reads it.")]


class Crediting(Body):
    """What is taken back."""

    amount: Annotated[
        Paid | None,
        Field(description="How much is taken back with its taxes, in the bill's currency; all that is left without."),
    ] = None
    reason: Annotated[Sentence, Field(description="Why; it is on the credit note.")]


@router.post(
    "/finalise",
    openapi_extra=reach("invoice", operator="region"),
    responses=problems(401, 403, 404, 409, 422, *ONCE),
)
async def finalise(
    invoice_id: InvoiceId, caller: CallerIs, databases: DatabasesAre, once: OnceIs
) -> Success[InvoiceDetails]:
    """Make a draft final: it gets its number, recipient and due date, and never changes again."""
    return await _kept(databases, caller, once, invoice_id, "finalise", {}, "It is final.")


@router.post(
    "/disputes",
    openapi_extra=reach("invoice", user="own", operator="own", admin="own"),
    status_code=201,
    responses=problems(401, 404, 409, 422, *ONCE),
)
async def dispute(
    invoice_id: InvoiceId, body: Disputing, caller: CallerIs, databases: DatabasesAre, once: OnceIs
) -> Success[InvoiceDetails]:
    """Say of a bill of one's own that it is wrong. Until that is resolved it is not overdue."""
    async with databases.domain(caller) as domain:

        async def work() -> Success[InvoiceDetails]:
            asked = {"invoice": invoice_id, "reason": body.reason, "now": caller.now}
            await domain.value(_QUERIES["dispute"], asked)
            await looked(domain, invoice_id)
            return Success(message="It is disputed.", data=await whole(domain, invoice_id))

        return await once.answer(domain, Success[InvoiceDetails], work)


@router.post(
    "/disputes/resolve",
    openapi_extra=reach("invoice", operator="region"),
    responses=problems(401, 403, 404, 409, 422, *ONCE),
)
async def resolve(
    invoice_id: InvoiceId, body: Resolving, caller: CallerIs, databases: DatabasesAre, once: OnceIs
) -> Success[InvoiceDetails]:
    """End the open dispute of a bill, of nobody's own: upheld by a credit note over all or an amount, or rejected."""
    wanted = body.model_dump() | {"amount": decimal(body.amount)}
    return await _kept(databases, caller, once, invoice_id, "resolve", wanted, "The dispute is resolved.")


@router.post(
    "/credit-notes",
    openapi_extra=reach("invoice", operator="region"),
    status_code=201,
    responses=problems(401, 403, 404, 409, 422, *ONCE),
)
async def credit(
    invoice_id: InvoiceId, body: Crediting, caller: CallerIs, databases: DatabasesAre, once: OnceIs
) -> Success[InvoiceDetails]:
    """Take a bill back by a credit note, all of it or an amount; the answer is the credit note. What was paid of it is
    the customer's credit. What went back whole, the next run bills again."""
    async with kept(databases, caller, invoice_id) as domain:

        async def work() -> Success[InvoiceDetails]:
            asked = {"invoice": invoice_id, "amount": decimal(body.amount), "reason": body.reason, "now": caller.now}
            note = await domain.value(_QUERIES["credit"], asked)
            return Success(message="It is taken back.", data=await whole(domain, note))

        return await once.answer(domain, Success[InvoiceDetails], work)


async def _kept(
    databases: Databases,
    caller: Caller,
    once: Once,
    invoice_id: int,
    query: str,
    wanted: dict[str, object],
    message: str,
) -> Success[InvoiceDetails]:
    """What operators and admins do with a bill; it, as it is then."""
    async with kept(databases, caller, invoice_id) as domain:

        async def work() -> Success[InvoiceDetails]:
            await domain.value(_QUERIES[query], {**wanted, "invoice": invoice_id, "now": caller.now})
            return Success(message=message, data=await whole(domain, invoice_id))

        return await once.answer(domain, Success[InvoiceDetails], work)
