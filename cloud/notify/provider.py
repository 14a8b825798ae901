"""SMS and push by a provider that takes a JSON document over HTTP: what it looks like is said in the settings."""

import json
from collections.abc import Mapping
from datetime import datetime
from string import Template
from typing import Any

from cloud.notify.message import Message, Text
from cloud.notify.outcome import Outcome, Undeliverable
from cloud.notify.request import post


class Provider:
    """The channel. Texts in `body` may have $phone, $user_id, $subject, $text and $key; those in `headers` $secret."""

    def __init__(
        self,
        *,
        name: str,
        url: str,
        method: str,
        body: Any,
        headers: Mapping[str, str],
        secret: str | None,
        timeout_s: float,
    ) -> None:
        self.name, self.timeout_s = name, timeout_s
        self._url, self._method, self._body, self._headers, self._secret = url, method, body, headers, secret

    async def deliver(self, message: Message, text: Text, now: datetime) -> Outcome:
        """Raises Undeliverable where the person has no number."""
        if self.name == "sms" and not message.phone:
            raise Undeliverable("the person has no phone number")
        values = {
            "phone": message.phone or "",
            "user_id": str(message.user_id),
            "subject": text.subject,
            "text": text.short,
            "key": str(message.key),
        }
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": values["key"],
            **{
                name: Template(value).safe_substitute(secret=self._secret or "")
                for name, value in self._headers.items()
            },
        }
        body = json.dumps(_filled(self._body, values)).encode()
        return await post(self._url, method=self._method, body=body, headers=headers, timeout_s=self.timeout_s)


def _filled(document: Any, values: Mapping[str, str]) -> Any:
    """Values stand in texts of a document that is parsed already: none can break out of its own."""
    if isinstance(document, str):
        return Template(document).safe_substitute(values)
    if isinstance(document, list):
        return [_filled(one, values) for one in document]
    if isinstance(document, dict):
        return {name: _filled(one, values) for name, one in document.items()}
    return document
