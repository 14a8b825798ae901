"""What a payment provider is: something that asks a customer for money, and signs what it tells of it."""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal, Protocol

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from cloud.errors import InputError


class EventError(InputError):
    """A message that says of no payment what became of it."""


@dataclass(frozen=True, slots=True)
class Event:
    """What became of a payment. `event_id` is the provider's own, the same however often it tells; so is `reference`,
    the payment's. `sha256` is of the message. What is reversed had come: a charge-back, or a debit that was
    returned."""

    provider: str
    event_id: str
    sha256: bytes
    invoice_number: str
    reference: str
    amount: Decimal
    currency: str
    status: Literal["pending", "succeeded", "failed", "reversed"]
    occurred_at: datetime


class Provider(Protocol):
    """Each provider has a name, and reads its own messages."""

    @property
    def name(self) -> str:
        """As in transactions: lower-case letters, digits and underscore."""

    def read(self, body: bytes, signature: str | None, now: datetime) -> Event:
        """A message of its webhook. Raises SignatureError, and EventError for one that makes no sense."""


class _Message(BaseModel):
    """The form in which messages come; a provider with another one has a reader of its own."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str = Field(min_length=1, max_length=200)
    payment: str = Field(min_length=1, max_length=200)
    invoice: str = Field(min_length=1, max_length=40)
    amount: str = Field(pattern=r"^[0-9]{1,11}(\.[0-9]{1,4})?$")
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    status: Literal["pending", "succeeded", "failed", "reversed"]
    occurred_at: AwareDatetime


def event(provider: str, body: bytes) -> Event:
    """What `body` says, whose signature was verified. Amounts are texts: numbers get rounded. Raises EventError."""
    try:
        said = _Message.model_validate(json.loads(body))
    except (ValidationError, ValueError, RecursionError) as error:
        raise EventError(f"{provider}: the message is no event of a payment; {_first(error)}") from None
    return Event(
        provider=provider,
        event_id=said.id,
        sha256=hashlib.sha256(body).digest(),
        invoice_number=said.invoice,
        reference=said.payment,
        amount=Decimal(said.amount),
        currency=said.currency,
        status=said.status,
        occurred_at=said.occurred_at,
    )


def _first(error: Exception) -> str:
    if isinstance(error, ValidationError):
        found = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, found['loc'])) or 'it'}: {found['msg']}"
    return "it is no JSON"
