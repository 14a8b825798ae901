"""Which meters and regions a caller may read, as the domain database says for each request."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from cloud.api.database import Caller, Databases, Transaction
from cloud.api.http.errors import NotFound
from cloud.db.queries import Queries

_QUERIES = Queries("api_telemetry")


@dataclass(frozen=True, slots=True, kw_only=True)
class Readable:
    """A meter that the caller may read at some time. `grants` are for Databases.telemetry()."""

    meter_id: int
    code: str
    timezone: str
    spans: Sequence[Sequence[str]]

    @property
    def grants(self) -> Mapping[str, object]:
        """What says so to the telemetry database."""
        return {str(self.meter_id): self.spans}


async def readable(
    databases: Databases, caller: Caller, code: str, what: str, span: tuple[datetime, datetime] | None = None
) -> Readable:
    """Raises NotFound: somebody else's meter is as absent as one that does not exist. Of operators and admins it is
    written down that they look at `what` of `span`, which is committed before anything is read."""
    async with databases.domain(caller) as domain:
        await domain.look(f"telemetry/{what}", code=code, span=span)
        row = await domain.row(_QUERIES["readable"], {"code": code})
    if row is None:
        raise NotFound(f"there is no meter {code}")
    return Readable(**row)


async def readable_region(databases: Databases, caller: Caller, region: str, what: str) -> Mapping[str, object]:
    """Grants for a region. Raises NotFound where the caller does not look after it. That they look at `what` is written
    down."""
    async with databases.domain(caller) as domain:
        await domain.look(f"telemetry/regions/{what}", details={"region": region})
        await require_kept(domain, region)
    return {"regions": [region]}


async def require_kept(domain: Transaction, region: str) -> None:
    """Raises NotFound where the caller does not look after the region."""
    if await domain.row(_QUERIES["region"], {"region": region}) is None:
        raise NotFound(f"there is no region {region} that you look after")


async def found_in_region(databases: Databases, caller: Caller, what: str, meters: Sequence[int]) -> None:
    """Writes down which meters such a look has found."""
    async with databases.domain(caller) as domain:
        await domain.found(f"telemetry/regions/{what}", meters)
