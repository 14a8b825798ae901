"""Messages to another system, signed as providers of payments sign theirs."""

import json
from datetime import datetime

from cloud.notify.message import Message, Text
from cloud.notify.outcome import Outcome, Undeliverable
from cloud.notify.request import post
from cloud.payments.signature import HEADER, sign


class Webhook:
    """The channel. The body has the message's key as `id`; signed are time and body, so that neither is another's."""

    name = "webhook"

    def __init__(self, *, url: str, secret: bytes, timeout_s: float) -> None:
        self._url, self._secret, self.timeout_s = url, secret, timeout_s

    async def deliver(self, message: Message, text: Text, now: datetime) -> Outcome:
        """Raises Undeliverable for a code: it is one person's, and no system's."""
        if message.sealed_secret is not None:
            raise Undeliverable("a code goes to a person, and not to a webhook")
        document = {
            "id": str(message.key),
            "user_id": message.user_id,
            "template": message.template,
            "payloads": [dict(message.payload), *map(dict, message.others)],
        }
        body = json.dumps(document).encode()
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": str(message.key),
            HEADER: sign(self._secret, body, now),
        }
        return await post(self._url, method="POST", body=body, headers=headers, timeout_s=self.timeout_s)
