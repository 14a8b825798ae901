"""The faults of one meter or endpoint: which hit now, and what they make of a snapshot and of the meter's place."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from firmware_sim import chance
from firmware_sim.clock import Clock, now_us
from firmware_sim.faults.fault import Fault
from firmware_sim.faults.grid import GridFaults
from firmware_sim.faults.kinds import KINDS
from firmware_sim.faults.spec import FaultSpec
from firmware_sim.load import NJ_PER_WH
from firmware_sim.meter import Meter, Snapshot

_TEN_YEARS_S = 3653 * 86_400
_ZONE_S = 2 * 3600
_ROLLOVER_WH = 10_000_000


class Faults:
    """Faults of `name`. `begin` decides which hit a request or a message; until the next one they are `current`."""

    def __init__(
        self,
        specs: Sequence[FaultSpec] = (),
        *,
        seed: int,
        name: str,
        start_us: int | None = None,
        clock: Clock = now_us,
    ) -> None:
        self._seed, self._name, self._clock = seed, name, clock
        self._faults: list[Fault] = []
        self._grid = GridFaults()
        self.current: list[Fault] = []
        self.changed: Callable[[], None] = lambda: None
        for spec in specs:
            self.add(spec, start_us=start_us)

    def __bool__(self) -> bool:
        return bool(self._faults)

    def befall(self, meter: Meter) -> None:
        """From now on `meter` is under these faults."""
        meter.alter = self.altered
        meter.course.follow(self._grid)
        self._grid.forget = meter.course.forget

    def add(self, spec: FaultSpec, *, start_us: int | None = None) -> None:
        key = chance.key(self._seed, self._name, "fault", len(self._faults))
        fault = Fault(spec, start_us=self._clock() if start_us is None else start_us, key=key)
        if KINDS[spec.kind].scope == "grid":
            self._grid.add(fault)
        else:
            self._faults.append(fault)
        self.changed()

    def clear(self) -> None:
        """Ends all of them, scheduled ones too. What they made of the registers stays."""
        self._faults, self.current = [], []
        self._grid.end(self._clock())
        self.changed()

    def begin(self, t_us: int) -> list[Fault]:
        self._faults = [fault for fault in self._faults if not fault.over(t_us)]
        self.current = [fault for fault in self._faults if fault.hits(t_us)]
        return self.current

    def lasting(self, kind: str, t_us: int) -> Fault | None:
        """The first fault of `kind` that lasts at `t_us`, whatever it hits."""
        return next((f for f in self._faults if f.kind == kind and f.since_us(t_us) is not None), None)

    def next_change_us(self, t_us: int) -> int | None:
        changes = [change for fault in self._faults if (change := fault.next_change_us(t_us)) is not None]
        return min(changes, default=None)

    def clock_error_us(self, t_us: int) -> int:
        """How far the meter's own clock is ahead by the current faults, in whole seconds."""
        for fault in self.current:
            if fault.kind == "clock":
                if fault.spec.offset_s is not None:
                    return round(fault.spec.offset_s) * 10**6
                since_us = fault.since_us(t_us) or 0
                wrong_s = {"1970": -(since_us // 10**6), "future": _TEN_YEARS_S, "zone": _ZONE_S}
                return wrong_s[fault.spec.variant] * 10**6
        return 0

    def altered(self, snapshot: Snapshot, meter: Meter) -> Snapshot:
        """What `meter` tells of `snapshot` under the current faults."""
        for fault in self.current:
            since_us = fault.since_us(snapshot.t_us)
            if KINDS[fault.kind].scope == "value" and since_us is not None:
                snapshot = _altered(snapshot, fault.spec, meter.measured(since_us), chance.key(fault.key, since_us))
        return snapshot


def _altered(snapshot: Snapshot, spec: FaultSpec, before: Snapshot, key: int) -> Snapshot:
    def wanted(name: str) -> bool:
        return spec.quantity is None or spec.quantity == name

    values, registers = dict(snapshot.values), dict(snapshot.registers_nj)
    serial_number = snapshot.serial_number
    if spec.kind == "nan":
        values |= {name: float("nan") for name in (*values, *registers) if wanted(name)}
        registers = {name: of for name, of in registers.items() if not wanted(name)}
    elif spec.kind == "stuck":
        values = {name: before.values.get(name, of) if wanted(name) else of for name, of in values.items()}
        registers = {name: before.registers_nj[name] if wanted(name) else of for name, of in registers.items()}
    elif spec.kind == "zero":
        values = {name: 0.0 if wanted(name) else of for name, of in values.items()}
        registers = {name: 0 if wanted(name) else of for name, of in registers.items()}
    else:
        first_nj = (spec.wh or 0) * NJ_PER_WH if spec.kind == "exchange" else 0
        for name in filter(wanted, registers):
            if spec.kind == "rollover":
                registers[name] %= (spec.wh or _ROLLOVER_WH) * NJ_PER_WH
            else:
                registers[name] += first_nj - before.registers_nj[name]
        if spec.kind == "exchange":
            serial_number = chance.between(key, 0, 10_000_000, 99_999_999)
    return replace(snapshot, values=values, registers_nj=registers, serial_number=serial_number)
