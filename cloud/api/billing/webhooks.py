"""What payment providers tell, signed; each event counts once."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Request

from cloud.api.access import PUBLIC
from cloud.api.caller import DatabasesAre, Now, PartsAre, RequestId
from cloud.api.http.envelope import Done, Success, problems
from cloud.api.http.errors import Malformed, NotFound, Problem
from cloud.db.queries import Queries
from cloud.payments.provider import EventError
from cloud.payments.signature import HEADER, SignatureError

router = APIRouter(prefix="/api/v1/billing/webhooks", tags=["billing"])
_QUERIES = Queries("payment")
_FIELDS = {
    "id": ("The provider's own name of the event: it counts once.", "evt-17"),
    "payment": ("The reference of the payment.", "pay-7b0f5c0e-2d7c-4c0e-9a44-0c2f6a1f3f10"),
    "invoice": ("Number of the bill.", "INV-0000000001"),
    "amount": ("A decimal, in currency.", "24.90"),
    "currency": ("ISO 4217.", "EUR"),
    "status": ("pending, succeeded, failed or reversed.", "succeeded"),
    "occurred_at": ("When, with an offset.", "2026-11-28T09:00:00Z"),
}
_EVENT: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "description": "What became of a payment, in the form of the simulated provider.",
                    "required": list(_FIELDS),
                    "properties": {
                        name: {"type": "string", "description": told, "examples": [value]}
                        for name, (told, value) in _FIELDS.items()
                    },
                }
            }
        },
    }
}


class SignatureRefused(Problem):
    """The provider did not sign this, or not now."""

    status, problem = 403, "signature-refused"


@router.post("/{provider}", openapi_extra=PUBLIC | _EVENT, responses=problems(SignatureRefused, 404, 409, 422))
async def webhook(
    provider: Annotated[
        str, Path(pattern=r"^[a-z][a-z0-9_]{0,62}$", description="Name of the provider.", examples=["simulated"])
    ],
    request: Request,
    databases: DatabasesAre,
    parts: PartsAre,
    request_id: RequestId,
    now: Now,
    signature: Annotated[
        str | None,
        Header(
            alias=HEADER,
            max_length=1000,
            description="t=SECONDS,v1=HEX: HMAC-SHA-256 of time and body by the provider's secret.",
            examples=["t=1775217600,v1=" + "0" * 64],
        ),
    ] = None,
) -> Success[Done]:
    """A provider tells of a payment, as often as it likes: an event counts once, and so does what it says."""
    known = parts.providers.get(provider)
    if known is None:
        raise NotFound(f"there is no provider {provider}")
    try:
        event = known.read(await request.body(), signature, now)
    except SignatureError as error:
        raise SignatureRefused(str(error), where=f"header.{HEADER.lower()}") from None
    except EventError as error:
        raise Malformed(str(error), where="body") from None
    said = {name: getattr(event, name) for name in type(event).__dataclass_fields__}
    async with databases.outside(request_id) as domain:
        await domain.row(_QUERIES["event"], {**said, "now": now})
    return Success(message="Noted.", data=Done(message="It counts once, however often it is told."))
