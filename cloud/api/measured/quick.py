"""What screens ask for all the time: one statement in each database for all who ask at once, and its JSON passed on as
it is. Operators and admins take another statement, which writes down what they look at. What customers were answered
is remembered for as long as nothing has changed."""

import time
from collections.abc import Awaitable, Sequence
from typing import LiteralString

import msgspec

from cloud.api.database import Caller
from cloud.api.http import metrics
from cloud.api.http.errors import NotFound, SecondFactorMissing, Unauthenticated
from cloud.api.http.etag import Tagged
from cloud.api.measured.arrived import Arrived
from cloud.api.measured.memory import Key, Memory, Readable, Say
from cloud.db.lane import Row
from cloud.db.lanes import Lanes
from cloud.db.listener import Listener
from cloud.db.queries import Queries
from cloud.db.together import Together, array

_QUERIES = Queries("api_lanes")
DOMAIN = {"readable": _QUERIES["readable"], "watched": _QUERIES["watched"]}
TELEMETRY = {name: _QUERIES[name] for name in ("latest", "arrivals", "arrived")}
CHANNEL: LiteralString = "segs_access"
"""On which the domain database tells of users who may read something else than before."""


class Quick:
    """Lanes to both databases, which know DOMAIN and TELEMETRY, and what was answered before.

    `listener` hears of changes of who may read what, and `arrived` of readings, on behalf of `memory`.
    """

    def __init__(
        self, *, domain: Lanes, telemetry: Lanes, memory: Memory, listener: Listener, arrived: Arrived
    ) -> None:
        self._domain, self._telemetry = domain, telemetry
        self._memory, self._listener, self._arrived = memory, listener, arrived
        self._readers, self._newest = Together(domain, "readable"), Together(telemetry, "latest")

    def fence(self) -> None:
        """Something may have been committed that takes a right away: all that is answered from now on knows of it."""
        self._listener.fence()

    def recall(self, caller: Caller, codes: Sequence[str], say: Say) -> Tagged | None:
        """The answer, as latest() gives it, if it is remembered and nothing is known or may be that makes it wrong."""
        now_s = time.monotonic()
        entry = self._memory.find(_key(caller, codes, say), now_s)
        if entry is None or entry.told is None or not self._arrived.holds(now_s) or not self._listener.holds(now_s):
            return None
        metrics.FROM_MEMORY.inc()
        return entry.told

    async def latest(self, caller: Caller, codes: Sequence[str], say: Say) -> Tagged:
        """What `say` makes of the newest reading of each meter, each code once, None where there is none that the
        caller may read.

        Raises Unauthenticated where their session is over, NotFound, which names the first meter that is absent.
        """
        told = self.recall(caller, codes, say)
        if told is not None:
            return told
        now_s = time.monotonic()
        entry = self._memory.open(_key(caller, codes, say), now_s)
        readable = entry.readable if self._listener.holds(now_s) else None
        (metrics.FROM_BOTH if readable is None else metrics.FROM_TELEMETRY).inc()
        if readable is None:
            try:
                readable, watched = await self._readable(caller, codes, "telemetry/latest")
            except BaseException:
                self._memory.close(entry)
                raise
            # Of operators and admins nothing: they are answered after their look was written down, and not before.
            if watched:
                self._memory.close(entry)
            else:
                self._memory.may_read(entry, readable)
        turn = entry.turn
        asked = (readable.grants, readable.numbers, caller.now.isoformat().encode())
        rows = await _answered("telemetry", self._newest.ask(asked))
        newest = {number.decode(): msgspec.Raw(_utc(reading)) for number, reading in rows if number and reading}
        told = say([(code, newest.get(readable.found[code])) for code in dict.fromkeys(codes)])
        self._memory.keep(entry, told, turn)
        return told

    async def arrivals(
        self, caller: Caller, codes: Sequence[str], cursor: str | None
    ) -> tuple[str, dict[str, msgspec.Raw]]:
        """What arrived of the meters since `cursor`, lists of readings by code, and the next cursor. None begins now.

        A cursor with a slash has more that waits. Raises as latest(), and psycopg.DataError for what is no cursor.
        """
        # A stream asks each second: whose look it is stands in the log each minute.
        readable, _ = await self._readable(caller, codes, "telemetry/live", every="1 minute")
        asked = (readable.grants, readable.numbers, None if cursor is None else cursor.encode())
        [(following, readings)] = await _answered("telemetry", self._telemetry.ask("arrivals", asked))
        assert following is not None
        assert readings is not None
        told = msgspec.json.decode(readings.replace(b'+00:00"', b'Z"'), type=dict[str, msgspec.Raw])
        return following.decode(), {code: told[number] for code, number in readable.found.items() if number in told}

    async def _readable(
        self, caller: Caller, codes: Sequence[str], what: str, *, every: str | None = None
    ) -> tuple[Readable, bool]:
        """What the caller may read, and whether they are watched: of operators and admins it is written down that they
        look at `what`."""
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
        return Readable(found=found, numbers=numbers, grants=grants), role != b"USER"


def _key(caller: Caller, codes: Sequence[str], say: Say) -> Key:
    access = caller.access
    return access.user_id, access.session_id, access.token_id, say, tuple(codes)


async def _answered(database: str, question: Awaitable[list[Row]]) -> list[Row]:
    with metrics.failures(database), metrics.QUESTIONS.labels(database).time():
        return await question


def _elements(array: bytes | None) -> list[str]:
    """Of an array of codes or numbers, none of which needs quotes."""
    return array[1:-1].decode().split(",") if array else []


def _utc(reading: bytes) -> bytes:
    """The server's offset of UTC as the rest of the API writes it."""
    return reading.replace(b'+00:00"', b'Z"', 1)
