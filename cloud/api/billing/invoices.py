"""Bills: what was billed, whose meter took how much, what is paid and what is open."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import AfterValidator, Field
from starlette.responses import Response

from cloud.api.access import reach
from cloud.api.billing.forms import Invoice, InvoiceDetails, Kind, Month, Status, first_day
from cloud.api.caller import CallerIs, DatabasesAre, PartsAre
from cloud.api.database import Caller, Databases, Transaction
from cloud.api.http.envelope import Success, problems
from cloud.api.http.errors import Forbidden, NotFound
from cloud.api.http.etag import IfNoneMatch, polled, polled_one, tagged
from cloud.api.http.fields import printable
from cloud.api.http.paging import Paging, page
from cloud.billing.pdf import written_pdf
from cloud.db.queries import Queries

router = APIRouter(prefix="/api/v1/billing", tags=["billing"])
_QUERIES, _BILL = Queries("api_billing"), Queries("billing")
_DOCUMENT = {"lines": "lines", "usage": "usage"}
_PARTS = ("lines", "usage", "payments", "disputes", "notes")
InvoiceId = Annotated[int, Path(ge=1, le=2**31 - 1, description="Number of the bill's row.", examples=[17])]


class Listing(Paging):
    """Which bills."""

    meter: Annotated[
        str | None,
        Field(max_length=40, description="Only of the meter with this code."),
        AfterValidator(lambda text: text if text is None else printable(text)),
    ] = None
    number: Annotated[
        str | None,
        Field(max_length=40, description="Only the bill or credit note with this number.", examples=["INV-0000000001"]),
        AfterValidator(lambda text: text if text is None else printable(text)),
    ] = None
    status: Annotated[Status | None, Field(description="Only those that are so.")] = None
    kind: Annotated[Kind | None, Field(description="Only invoices, or only credit notes.")] = None
    month: Annotated[Month | None, Field(description="Only those whose first day is in this month.")] = None


@router.get(
    "/invoices",
    openapi_extra=reach("invoice", user="own", operator="region"),
    responses=polled(401, 404, 422),
    response_model=Success[list[Invoice]],
)
async def invoices(
    listing: Annotated[Listing, Query()], given: IfNoneMatch, caller: CallerIs, databases: DatabasesAre
) -> Response:
    """Invoices and credit notes, the newest first. Drafts are for operators and admins."""
    asked = listing.model_dump(exclude={"cursor"})
    wanted = asked | {"after": listing.after, "month": first_day(listing.month)}
    async with databases.domain(caller) as domain:
        await domain.look("billing/invoices", details=asked)
        if not await domain.value(_QUERIES["named"], wanted):
            raise NotFound(f"there is no meter {listing.meter}", where="query.meter")
        shown, meta = page(await domain.rows(_QUERIES["page"], wanted), limit=listing.limit, key="invoice_id")
        await domain.found("billing/invoices", [row["meter_id"] for row in shown])
    found = Success(message="Bills.", data=[Invoice.model_validate(row) for row in shown], meta=meta)
    return tagged(given, found.model_dump_json(by_alias=True).encode())


@router.get(
    "/invoices/{invoice_id}",
    openapi_extra=reach("invoice", user="own", operator="region"),
    responses=polled(401, 404, 422),
    response_model=Success[InvoiceDetails],
)
async def invoice(invoice_id: InvoiceId, given: IfNoneMatch, caller: CallerIs, databases: DatabasesAre) -> Response:
    """One bill with its lines, days, payments, disputes and credit notes."""
    async with databases.domain(caller) as domain:
        await looked(domain, invoice_id)
        found = await whole(domain, invoice_id)
    return polled_one(given, Success(message="A bill.", data=found), found)


@router.get(
    "/invoices/{invoice_id}/pdf",
    openapi_extra=reach("invoice", user="own", operator="region"),
    responses={
        200: {
            "description": "The bill as a document, in its customer's language and zone: the same bytes each time.",
            "content": {"application/pdf": {"schema": {"type": "string", "format": "binary"}}},
            "headers": {"Content-Disposition": {"description": "A name for the file.", "schema": {"type": "string"}}},
        },
        **problems(401, 404, 422, 429),
    },
    response_class=Response,
)
async def pdf(invoice_id: InvoiceId, caller: CallerIs, databases: DatabasesAre, parts: PartsAre) -> Response:
    """The bill as a PDF, with a chart of its days."""
    async with databases.domain(caller) as domain:
        await looked(domain, invoice_id)
        named = {"invoice": invoice_id}
        bill = await domain.row(_BILL["bill"], named)
        if bill is None:
            raise NotFound(f"there is no invoice {invoice_id}")
        bill["at_final"] = await domain.row(_BILL["at_final"], named)
        for name, query in _DOCUMENT.items():
            bill[name] = await domain.rows(_BILL[query], named)
    user_id = caller.access.user_id
    parts.exports.take(user_id)
    try:
        # It takes the processor for a while.
        content = await asyncio.to_thread(written_pdf, bill)
    finally:
        parts.exports.give(user_id)
    name = bill["number"] or f"draft-{invoice_id}"
    headers = {"Content-Disposition": f'attachment; filename="{name}.pdf"', "Cache-Control": "no-store"}
    return Response(content, headers=headers, media_type="application/pdf")


async def looked(domain: Transaction, invoice_id: int) -> None:
    """Writes down that an operator or admin looks at a bill."""
    if domain.role != "USER":
        await domain.row(_QUERIES["look"], {"what": "billing/invoices", "invoice": invoice_id})


@asynccontextmanager
async def kept(databases: Databases, caller: Caller, invoice_id: int) -> AsyncIterator[Transaction]:
    """A transaction of an operator or an admin who does something with a bill, after looked(). Raises Forbidden."""
    async with databases.domain(caller) as domain:
        if domain.role == "USER":
            raise Forbidden("this is for operators and admins")
        await looked(domain, invoice_id)
        yield domain


async def whole(domain: Transaction, invoice_id: int) -> InvoiceDetails:
    """The bill, as the caller sees it, after looked(). Raises NotFound."""
    named = {"invoice": invoice_id, "payment": None}
    found = await domain.row(_QUERIES["invoice"], named)
    if found is None:
        raise NotFound(f"there is no invoice {invoice_id}")
    parts = {part: await domain.rows(_QUERIES[part], named) for part in _PARTS}
    return InvoiceDetails.model_validate({**found, **parts, "credit_notes": parts["notes"]})
