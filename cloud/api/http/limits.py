"""How often one may ask, and the headers that say so (draft-ietf-httpapi-ratelimit-headers).

What costs something, such as codes and passwords, is counted in the database, which all processes share; requests as
such are counted in the process, where it costs nothing.
"""

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from math import ceil

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cloud.api.database import Databases
from cloud.api.http.errors import TooMany
from cloud.db.queries import Queries
from cloud.problem import problem_response

_QUERIES = Queries("session")
_UNLIMITED = {"/livez", "/readyz", "/metrics"}
# More clients than this in a minute, and the ones that asked least lately begin anew.
_CLIENTS = 100_000


@dataclass(frozen=True, slots=True)
class Limit:
    """`capacity` requests at once, then `per_s` of them in a second."""

    name: str
    capacity: int
    per_s: float

    @property
    def policy(self) -> str:
        """An item of RateLimit-Policy: the quota, and the seconds in which as much comes again."""
        return f'"{self.name}";q={self.capacity};w={ceil(self.capacity / self.per_s)}'

    def state(self, remaining: int) -> str:
        """An item of RateLimit: what is left, and the seconds until all of it is."""
        return f'"{self.name}";r={remaining};t={ceil((self.capacity - remaining) / self.per_s)}'


REGISTRATIONS = Limit("register", 30, 0.1)
CODES = Limit("code", 60, 0.5)
"""Codes that are asked for or tried."""
REFRESHES = Limit("refresh", 300, 5)
"""Sessions that go on: a whole office behind one address refreshes a few times an hour each."""
PROOFS = Limit("proof", 30, 0.5)
"""Passwords that are set, each of which is hashed."""
LOGINS = Limit("login", 10, 1 / 60)
"""Attempts at an account; login_begin counts them."""
PASSWORDS = Limit("password", 10, 1 / 60)
"""Attempts of somebody who is logged in to prove it once more, by account."""

_said: ContextVar[list[tuple[Limit, int]]] = ContextVar("limits")


def say(limit: Limit, remaining: int) -> None:
    """Have the answer's headers tell it."""
    _said.get([]).append((limit, remaining))


async def take(databases: Databases, limit: Limit, *, address: str | None, request_id: str, now: datetime) -> None:
    """Raises TooMany. A transaction of its own: what is refused afterwards was asked for all the same."""
    await _take(databases, limit, f"{limit.name}:address:", address, request_id, now, "this address")


async def take_account(databases: Databases, limit: Limit, *, user_id: int, request_id: str, now: datetime) -> None:
    """The same for an account, wherever it asks from."""
    await _take(databases, limit, f"{limit.name}:user:{user_id}:", None, request_id, now, "this account")


async def _take(
    databases: Databases, limit: Limit, bucket: str, address: str | None, request_id: str, now: datetime, whose: str
) -> None:
    asked = {"bucket": bucket, "address": address, "capacity": limit.capacity, "per_s": limit.per_s, "now": now}
    async with databases.outside(request_id) as domain:
        taken = await domain.row(_QUERIES["take"], asked)
    assert taken is not None
    say(limit, taken["remaining"])
    if not taken["allowed"]:
        raise TooMany(f"too many requests from {whose}", retry_after_s=taken["retry_after_s"])


class Requests:
    """Requests as such, of this process: a minute's worth at once, for each address and each account."""

    def __init__(self, *, per_minute: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._limits = {whose: Limit(whose, per_minute, per_minute / 60) for whose in ("address", "account")}
        self._monotonic = monotonic
        self._left: OrderedDict[tuple[str, object], tuple[float, float]] = OrderedDict()

    def of_address(self, address: str | None) -> None:
        """Raises TooMany."""
        self._take("address", network(address))

    def of_account(self, user_id: int) -> None:
        """Raises TooMany."""
        self._take("account", user_id)

    def _take(self, whose: str, key: object) -> None:
        limit, now = self._limits[whose], self._monotonic()
        left, at = self._left.pop((whose, key), (float(limit.capacity), now))
        left = min(limit.capacity, left + (now - at) * limit.per_s)
        allowed = left >= 1
        if allowed:
            left -= 1
        self._left[whose, key] = left, now
        if len(self._left) > _CLIENTS:
            self._left.popitem(last=False)
        say(limit, int(left))
        if not allowed:
            raise TooMany(f"too many requests of this {whose}", retry_after_s=ceil((1 - left) / limit.per_s))


def _told(said: Sequence[tuple[Limit, int]]) -> Iterable[tuple[bytes, bytes]]:
    """The headers."""
    yield b"ratelimit-policy", _policies(tuple(limit for limit, _ in said))
    yield b"ratelimit", ", ".join(limit.state(remaining) for limit, remaining in said).encode()


@lru_cache(maxsize=100)
def _policies(limits: Sequence[Limit]) -> bytes:
    return ", ".join(limit.policy for limit in limits).encode()


@lru_cache(maxsize=10_000)
def network(address: str | None) -> str:
    """Whom limits count for, as network_of() of the database says: a customer has 64 bits of IPv6 to ask from."""
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return address or "-"
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))


def client(address: str | None) -> str | None:
    """Whose passwords are hashed one at a time: the network's, or nobody's where it is not known."""
    return None if address is None else network(address)


class Limited:
    """Counts requests by address, and writes what was counted into the answer's headers."""

    def __init__(self, app: ASGIApp, requests: Requests) -> None:
        self._app, self._requests = app, requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _UNLIMITED:
            await self._app(scope, receive, send)
            return
        said: list[tuple[Limit, int]] = []
        token = _said.set(said)

        async def telling(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_told(said)]
            await send(message)

        try:
            client = scope.get("client")
            self._requests.of_address(client[0] if client else None)
        except TooMany as refused:
            answer = problem_response(
                refused.status, refused.problem, refused.detail, retry_after_s=refused.retry_after_s
            )
            await answer(scope, receive, telling)
        else:
            await self._app(scope, receive, telling)
        finally:
            _said.reset(token)
