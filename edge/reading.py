"""One reading of one device, on its way from a driver to the buffer."""

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import ClassVar

import msgspec

from contract.quantities import BY_NAME, Kind
from contract.terms import DEVICE_KEY, FLAG_LIMIT, INTERVAL_LIMIT, MAX_DEVICE_KEY, TIME_LIMIT

# Registers are 64-bit integers from the batch to the database; a value beyond is a wrong word order, not energy.
_REGISTER_LIMIT = 2**63
# Beyond this, an integer of a payload fits no 64-bit field and a float no 32-bit column.
_FLOAT_LIMIT = 1e18


class Reading(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """`values` maps quantity names to canonical values, without the quantities that the device did not deliver.

    `time_us` is microseconds since 1970-01-01T00:00:00Z, `flags` those of `contract.batch.Flag`, `interval_ms` the
    interval that the configuration expects of the device.
    """

    device: str
    time_us: int
    values: dict[str, int | float]
    flags: int = 0
    interval_ms: int = 0


def unspeakable(reading: Reading) -> str | None:
    """What no batch can say of `reading`, None where all of it can be said: it would take others of its batch along."""
    for value in reading.values.values():
        if not -_REGISTER_LIMIT <= value < _REGISTER_LIMIT:
            return "a value that fits no 64 bits"
    if not -TIME_LIMIT <= reading.time_us <= TIME_LIMIT:
        return "a time that fits no 62 bits"
    if not 0 <= reading.interval_ms < INTERVAL_LIMIT:
        return "an interval that fits no 31 bits"
    if not 0 <= reading.flags < FLAG_LIMIT:
        return "flags that fit no 15 bits"
    return None if _is_key(reading.device) else "a device name that no receiver takes"


@lru_cache(maxsize=4096)
def _is_key(device: str) -> bool:
    return len(device) <= MAX_DEVICE_KEY and DEVICE_KEY.match(device) is not None


class Delivery(msgspec.Struct, frozen=True, gc=False):
    """Which broker delivery a reading came in: enough to know it again when the broker sends it once more."""

    PACKED_BYTES: ClassVar[int] = 10

    client: str
    message_id: int
    digest: bytes

    @property
    def packed(self) -> bytes:
        """What tells this delivery from others to its client."""
        return self.message_id.to_bytes(2, "big") + self.digest

    @classmethod
    def unpack(cls, client: str, packed: bytes) -> "list[Delivery]":
        parts = (packed[at : at + cls.PACKED_BYTES] for at in range(0, len(packed), cls.PACKED_BYTES))
        return [cls(client, int.from_bytes(part[:2], "big"), part[2:]) for part in parts]

    @classmethod
    def of(cls, client: str, message_id: int, topic: str, payload: bytes) -> "Delivery":
        digest = hashlib.blake2b(topic.encode() + b"\0" + payload, digest_size=8).digest()
        return cls(client, message_id, digest)


def canonical(values: Mapping[str, float]) -> tuple[dict[str, int | float], list[str]]:
    """`values` at the contract's resolution, and the names of those that no column can hold, which are left out.

    A NaN or an infinity is a meter's way to say that it has no value: it is absent, never 0.
    """
    kept: dict[str, int | float] = {}
    impossible: list[str] = []
    for name, value in values.items():
        if value != value or value in (float("inf"), float("-inf")):
            continue
        quantity = BY_NAME[name]
        limit = _REGISTER_LIMIT if quantity.kind is Kind.CUMULATIVE else _FLOAT_LIMIT
        if -limit <= value < limit:
            kept[name] = quantity.canonical(value)
        else:
            impossible.append(name)
    return kept, impossible
