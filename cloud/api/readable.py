"""Which meters and regions a caller may read, as the domain database says for each request."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cloud.api.database import Caller, Databases
from cloud.api.errors import NotFound
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


async def readable(databases: Databases, caller: Caller, code: str) -> Readable:
    """Raises NotFound: somebody else's meter is as absent as one that does not exist."""
    [found] = await all_readable(databases, caller, [code])
    return found


async def all_readable(databases: Databases, caller: Caller, codes: Sequence[str]) -> list[Readable]:
    """Each of `codes` once, in their order. Raises NotFound, which names the first that is absent."""
    async with databases.domain(caller) as domain:
        rows = await domain.rows(_QUERIES["readable"], {"codes": list(codes)})
    found = {row["code"]: Readable(**row) for row in rows}
    for code in codes:
        if code not in found:
            raise NotFound(f"there is no meter {code}")
    return [found[code] for code in dict.fromkeys(codes)]


async def readable_region(databases: Databases, caller: Caller, region: str) -> Mapping[str, object]:
    """Grants for a region. Raises NotFound where the caller does not look after it."""
    async with databases.domain(caller) as domain:
        if await domain.row(_QUERIES["region"], {"region": region}) is None:
            raise NotFound(f"there is no region {region} that you look after")
    return {"regions": [region]}


def whole(meters: Sequence[Readable]) -> Mapping[str, object]:
    """Grants for all of them."""
    return {name: spans for meter in meters for name, spans in meter.grants.items()}
