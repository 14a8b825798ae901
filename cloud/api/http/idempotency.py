"""Idempotency-Key: a request that is sent again, because its answer was lost, is answered again and not done again.

The answer is kept in the transaction that did what was asked. A refusal leaves nothing behind: the same request is
simply tried again.
"""

import hmac
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, TypeVar

from fastapi import Depends, Header, Request
from pydantic import BaseModel

from cloud.api.caller import now, parts
from cloud.api.database import Transaction
from cloud.api.http.errors import KeyUsed, Malformed, Problem, UnderWay
from cloud.db.queries import Queries
from cloud.identity.keys import Keys

_QUERIES = Queries("session")
# A string of RFC 8941, or the same without its quotes, as many clients send it.
_KEY = re.compile(r'"([!#-\[\]-~]{8,255})"|([!#-+\--:<-\[\]-~]{8,255})')
_LIFETIME_S = 86_400
ONCE: tuple[type[Problem], ...] = (UnderWay, KeyUsed)
"""What every endpoint refuses that takes a key."""
Answer = TypeVar("Answer", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Once:
    """A request that may come again. `key_hash` is None for one without a key, which is done as often as it comes."""

    keys: Keys
    key_hash: bytes | None
    request_hash: bytes
    now: datetime

    async def answer(self, domain: Transaction, model: type[Answer], work: Callable[[], Awaitable[Answer]]) -> Answer:
        """What `work` answers, the first time; that answer, every other time for a day. `work` does all it does in the
        transaction `domain`. Raises UnderWay, and KeyUsed."""
        kept = await self.kept(domain, model)
        if kept is not None:
            return kept
        answer = await work()
        await self.keep(domain, answer)
        return answer

    async def kept(self, domain: Transaction, model: type[Answer]) -> Answer | None:
        """What was answered before; None where it is still to be done, in this transaction. Raises UnderWay, and
        KeyUsed."""
        if self.key_hash is None:
            return None
        begun = await domain.row(_QUERIES["once_begin"], self._named)
        assert begun is not None
        if begun["outcome"] == "under_way":
            raise UnderWay("a request of this Idempotency-Key is being answered; ask again", retry_after_s=1)
        if begun["outcome"] == "other":
            raise KeyUsed("this Idempotency-Key came with another request before", where="header.idempotency-key")
        if begun["outcome"] == "new":
            return None
        return model.model_validate_json(self.keys.unseal(begun["sealed_secret"], self._place))

    async def keep(self, domain: Transaction, answer: BaseModel) -> None:
        """Keep what this transaction did, after kept() has found nothing."""
        if self.key_hash is not None:
            sealed = self.keys.seal(answer.model_dump_json(by_alias=True).encode(), self._place)
            await domain.value(
                _QUERIES["once_keep"], {**self._named, "sealed_secret": sealed, "lifetime_s": _LIFETIME_S}
            )

    @property
    def _named(self) -> dict[str, object]:
        return {"key_hash": self.key_hash, "request_hash": self.request_hash, "now": self.now}

    @property
    def _place(self) -> str:
        return f"answer {(self.key_hash or b'').hex()}"


async def once(
    request: Request,
    idempotency_key: Annotated[
        str | None,
        Header(
            description="A name for this request that no other has, such as a UUID: 8 to 255 characters. Who lost the "
            "answer sends the same request with the same key, and gets the answer of the first, for 24 hours.",
            examples=['"8e03978e-40d5-43dd-bc93-6894a57f9324"'],
        ),
    ] = None,
) -> Once:
    """Raises Malformed."""
    keys = parts(request).keys.current()
    secret = keys.derived("idempotency")
    # The query says how a table is imported.
    place = (request.method, request.url.path, request.url.query)
    said = b"\0".join([*(part.encode() for part in place), await request.body()])
    key_hash = None
    if idempotency_key is not None:
        match = _KEY.fullmatch(idempotency_key.strip())
        if match is None:
            raise Malformed("an Idempotency-Key has 8 to 255 visible characters", where="header.idempotency-key")
        key_hash = hmac.digest(secret, b"key\0" + (match[1] or match[2]).encode(), "sha256")
    return Once(keys, key_hash, hmac.digest(secret, b"request\0" + said, "sha256"), now())


OnceIs = Annotated[Once, Depends(once)]
