"""The receiver's copy of the registry tables: keys and devices, one snapshot per registry version."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import repeat

import numpy as np
from numpy.typing import NDArray
from psycopg import AsyncConnection

from cloud.db.queries import Queries
from cloud.gateways.key import Key

_QUERIES = Queries("ingest")
_ALWAYS = (-(2**63), 2**63 - 1)


@dataclass(frozen=True, slots=True)
class Assignment:
    """Device and meter are one from `from_us` to before `to_us`, microseconds since 1970."""

    from_us: int
    to_us: int
    meter_id: int


@dataclass(frozen=True, slots=True)
class Registry:
    """Immutable snapshot. A change of the tables gets a new version number, and the receiver a new snapshot."""

    version: int
    gateway_of_key: dict[bytes, int]
    assignments: dict[tuple[int, str], tuple[Assignment, ...]]
    _only: dict[int, dict[str, int]] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        for (gateway_id, device), assignments in self.assignments.items():
            if len(assignments) == 1 and (assignments[0].from_us, assignments[0].to_us) == _ALWAYS:
                self._only.setdefault(gateway_id, {})[device] = assignments[0].meter_id

    def gateway_id(self, key: str) -> int | None:
        """The gateway with this key, looked up by its hash: no key is stored, and no comparison leaks one."""
        return self.gateway_of_key.get(Key(key).digest)

    def only_meters(self, gateway_id: int, devices: Sequence[str]) -> NDArray[np.int32]:
        """The meter that each device is at any time, 0 where it depends on the time or the device is unknown."""
        meters = self._only.get(gateway_id, {})
        return np.fromiter(map(meters.get, devices, repeat(0)), dtype=np.int32, count=len(devices))

    def meters_of(self, gateway_id: int, device: str, time_us: NDArray[np.int64]) -> NDArray[np.int32]:
        """The meter of each reading, 0 where the device is none at that time."""
        meters = np.zeros(len(time_us), dtype=np.int32)
        for one in self.assignments.get((gateway_id, device), ()):
            if (one.from_us, one.to_us) == _ALWAYS:
                meters[:] = one.meter_id
            else:
                meters[(time_us >= one.from_us) & (time_us < one.to_us)] = one.meter_id
        return meters


NOTHING = Registry(version=-1, gateway_of_key={}, assignments={})


async def load(connection: AsyncConnection) -> Registry:
    """The tables as they are now."""
    version = await current_version(connection)
    keys: dict[bytes, int] = {}
    async for gateway_id, hashes in await connection.execute(_QUERIES["registry_keys"]):
        keys |= {bytes(key_hash): gateway_id for key_hash in hashes}
    assignments: dict[tuple[int, str], tuple[Assignment, ...]] = {}
    async for gateway_id, device, meter_id, from_us, to_us in await connection.execute(_QUERIES["registry_devices"]):
        one = Assignment(_ALWAYS[0] if from_us is None else from_us, _ALWAYS[1] if to_us is None else to_us, meter_id)
        assignments[gateway_id, device] = _joined(assignments.get((gateway_id, device), ()), one)
    return Registry(version, keys, assignments)


def _joined(before: tuple[Assignment, ...], one: Assignment) -> tuple[Assignment, ...]:
    """`before` and `one`, which is later: where the meter only moved to another place, they are one."""
    if before and (before[-1].meter_id, before[-1].to_us) == (one.meter_id, one.from_us):
        return (*before[:-1], Assignment(before[-1].from_us, one.to_us, one.meter_id))
    return (*before, one)


async def current_version(connection: AsyncConnection) -> int:
    """The number of the registry's present state, 0 when there is none."""
    cursor = await connection.execute(_QUERIES["registry_version"])
    row = await cursor.fetchone()
    return 0 if row is None else int(row[0])
