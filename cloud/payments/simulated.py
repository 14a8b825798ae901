"""A provider for trials and the demo: it takes no money, and signs like any other."""

import json
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from cloud.payments.provider import Event, event
from cloud.payments.signature import sign, verify


class Simulated:
    """`secrets` are those that are in use; the first one signs."""

    name = "simulated"

    def __init__(self, secrets: Sequence[bytes]) -> None:
        self._secrets = tuple(secrets)

    def read(self, body: bytes, signature: str | None, now: datetime) -> Event:
        """As any provider's. Raises SignatureError, EventError."""
        verify(self._secrets, body, signature, now)
        return event(self.name, body)

    def tell(
        self,
        *,
        event_id: str,
        payment: str,
        invoice: str,
        amount: Decimal,
        currency: str,
        status: str,
        at: datetime,
        signed_at: datetime | None = None,
    ) -> tuple[bytes, str]:
        """A message of its webhook, body and signature: what happened `at`, told then or at `signed_at`."""
        said = {
            "id": event_id,
            "payment": payment,
            "invoice": invoice,
            "amount": f"{amount:f}",
            "currency": currency,
            "status": status,
            "occurred_at": at.isoformat(),
        }
        body = json.dumps(said, separators=(",", ":"), sort_keys=True).encode()
        return body, sign(self._secrets[0], body, signed_at or at)
