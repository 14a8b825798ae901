"""Questions that come at the same time, asked as one: to send a statement costs more than most of what is asked by it.

None waits for others to come. The first goes at the end of the event loop's turn, with those of the same turn; what
comes while answers are under way goes together once there is room.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence

import psycopg
from psycopg_pool import TooManyRequests

from cloud.db.lane import Row
from cloud.db.lanes import Lanes

_Question = tuple[Sequence[bytes | None], "asyncio.Future[list[Row]]"]


class Together:
    """`statement` takes an array for each parameter of a question, and each of its rows begins with the number of the
    question that it answers, from 1. What one question may see must not depend on the others.

    `at_once` statements are under way at most, with `most` questions each; `queue` questions wait at most.
    """

    def __init__(self, lanes: Lanes, statement: str, *, at_once: int = 2, most: int = 16, queue: int = 400) -> None:
        self._lanes, self._statement = lanes, statement
        self._at_once, self._most, self._queue = at_once, most, queue
        self._waiting: deque[_Question] = deque()
        self._asking: set[asyncio.Task[None]] = set()
        self._due = False

    def ask(self, parameters: Sequence[bytes | None]) -> "asyncio.Future[list[Row]]":
        """The question's rows, without the number. It is on its way when this returns. Raises as Lane.ask()."""
        if len(self._waiting) >= self._queue:
            raise TooManyRequests(f"{self._queue} questions wait")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Row]] = loop.create_future()
        self._waiting.append((parameters, answer))
        if not self._due and len(self._asking) < self._at_once:
            self._due = True
            loop.call_soon(self._go)
        return answer

    def _go(self) -> None:
        self._due = False
        while self._waiting and len(self._asking) < self._at_once:
            taken = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
            # Whoever asked may have gone.
            asked = [one for one in taken if not one[1].done()]
            if asked:
                task = asyncio.create_task(self._answer(asked), name=f"questions {self._statement}")
                self._asking.add(task)
                task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._asking.discard(task)
        self._go()

    async def _answer(self, questions: Sequence[_Question]) -> None:
        try:
            columns = zip(*(parameters for parameters, _ in questions), strict=True)
            rows = await self._lanes.ask(self._statement, [array(column) for column in columns])
            found: list[list[Row]] = [[] for _ in questions]
            for number, *values in rows:
                assert number is not None
                found[int(number) - 1].append(tuple(values))
            for (_, answer), its_rows in zip(questions, found, strict=True):
                if not answer.done():
                    answer.set_result(its_rows)
        except psycopg.Error as error:
            if len(questions) > 1 and not isinstance(error, psycopg.OperationalError):
                # One of them spoils it for all: each alone hears what is its own.
                for question in questions:
                    await self._answer([question])
                return
            lost = list(questions)
            if error.sqlstate is None and not isinstance(error, TooManyRequests):
                # The connection, not the statement: who waited behind these would wait as long once more.
                lost += self._waiting
                self._waiting.clear()
            for _, answer in lost:
                if not answer.done():
                    answer.set_exception(error)
        except asyncio.CancelledError:
            for _, answer in questions:
                answer.cancel()
            raise
        except Exception as error:  # noqa: BLE001
            # A mistake of ours: each hears of it, and none waits for ever.
            for _, answer in questions:
                if not answer.done():
                    answer.set_exception(error)


def array(elements: Iterable[bytes | None]) -> bytes:
    """PostgreSQL's text form of an array."""
    return b"{" + b",".join(map(_element, elements)) + b"}"


def _element(text: bytes | None) -> bytes:
    if text is None:
        return b"NULL"
    return b'"' + text.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
