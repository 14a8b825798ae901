"""One reading of one unit by hand: every block once, halved where the meter refuses it, and what came of each."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from edge.clock import Clock
from edge.errors import ModbusFault
from edge.profiles.modbus import physics
from edge.profiles.modbus.plan import Block
from edge.profiles.modbus.probe import Read
from edge.profiles.modbus.schema import ModbusProfile
from edge.tools.outcome import escaped

_NOT_THERE = (2, 3)
_ABSENT_UNIT = (10, 11)


@dataclass(kw_only=True)
class Sample:
    """`replies[i]` are the bytes of `blocks[i]`, None where `faults[i]` says why there are none.

    `unread` says it of what no block holds.
    """

    time_us: int
    blocks: tuple[Block, ...] = ()
    replies: list[bytes | None] = field(default_factory=list)
    faults: list[ModbusFault | None] = field(default_factory=list)
    values: dict[str, int | float] = field(default_factory=dict)
    impossible: list[str] = field(default_factory=list)
    unread: str = "not read"

    @property
    def answered(self) -> bool:
        return any(reply is not None for reply in self.replies)

    def decode(self, profile: ModbusProfile) -> None:
        """Fill `values` and `impossible` from the replies, as the daemon does."""
        decoded = profile.decoder(self.blocks)(self.replies)
        self.values, self.impossible = decoded.values, list(decoded.impossible)


async def take(read: Read, profile: ModbusProfile, clock: Clock) -> Sample:
    """A sample by what `read` answers. A unit that says nothing is asked once."""
    waiting = list(profile.blocks())
    done: list[tuple[Block, bytes | None, ModbusFault | None]] = []
    time_us = clock.now_us()
    while waiting:
        block = waiting.pop(0)
        try:
            data = await read(function=block.function, address=block.address, count=block.count)
        except ModbusFault as fault:
            halves = block.halves()
            if fault.exception_code in _NOT_THERE and len(halves) > 1:
                waiting[:0] = halves
                continue
            done.append((block, None, fault))
            if fault.exception_code is None or fault.exception_code in _ABSENT_UNIT:
                # What else is asked of a unit that is silent costs a time-out each, and tells nothing new.
                done += [(rest, None, fault) for rest in waiting]
                break
            continue
        time_us = clock.now_us()
        done.append((block, data, None))
    blocks, replies, faults = zip(*done, strict=True)
    sample = Sample(time_us=time_us, blocks=blocks, replies=list(replies), faults=list(faults))
    sample.decode(profile)
    return sample


async def identity_of(read: Read, profile: ModbusProfile) -> dict[str, str]:
    """What the unit says of itself, with what is not printable escaped; what it does not say is left out."""
    said: dict[str, str] = {}
    for row in profile.identity:
        try:
            value = row.value(await read(function=row.function, address=row.address, count=row.width))
        except ModbusFault as fault:
            if fault.exception_code is None:
                break
            continue
        if value not in (None, ""):
            said[row.name] = f"{value:g}" if isinstance(value, float) else escaped(str(value))
    return said


async def doubts(read: Read, profile: ModbusProfile, values: Mapping[str, float]) -> list[str]:
    """What in `values` no grid has, and how the unit would have to be read instead, if that can be told."""
    wrong = physics.implausible(values, profile.nominal)
    if not wrong:
        return []
    said = [f"{', '.join(f'{name} = {values[name]:g}' for name in wrong)}: no grid has that; another model?"]
    ways = await physics.infer(read, profile)
    return [*said, *(f"it would make sense with {way}" for way in ways)]
