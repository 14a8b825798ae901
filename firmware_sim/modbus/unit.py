"""A meter at a unit address: request PDU in, answer out."""

import struct
from collections.abc import Mapping
from functools import partial

from firmware_sim import chance
from firmware_sim.clock import Clock, now_us
from firmware_sim.faults.fault import Fault
from firmware_sim.faults.faults import Faults
from firmware_sim.faults.kinds import KINDS
from firmware_sim.journal import Journal
from firmware_sim.meter import Meter
from firmware_sim.modbus.answer import (
    DEVICE_FAILURE,
    ILLEGAL_DATA_ADDRESS,
    ILLEGAL_DATA_VALUE,
    ILLEGAL_FUNCTION,
    Answer,
    exception,
)
from firmware_sim.register_map import BitMap, IllegalAddress, IllegalCount, RegisterMap

_REQUEST = struct.Struct(">BHH")
_MOST = {1: 2000, 2: 2000, 3: 125, 4: 125}
# What may be written is in the table that this function reads.
_READ_BACK = {5: 1, 6: 3, 15: 1, 16: 3}


class Unit:
    """Reads are of the instant at which the request came; what was written is read back until the simulator ends."""

    def __init__(
        self,
        *,
        number: int,
        meter: Meter,
        registers: RegisterMap,
        journal: Journal,
        faults: Faults,
        clock: Clock = now_us,
    ) -> None:
        self._number, self._meter, self._registers = number, meter, registers
        self._journal, self._clock, self.faults = journal, clock, faults
        self._written: dict[int, dict[int, bytes]] = {1: {}, 3: {}}
        self._garbage_key, self._answers = chance.key(meter.name, "garbage"), 0
        faults.befall(meter)

    def answer(self, pdu: bytes) -> Answer:
        """What this meter does about the request PDU, under its faults."""
        t_us = self._clock()
        if not self.faults:
            return self._true_answer(pdu, t_us, [])
        hits = self.faults.begin(t_us)
        answer = self._true_answer(pdu, t_us, hits)
        for fault in hits:
            if KINDS[fault.kind].scope in ("reply", "meter") and fault.kind not in ("exception", "illegal-address"):
                self._answers += 1
                answer = answer.under(fault, self._number, chance.key(self._garbage_key, self._answers))
        return answer

    def _true_answer(self, pdu: bytes, t_us: int, hits: list[Fault]) -> Answer:
        function = pdu[0]
        for fault in hits:
            if fault.kind == "exception":
                return Answer(exception(function, fault.spec.code or DEVICE_FAILURE))
        try:
            if function in _READ_BACK:
                return Answer(self._write(function, pdu))
            return self._read(function, pdu, t_us, hits)
        except IllegalAddress:
            return Answer(exception(function, ILLEGAL_DATA_ADDRESS))
        except IllegalCount:
            return Answer(exception(function, ILLEGAL_DATA_VALUE))

    def _read(self, function: int, pdu: bytes, t_us: int, hits: list[Fault]) -> Answer:
        table = self._registers.by_function.get(function)
        if table is None:
            return Answer(exception(function, ILLEGAL_FUNCTION))
        if len(pdu) != _REQUEST.size:
            raise IllegalCount
        _, address, count = _REQUEST.unpack(pdu)
        if not 1 <= count <= _MOST[function]:
            raise IllegalCount
        for fault in hits:
            if fault.kind == "illegal-address" and _touches(fault, table, address, count):
                raise IllegalAddress
        written = self._written[1 if isinstance(table, BitMap) else 3] if table.writable else None
        data, values = table.read(address, count, self._meter.at(t_us), written)
        serve = partial(self._journal.served, t_us=t_us, meter=self._meter.name, values=values) if values else None
        return Answer(bytes((function, len(data))) + data, serve)

    def _write(self, function: int, pdu: bytes) -> bytes:
        """The response to function 5, 6, 15 or 16."""
        if len(pdu) < _REQUEST.size:
            raise IllegalCount
        _, address, value = _REQUEST.unpack_from(pdu)
        words: Mapping[int, bytes]
        if function == 5:
            if value not in (0, 0xFF00):
                raise IllegalCount
            words = {address: value.to_bytes(2)}
        elif function == 6:
            words = {address: pdu[3:5]}
        else:
            words = _many(function, address, value, pdu[5:])
        table = self._registers.by_function.get(_READ_BACK[function])
        if table is None:
            return exception(function, ILLEGAL_FUNCTION)
        if not all(any(at in area for area in table.writable) for at in words):
            raise IllegalAddress
        self._written[_READ_BACK[function]].update(words)
        return pdu[:5]


class Units:
    """The units behind one endpoint."""

    def __init__(self, units: Mapping[int, Unit]) -> None:
        self._units = units

    def answer(self, unit: int, pdu: bytes) -> Answer | None:
        found = self._units.get(unit)
        return None if found is None else found.answer(pdu)

    def broadcast(self, pdu: bytes) -> None:
        for unit in self._units.values():
            unit.answer(pdu)


def _touches(fault: Fault, table: RegisterMap | BitMap, address: int, count: int) -> bool:
    spec = fault.spec
    if spec.address is not None:
        hole = range(spec.address, spec.address + (spec.count or 1))
    elif isinstance(table, RegisterMap):
        hole = table.addresses(spec.quantity or "")
    else:
        return False
    return max(hole.start, address) < min(hole.stop, address + count)


def _many(function: int, address: int, count: int, rest: bytes) -> dict[int, bytes]:
    """What a request of function 15 or 16 writes. Raises IllegalCount when its lengths contradict each other."""
    size = (count + 7) // 8 if function == 15 else 2 * count
    if not 1 <= count <= (1968 if function == 15 else 123) or len(rest) != 1 + size or rest[0] != size:
        raise IllegalCount
    data = rest[1:]
    if function == 16:
        return {address + at: data[2 * at : 2 * at + 2] for at in range(count)}
    return {address + at: b"\xff\x00" if data[at // 8] >> at % 8 & 1 else b"\x00\x00" for at in range(count)}
