"""The faults of one meter or endpoint: which hit now, and what they make of a snapshot."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from firmware_sim import chance
from firmware_sim.clock import Clock, now_us
from firmware_sim.faults.kinds import KINDS
from firmware_sim.faults.spec import FaultSpec
from firmware_sim.load import NJ_PER_WH
from firmware_sim.meter import Meter, Snapshot

_TEN_YEARS_S = 3653 * 86_400
_ZONE_S = 2 * 3600
_ROLLOVER_WH = 10_000_000


class Fault:
    """One fault with its schedule, in microseconds since 1970; `key` decides which requests a share hits."""

    def __init__(self, spec: FaultSpec, *, start_us: int, key: int) -> None:
        self.spec, self.kind = spec, spec.kind
        self._begin_us = start_us + round(spec.start_s * 1e6) if spec.at is None else round(spec.at.timestamp() * 1e6)
        self._every_us = round(spec.every_s * 1e6) if spec.every_s else None
        self._for_us = round(spec.for_s * 1e6) if spec.for_s else None
        self._key, self._asked, self._window, self._hits = key, 0, -1, 0

    def since_us(self, t_us: int) -> int | None:
        """When it last began, if it lasts at `t_us`."""
        into_us = t_us - self._begin_us
        if into_us < 0:
            return None
        if self._every_us is not None:
            into_us %= self._every_us
        return t_us - into_us if self._for_us is None or into_us < self._for_us else None

    def next_change_us(self, t_us: int) -> int | None:
        """The first instant after `t_us` at which it begins or ends."""
        into_us = t_us - self._begin_us
        if into_us < 0:
            return self._begin_us
        began_us = self._begin_us + (into_us // self._every_us * self._every_us if self._every_us else 0)
        if self._for_us is not None and t_us < began_us + self._for_us:
            return began_us + self._for_us
        return began_us + self._every_us if self._every_us else None

    def over(self, t_us: int) -> bool:
        """Whether it will never last again."""
        return self.since_us(t_us) is None and self.next_change_us(t_us) is None

    def hits(self, t_us: int) -> bool:
        """Whether it hits the request of `t_us`, which it counts."""
        since_us = self.since_us(t_us)
        if since_us is None:
            return False
        if since_us != self._window:
            self._window, self._hits = since_us, 0
        if self.spec.share is not None:
            self._asked += 1
            if chance.draw(self._key, self._asked) >= self.spec.share * 2**64:
                return False
        if self.spec.limit is not None and self._hits >= self.spec.limit:
            return False
        self._hits += 1
        return True


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
        self.current: list[Fault] = []
        self.changed: Callable[[], None] = lambda: None
        for spec in specs:
            self.add(spec, start_us=start_us)

    def __bool__(self) -> bool:
        return bool(self._faults)

    def add(self, spec: FaultSpec, *, start_us: int | None = None) -> None:
        key = chance.key(self._seed, self._name, "fault", len(self._faults))
        self._faults.append(Fault(spec, start_us=self._clock() if start_us is None else start_us, key=key))
        self.changed()

    def clear(self) -> None:
        """Ends all of them, scheduled ones too."""
        self._faults, self.current = [], []
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
                snapshot = _altered(snapshot, fault.spec, meter.measured(since_us), chance.key(fault._key, since_us))
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
