"""Several lanes to one database: a question that is long in coming holds up those of one lane and no others."""

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import LiteralString

from cloud.db.lane import Lane, Row


class Lanes:
    """Some lanes to one database; a question takes the one with the fewest before it."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self._lanes = lanes

    async def ask(self, statement: str, parameters: Sequence[bytes | None]) -> list[Row]:
        """As Lane.ask()."""
        return await min(self._lanes, key=lambda lane: (lane.old, lane.waiting)).ask(statement, parameters)


@contextlib.asynccontextmanager
async def open_lanes(
    dsn: str, *, count: int, name: str, statements: Mapping[str, LiteralString]
) -> AsyncIterator[Lanes]:
    """Not yet connected: the database may be away."""
    lanes = [Lane(dsn, name=name, statements=statements) for _ in range(count)]
    try:
        yield Lanes(lanes)
    finally:
        for lane in lanes:
            await lane.close()
