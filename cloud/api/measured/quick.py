"""What screens ask for all the time: one statement in each database for all who ask at once, and its JSON passed on as
it is. Operators and admins take another statement, which writes down what they look at."""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass

import msgspec

from cloud.api.database import Caller
from cloud.api.http import metrics
from cloud.api.http.errors import NotFound, SecondFactorMissing, Unauthenticated
from cloud.db.lane import Row
from cloud.db.lanes import Lanes
from cloud.db.queries import Queries
from cloud.db.together import Together, array

_QUERIES = Queries("api_lanes")
DOMAIN = {"readable": _QUERIES["readable"], "watched": _QUERIES["watched"]}
TELEMETRY = {"latest": _QUERIES["latest"], "arrivals": _QUERIES["arrivals"]}

# Questions whose grants are remembered, and of how many meters at most: of more, to ask twice costs the least.
_REMEMBERED, _FEW_METERS = 5_000, 20
_Told = tuple[bytes | None, bytes | None]
_Session = tuple[object, ...]


class Quick:
    """Lanes to both databases, which know DOMAIN and TELEMETRY."""

    def __init__(self, *, domain: Lanes, telemetry: Lanes) -> None:
        self._domain, self._telemetry = domain, telemetry
        self._granted: dict[_Session, _Told] = {}
        self._readers, self._newest = Together(domain, "readable"), Together(telemetry, "latest")

    async def latest(self, caller: Caller, codes: Sequence[str]) -> list[tuple[str, msgspec.Raw | None]]:
        """The newest reading of each meter, each code once, None where there is none that the caller may read.

        Raises Unauthenticated where their session is over, NotFound, which names the first meter that is absent.
        """
        # A customer who asked the same before may most likely read the same: both databases are asked at once. What the
        # one says holds, as it does for a first question; what the other found for anything else is thrown away.
        session = (caller.access.user_id, caller.access.session_id, *sorted(codes))
        guess = self._granted.get(session)
        early = None if guess is None else self._ask_newest(guess, caller)
        try:
            readable = await self._readable(caller, codes, "telemetry/latest")
            self._remember(session, readable)
            if early is None or readable.watched or readable.told != guess:
                rows = await _answered("telemetry", self._ask_newest(readable.told, caller))
            else:
                rows = await _answered("telemetry", early)
        finally:
            if early is not None and not early.cancel() and not early.cancelled():
                early.exception()
        newest = {number.decode(): msgspec.Raw(_utc(reading)) for number, reading in rows if number and reading}
        return [(code, newest.get(readable.found[code])) for code in dict.fromkeys(codes)]

    def _ask_newest(self, told: _Told, caller: Caller) -> "asyncio.Future[list[Row]]":
        numbers, grants = told
        return self._newest.ask((grants, numbers, caller.now.isoformat().encode()))

    def _remember(self, session: _Session, readable: "_Readable") -> None:
        """Of operators and admins nothing: they are answered after their look was written down, and not before."""
        self._granted.pop(session, None)
        if not readable.watched and len(readable.found) <= _FEW_METERS:
            self._granted[session] = readable.told
            if len(self._granted) > _REMEMBERED:
                del self._granted[next(iter(self._granted))]

    async def arrivals(
        self, caller: Caller, codes: Sequence[str], cursor: str | None
    ) -> tuple[str, dict[str, msgspec.Raw]]:
        """What arrived of the meters since `cursor`, lists of readings by code, and the next cursor. None begins now.

        A cursor with a slash has more that waits. Raises as latest(), and psycopg.DataError for what is no cursor.
        """
        # A stream asks each second: whose look it is stands in the log each minute.
        readable = await self._readable(caller, codes, "telemetry/live", every="1 minute")
        numbers, grants = readable.told
        asked = (grants, numbers, None if cursor is None else cursor.encode())
        [(following, readings)] = await _answered("telemetry", self._telemetry.ask("arrivals", asked))
        assert following is not None
        assert readings is not None
        told = msgspec.json.decode(readings.replace(b'+00:00"', b'Z"'), type=dict[str, msgspec.Raw])
        return following.decode(), {code: told[number] for code, number in readable.found.items() if number in told}

    async def _readable(
        self, caller: Caller, codes: Sequence[str], what: str, *, every: str | None = None
    ) -> "_Readable":
        """Of operators and admins it is written down that they look at `what`."""
        access = caller.access
        asked = (
            str(access.user_id).encode(),
            access.session_id.hex.encode(),
            access.token_id.hex.encode(),
            caller.now.isoformat().encode(),
            array(code.encode() for code in codes),
        )
        [(role, known, numbers, grants)] = await _answered("domain", self._readers.ask(asked))
        if role not in (None, b"USER"):
            look = (caller.request_id.encode(), what.encode(), None if every is None else every.encode())
            watched = self._domain.ask("watched", asked + look)
            [(role, known, numbers, grants, missing)] = await _answered("domain", watched)
            if missing == b"t":
                raise SecondFactorMissing("your role asks for a second factor; set it up by auth/totp/enrol")
        if role is None:
            raise Unauthenticated("this session is over; log in again")
        found = dict(zip(_elements(known), _elements(numbers), strict=True))
        for code in codes:
            if code not in found:
                raise NotFound(f"there is no meter {code}")
        return _Readable(found=found, told=(numbers, grants), watched=role != b"USER")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Readable:
    """Numbers by code; all numbers, and the grants, as the other database takes them; whether the look is logged."""

    found: dict[str, str]
    told: _Told
    watched: bool


async def _answered(database: str, question: Awaitable[list[Row]]) -> list[Row]:
    with metrics.failures(database), metrics.QUESTIONS.labels(database).time():
        return await question


def _elements(array: bytes | None) -> list[str]:
    """Of an array of codes or numbers, none of which needs quotes."""
    return array[1:-1].decode().split(",") if array else []


def _utc(reading: bytes) -> bytes:
    """The server's offset of UTC as the rest of the API writes it."""
    return reading.replace(b'+00:00"', b'Z"', 1)
