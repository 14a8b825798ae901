"""Which model a unit is: known by what only that model answers."""

from collections.abc import Mapping
from typing import Protocol

from edge.errors import ModbusFault
from edge.profiles.modbus.rows import Probe
from edge.profiles.modbus.schema import ModbusProfile

# A unit that leaves so many questions without any answer is no meter, or not there.
_PATIENCE = 3


class Read(Protocol):
    """Reads data bytes of one unit, as they stand on the wire. Raises ModbusFault."""

    async def __call__(self, *, function: int, address: int, count: int) -> bytes: ...


async def recognise(read: Read, candidates: Mapping[str, ModbusProfile]) -> tuple[str, ...]:
    """The names of those `candidates` whose probes all hold, the most particular first.

    A model that names itself is more particular than one whose values merely look right, and then more conditions are.
    A profile without a probe is never recognised. What was read for one profile is not read again for another; a
    register that the unit refuses, or says nothing about, is no match.
    """
    answers = _Answers(read)
    found: list[str] = []
    for name, profile in candidates.items():
        if profile.probe and await _all_hold(answers, profile.probe):
            found.append(name)
    return tuple(sorted(found, key=lambda name: _vagueness(candidates[name].probe)))


def _vagueness(conditions: tuple[Probe, ...]) -> tuple[int, int]:
    return -sum(condition.between is None for condition in conditions), -len(conditions)


async def _all_hold(answers: "_Answers", conditions: tuple[Probe, ...]) -> bool:
    for condition in conditions:
        data = await answers.to(condition)
        if data is None or not condition.holds(data):
            return False
    return True


class _Answers:
    """Reads what probes ask for, each register once."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._replies: dict[tuple[int, int, int], bytes | None] = {}
        self._unanswered = 0
        self._answered = False

    async def to(self, probe: Probe) -> bytes | None:
        """The bytes of `probe`, or None when the unit did not give them."""
        function, address, count = probe.function, probe.address, probe.width
        for (known_function, start, length), reply in self._replies.items():
            # A part of what was read before; bits are packed otherwise, and read anew.
            if known_function == function and start <= address and address + count <= start + length:
                if reply is not None and function >= 3:
                    return reply[2 * (address - start) : 2 * (address - start + count)]
                if (start, length) == (address, count):
                    return reply
        if not self._answered and self._unanswered >= _PATIENCE:
            return None
        reply = await self._ask(function, address, count)
        self._replies[function, address, count] = reply
        return reply

    async def _ask(self, function: int, address: int, count: int) -> bytes | None:
        try:
            reply = await self._read(function=function, address=address, count=count)
        except ModbusFault as fault:
            self._answered = self._answered or fault.exception_code is not None
            self._unanswered += fault.exception_code is None
            return None
        self._answered = True
        return reply[:1] and bytes([reply[0] & 1]) if function <= 2 else reply
