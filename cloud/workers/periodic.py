"""Work in the domain database that is done every so often, by whichever worker comes first."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import datetime, timedelta

from psycopg import AsyncConnection

from cloud.db.queries import Queries

_QUERIES = Queries("periodic")
_TIMEOUT_S = 20


async def connected(dsn: str) -> AsyncConnection:
    """The domain database, for a step: none of them waits for it longer than for its own turn."""
    return await AsyncConnection.connect(
        dsn,
        connect_timeout=_TIMEOUT_S,
        tcp_user_timeout=_TIMEOUT_S * 1000,
        application_name="segs-worker",
        options=f"-c statement_timeout={_TIMEOUT_S * 1000}",
    )


class Periodic(ABC):
    """`dsn` is the domain database's. While it is away, this waits and nothing else does. Some is done at a time,
    `at_once` rows at most."""

    name: str
    every: timedelta

    def __init__(self, *, dsn: str, at_once: int) -> None:
        self._dsn, self._at_once = dsn, at_once
        self._more = False

    async def step(self, _: AsyncConnection | None, now: datetime) -> bool:
        """A bounded number of rows in one transaction; whether there are more. Who begins goes on."""
        async with await connected(self._dsn) as domain:
            claim = {"name": self.name, "every": timedelta(0) if self._more else self.every, "now": now}
            self._more = False
            if await (await domain.execute(_QUERIES["claim"], claim)).fetchone() != (True,):
                return False
            done = await self._some(domain, now)
        self._tell(done)
        self._more = sum(done.values()) >= self._at_once
        return self._more

    @abstractmethod
    async def _some(self, domain: AsyncConnection, now: datetime) -> Mapping[str, int]:
        """Do some of it; how many rows, by what they are."""

    @abstractmethod
    def _tell(self, done: Mapping[str, int]) -> None:
        """It is committed."""
