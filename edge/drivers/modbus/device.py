"""One meter on a bus: how it is read, and what one reading of it brought."""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache, partial

import msgspec

from edge.clock import Clock
from edge.drivers.modbus.layout import Layout
from edge.drivers.modbus.line import Line
from edge.drivers.modbus.set_aside import NotKept, SetAside
from edge.drivers.sink import DeviceState
from edge.errors import ModbusFault
from edge.profiles.modbus.plan import Block
from edge.profiles.modbus.probe import Read
from edge.profiles.modbus.schema import ModbusProfile

# The device says that there is no such register: asking the same again will not help, asking for less may.
_NOT_THERE = (2, 3)
# A gateway says that the device behind it is silent; the rest of its blocks would only cost the neighbours time.
_SILENT = (10, 11)
_TARGET_SILENT = 11
_PROBE_INTERVAL_S = 3600.0


class Polled(msgspec.Struct, gc=False):
    """`values` are canonical. `arrived_us` is when the last reply came, a time of no other reading, None without any,
    by a wall clock that was `offset_us` ahead of the monotonic one. `silent` means that the device let the line wait,
    or lost it; `narrows` that what it is silent on is just being found out. `replies` are those to `blocks`, None where
    there was none."""

    values: dict[str, int | float]
    faults: list[str]
    arrived_us: int | None
    silent: bool
    offset_us: int = 0
    narrows: bool = False
    blocks: Sequence[Block] = ()
    replies: Sequence[bytes | None] = ()


class ModbusDevice:
    """A meter whose map is `profile`, or says itself what its map is: `discover` finds out once it answers."""

    def __init__(
        self,
        *,
        id: str,
        unit: int,
        interval_s: float,
        timeout_s: float,
        profile: ModbusProfile | None = None,
        discover: Callable[[Read], Awaitable[ModbusProfile]] | None = None,
        set_aside: SetAside | None = None,
        newest_us: Callable[[], int | None] = lambda: None,
    ) -> None:
        """`newest_us` tells the time of the newest reading before this start, None where there is none."""
        if (profile is None) == (discover is None):
            raise ValueError(f"{id}: give a profile, or a way to discover it")
        self.id, self.unit, self.interval_s, self.timeout_s = id, unit, interval_s, timeout_s
        self.state = DeviceState(device=id, interval_ms=round(interval_s * 1000))
        self._discover, self._set_aside = discover, set_aside or NotKept()
        self._layout: Layout | None = None
        self._digest = ""
        self._outdated = False
        self._probe_s: float | None = None
        self._first_probe = 0
        self._newest_us, self._latest_us = newest_us, 0
        if profile is not None:
            self._follow(profile)

    @property
    def profile(self) -> ModbusProfile | None:
        return self._layout.profile if self._layout else None

    @property
    def blocks(self) -> tuple[Block, ...]:
        """What is read at each poll."""
        return self._layout.blocks if self._layout else ()

    async def poll(self, line: Line, clock: Clock, moving: Callable[[], None] = lambda: None) -> Polled:
        """Read all blocks once. What failed is absent, and shifts nothing. `moving` is called before each request."""
        layout = self._layout
        if layout is None or self._outdated:
            try:
                layout = await self._discovered(self._reader(line), moving)
            except ModbusFault as fault:
                return Polled({}, [f"discovery: {fault.reason}"], None, _is_silent(fault))
        blocks, unit, timeout_s = layout.blocks, self.unit, self.timeout_s
        replies: list[bytes | None] = [None] * len(blocks)
        refused: list[Block] = []
        faults: list[str] = []
        replied_us, silent = None, False
        unanswered: Block | None = None
        for place in layout.order:
            block = blocks[place]
            moving()
            try:
                # In full: by way of `_reader` a poll takes a tenth longer.
                replies[place] = await line.read(
                    unit=unit, function=block.function, address=block.address, count=block.count, timeout_s=timeout_s
                )
            except ModbusFault as fault:
                faults.append(f"{block}: {fault.reason}")
                if fault.exception_code in _NOT_THERE:
                    refused.append(block)
                elif _is_silent(fault):
                    silent = True
                    if fault.silent or fault.exception_code == _TARGET_SILENT:
                        unanswered = block
                    break
            else:
                replied_us = clock.boottime_us()
        decoded = layout.decode(replies)
        if decoded.impossible:
            faults += [f"{name} fits no register; check the profile's word order" for name in decoded.impossible]
        if not decoded.values and not faults:
            faults.append("it answers, and every register says that there is no value")
        arrived_us, offset_us = None, 0
        if replied_us is not None:
            # Of one clock, whenever it was set: time and offset are told together.
            offset_us = clock.offset_us()
            arrived_us = self._stamped(replied_us + offset_us)
        polled = Polled(decoded.values, faults, arrived_us, silent, offset_us, blocks=blocks, replies=replies)
        if unanswered is not None and layout.waited_for(unanswered, others_answer=arrived_us is not None):
            refused.append(unanswered)
            polled.narrows = True
        if refused or not layout.settled:
            answered = [block for block, reply in zip(blocks, replies, strict=True) if reply is not None]
            if layout.learn(answered, refused):
                await self._keep(layout)
        if layout.aside or not layout.settled:
            await self._look_again(
                layout, self._reader(line), clock, moving, answers=arrived_us is not None and not silent
            )
        # Another meter may be there after a silence, and a map that is refused is another's.
        self._outdated = self._discover is not None and (silent or bool(refused))
        return polled

    def _stamped(self, now_us: int) -> int:
        """The time of a reading that came at `now_us`: two of one meter and one time would be one to the receiver.

        Whole milliseconds, as what is finer is the scheduler's, not the meter's, and costs a byte and a half a reading.
        Where the clock was set back, there may be a reading of that millisecond; it keeps its own microseconds, of
        which those have none.
        """
        whole_us = now_us // 1000 * 1000
        if whole_us <= self._latest_us or whole_us <= (self._newest_us() or 0):
            return whole_us + (now_us % 1000 or 1)
        self._latest_us = whole_us
        return whole_us

    def _reader(self, line: Line) -> Read:
        return partial(line.read, unit=self.unit, timeout_s=self.timeout_s)

    async def _discovered(self, read: Read, moving: Callable[[], None]) -> Layout:
        assert self._discover is not None

        async def step(*, function: int, address: int, count: int) -> bytes:
            moving()
            return await read(function=function, address=address, count=count)

        profile = await self._discover(step)
        if self._layout is None or profile != self._layout.profile:
            return self._follow(profile)
        return self._layout

    def _follow(self, profile: ModbusProfile) -> Layout:
        self._digest = _digest(profile)
        self._layout = Layout(profile=profile, aside=self._set_aside.of(self.id, self._digest))
        self.state.set_aside = tuple(sorted(self._layout.aside))
        return self._layout

    async def _look_again(
        self, layout: Layout, read: Read, clock: Clock, moving: Callable[[], None], *, answers: bool
    ) -> None:
        """Ask once an hour whether what was refused is there now."""
        now_s = clock.monotonic_s()
        if self._probe_s is None:
            self._probe_s = now_s + _PROBE_INTERVAL_S
        if now_s < self._probe_s or not answers:
            return
        self._probe_s = now_s + _PROBE_INTERVAL_S
        layout.doubt_the_split()
        there: set[str] = set()
        probes = layout.probes
        for number in range(self._first_probe, self._first_probe + len(probes)):
            block = probes[number % len(probes)]
            moving()
            try:
                await read(function=block.function, address=block.address, count=block.count)
            except ModbusFault as fault:
                if _is_silent(fault):
                    # One time-out an hour is enough; the next hour goes on behind it.
                    self._first_probe = (number + 1) % len(probes)
                    break
            else:
                there.update(block.keys)
        if there:
            layout.answered_again(there)
            await self._keep(layout)

    async def _keep(self, layout: Layout) -> None:
        self.state.set_aside = tuple(sorted(layout.aside))
        await self._set_aside.keep(self.id, self._digest, layout.aside)


@lru_cache(maxsize=64)
def _digest(profile: ModbusProfile) -> str:
    return hashlib.blake2b(profile.model_dump_json().encode(), digest_size=8).hexdigest()


def _is_silent(fault: ModbusFault) -> bool:
    return fault.line_lost or fault.silent or fault.exception_code in _SILENT
