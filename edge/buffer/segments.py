"""Bodies of segments: readings to bytes and back, and what is left of them when space runs out."""

from collections.abc import Iterable, Sequence
from itertools import chain, islice, repeat

import msgspec
import zstandard

from contract.batch import BatchError
from contract.packed import Flat, Group, unpack_flat
from contract.quantities import BY_NAME, Kind
from edge.errors import EdgeError
from edge.reading import Reading

QUARTER_HOUR_US = 900_000_000

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(list[Group])
# In the fifth byte of a frame (RFC 8878, 3.1.1.1.1): one bit less, and nothing tells altered values from others.
_CHECKSUM_FLAG = 0x04
_COMPRESSOR = zstandard.ZstdCompressor(level=3, write_checksum=True)


class DamagedSegment(EdgeError):
    """A body that is no longer what was written: a worn flash card gives back other bytes."""


def pack(readings: Iterable[Reading]) -> bytes:
    """`readings` as the body of a segment, grouped by quantities and device; within a device in the order given.

    Not for two threads at once: the compressor is one.
    """
    alike: dict[tuple[str, ...], list[Reading]] = {}
    for reading in readings:
        alike.setdefault(tuple(reading.values), []).append(reading)
    return _COMPRESSOR.compress(_ENCODER.encode([_flat(names, rows).pack() for names, rows in alike.items()]))


def _flat(names: tuple[str, ...], rows: list[Reading]) -> Flat:
    # A device whose interval was changed is there once with each.
    kinds = dict.fromkeys((reading.device, reading.interval_ms) for reading in rows)
    counts = [1] * len(rows)
    if len(kinds) < len(rows):
        by_kind: dict[tuple[str, int], list[Reading]] = {kind: [] for kind in kinds}
        for reading in rows:
            by_kind[reading.device, reading.interval_ms].append(reading)
        rows = list(chain.from_iterable(by_kind.values()))
        counts = list(map(len, by_kind.values()))
    columns = map(list, zip(*[reading.values.values() for reading in rows], strict=True))
    return Flat(
        devices=[device for device, _ in kinds],
        counts=counts,
        interval_ms=[interval_ms for _, interval_ms in kinds],
        time_us=[reading.time_us for reading in rows],
        flags=[reading.flags for reading in rows],
        values=dict(zip(names, columns, strict=True)),
    )


def flats(body: bytes) -> list[Flat]:
    """The readings in `body`, columnar. Raises DamagedSegment."""
    try:
        return [unpack_flat(group) for group in _groups(body)]
    except (BatchError, MemoryError) as error:
        raise DamagedSegment(str(error)) from error


def devices(body: bytes) -> set[str]:
    """Whose readings are in `body`, which costs less than to read them. Raises DamagedSegment."""
    return {device for group in _groups(body) for device in group.devices}


def _groups(body: bytes) -> list[Group]:
    if not body[4:5] or not body[4] & _CHECKSUM_FLAG:
        raise DamagedSegment("without its checksum")
    try:
        return _DECODER.decode(zstandard.ZstdDecompressor().decompress(body, allow_extra_data=False))
    except (zstandard.ZstdError, msgspec.DecodeError, UnicodeDecodeError, MemoryError) as error:
        raise DamagedSegment(str(error)) from error


def unpack(body: bytes) -> list[Reading]:
    """The readings in `body`. Raises DamagedSegment."""
    readings = []
    for flat in flats(body):
        columns = zip(*flat.values.values(), strict=True) if flat.values else repeat(())
        rows = zip(flat.time_us, flat.flags, columns, strict=False)
        for device, count, interval_ms in zip(flat.devices, flat.counts, flat.interval_ms, strict=True):
            for time_us, flags, values in islice(rows, count):
                named = dict(zip(flat.values, values, strict=True))
                readings.append(Reading(device, time_us, named, flags, interval_ms))
    return readings


def span(readings: Iterable[Reading]) -> tuple[int, int]:
    """First and last time of `readings`, which are not empty, in microseconds."""
    times = [reading.time_us for reading in readings]
    return min(times), max(times)


def reduce(readings: Sequence[Reading]) -> list[Reading]:
    """`readings` without their instantaneous values, but for the last reading in each quarter of an hour of a device.

    What has no energy register is then gone, but for that last one.
    """
    last = {id(reading) for reading in _last_of_quarters(readings)}
    kept = []
    for reading in readings:
        if id(reading) in last:
            kept.append(reading)
        elif (registers := _registers(reading)) is not None:
            kept.append(registers)
    return kept


def thin(readings: Iterable[Reading]) -> list[Reading]:
    """The energy registers of `readings` at the end of each quarter of an hour, per device; the rest is given up.

    Kept is the last read in each quarter, at the time when it was read: a register read late still tells the energy
    up to it, and nothing is interpolated here.
    """
    with_registers = [registers for reading in readings if (registers := _registers(reading)) is not None]
    return sorted(_last_of_quarters(with_registers), key=lambda reading: (reading.time_us, reading.device))


def _last_of_quarters(readings: Iterable[Reading]) -> Iterable[Reading]:
    """A device whose readings have now these and then those quantities has a last one of each kind."""
    last: dict[tuple[str, int, frozenset[str]], Reading] = {}
    for reading in readings:
        key = (reading.device, reading.time_us // QUARTER_HOUR_US, frozenset(reading.values))
        if key not in last or last[key].time_us <= reading.time_us:
            last[key] = reading
    return last.values()


def _registers(reading: Reading) -> Reading | None:
    """`reading` with its energy registers alone, itself where it has nothing else, None where it has none."""
    registers = {name: value for name, value in reading.values.items() if BY_NAME[name].kind is Kind.CUMULATIVE}
    if len(registers) == len(reading.values):
        return reading if registers else None
    return msgspec.structs.replace(reading, values=registers) if registers else None
