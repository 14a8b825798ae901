"""What stands behind an address of a line: somebody or nobody, and which model."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from contract.quantities import BY_NAME
from edge.clock import Clock
from edge.drivers.modbus.line import Line
from edge.errors import EdgeError, ModbusFault
from edge.profiles import catalog
from edge.profiles.modbus import physics, probe, sunspec
from edge.profiles.modbus.schema import ModbusProfile
from edge.tools.lines.endpoint import ask, reconnect
from edge.tools.lines.sample import Sample, doubts, identity_of, take
from edge.tools.lines.search import search
from edge.tools.outcome import escaped

_NOBODY = (10, 11)
# A unit that lets that many questions pass costs the scan more time than it is worth.
_MOST_SILENCES = 3
_DEVICE_FAILURE, _MOST_FAILURES = 4, 5
_UNIT_PATIENCE_S = 60.0
# Two requests a function, short enough for meters that answer no long ones.
_SEARCHED, _SEARCH_COUNT = (0, 48), 48


@dataclass(kw_only=True)
class Found:
    """A unit that answers. `model` is a profile's name, None where none is known; `how` says how it was told."""

    unit: int
    model: str | None = None
    maker: str | None = None
    how: Literal["probe", "sunspec", "physics"] | None = None
    identity: dict[str, str] = field(default_factory=dict)
    voltages: dict[str, float] = field(default_factory=dict)
    frequency_hz: float | None = None
    hints: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    baud_rate: int = 0

    def document(self, *, serial: bool) -> dict[str, Any]:
        return {
            "unit": self.unit,
            **({"baud_rate": self.baud_rate} if serial else {}),
            "model": self.model,
            "maker": self.maker,
            "how": self.how,
            "identity": self.identity,
            "voltages": self.voltages,
            "frequency_hz": self.frequency_hz,
            "hints": self.hints,
            "warnings": self.warnings,
        }


class Finder:
    """Looks at the units of one open line, one after the other."""

    def __init__(self, *, line: Line, timeout_s: float, clock: Clock) -> None:
        self._line, self._timeout_s, self._clock = line, timeout_s, clock

    async def look(self, unit: int) -> Found | None:
        """What is known of `unit`; None where nobody answers to its address, which one request tells.

        Raises ModbusFault when the line is lost and cannot be had again.
        """
        if not self._line.connected:
            await reconnect(self._line)
        asked = _Unit(line=self._line, unit=unit, timeout_s=self._timeout_s)
        try:
            await asked.read(function=3, address=0, count=2)
        except ModbusFault as fault:
            if fault.exception_code is None or fault.exception_code in _NOBODY:
                return None
        found = Found(unit=unit)
        try:
            async with asyncio.timeout(_UNIT_PATIENCE_S):
                await self._recognise(asked, found)
        except _Failing:
            return None
        except TimeoutError:
            found.warnings.append(f"answers too slowly to be recognised within {_UNIT_PATIENCE_S:g} s")
        except ModbusFault as fault:
            found.warnings.append(f"stopped answering while it was looked at: {fault.reason}")
        return found

    async def _recognise(self, asked: "_Unit", found: Found) -> None:
        known = {name: catalog.modbus(name) for name in catalog.names("modbus")}
        names = await probe.recognise(asked.read, known)
        # A range of voltages is no mark of a model: it only says that the map may be right.
        marked = [name for name in names if any(one.between is None for one in known[name].probe)]
        if marked:
            await self._settle(asked, found, marked, "probe")
            if rest := [name for name in marked if name != found.model]:
                found.warnings.append(f"the probes of {', '.join(rest)} hold as well")
            return
        try:
            profile = await sunspec.discover(asked.read)
        except EdgeError:
            # Models without a mark come before those that have one which is not there.
            rest = sorted((name for name in known if name not in names), key=lambda name: bool(known[name].probe))
            await self._infer(asked, found, [*names, *rest])
            return
        found.model, found.how = catalog.SUNSPEC, "sunspec"
        await self._look_closer(asked, found, profile, await take(asked.read, profile, self._clock))

    async def _settle(
        self, asked: "_Unit", found: Found, names: Sequence[str], how: Literal["probe", "physics"]
    ) -> None:
        """Take the one of `names` that says most of the unit."""
        samples = {name: await take(asked.read, catalog.modbus(name), self._clock) for name in names}
        best = max(names, key=lambda name: _worth(samples[name]))
        found.model, found.how = best, how
        await self._look_closer(asked, found, catalog.modbus(best), samples[best])

    async def _infer(self, asked: "_Unit", found: Found, names: Sequence[str]) -> None:
        """No mark of a model: which map gives the voltages and the frequency of a grid, and in which order of words?

        Of several that give the same, the first of `names` is taken.
        """
        fits: dict[str, int] = {}
        hints: dict[str, list[str]] = {}
        for name in names:
            ways = await physics.infer(asked.read, catalog.modbus(name))
            if ways and ways[0].as_profiled:
                fits[name] = sum(1 for value in ways[0].values.values() if value)
            elif ways:
                hints.setdefault(str(ways[0]), []).append(name)
        if fits:
            most = max(fits.values())
            await self._settle(asked, found, [name for name in fits if fits[name] == most], "physics")
            rest = [name for name in fits if name != found.model]
            also = f"; {', '.join(rest)} would fit as well" if rest else ""
            found.warnings.append(f"no mark of its model, so inferred from its voltages and frequency{also}")
            return
        found.hints += [f"like {', '.join(names)}, but with {way}" for way, names in hints.items()]
        await self._hint(asked, found)

    async def _hint(self, asked: "_Unit", found: Found) -> None:
        for function in (4, 3):
            data = b""
            for first in _SEARCHED:
                try:
                    data += await asked.read(function=function, address=first, count=_SEARCH_COUNT)
                except ModbusFault:
                    break
            if (hint := search(function, _SEARCHED[0], data)) is not None:
                found.hints.append(f"voltages and frequency as {hint}")
        found.warnings.append("no known model; see segs-edge profiles, or write a profile from its datasheet")

    async def _look_closer(self, asked: "_Unit", found: Found, profile: ModbusProfile, sample: Sample) -> None:
        # SunSpec meters say it themselves.
        found.maker = escaped(profile.maker)
        values = sample.values
        found.voltages = {name: value for name, value in values.items() if name.startswith("voltage_")}
        found.frequency_hz = values.get("frequency_hz")
        found.warnings += await doubts(asked.read, profile, values)
        found.identity = await identity_of(asked.read, profile)


class _Failing(EdgeError):
    """Every answer is a device failure: what some endpoints say of units that they do not have."""


class _Unit:
    """Reads of one unit, each question asked once: the probes of many models ask the same."""

    def __init__(self, *, line: Line, unit: int, timeout_s: float) -> None:
        self._line, self._unit, self._timeout_s = line, unit, timeout_s
        self._answers: dict[tuple[int, int, int], bytes | ModbusFault] = {}
        self._silences = self._failures = 0

    async def read(self, *, function: int, address: int, count: int) -> bytes:
        """Raises ModbusFault."""
        question = (function, address, count)
        if question not in self._answers:
            self._answers[question] = await self._ask(function, address, count)
        answer = self._answers[question]
        if isinstance(answer, ModbusFault):
            raise answer
        return answer

    async def _ask(self, function: int, address: int, count: int) -> bytes | ModbusFault:
        if self._silences >= _MOST_SILENCES:
            return ModbusFault(f"{self._silences} questions without an answer", line_lost=False, silent=True)
        try:
            return await ask(
                self._line, unit=self._unit, function=function, address=address, count=count, timeout_s=self._timeout_s
            )
        except ModbusFault as fault:
            if fault.exception_code is None:
                self._silences += 1
            self._failures += fault.exception_code == _DEVICE_FAILURE
            if self._failures == len(self._answers) + 1 == _MOST_FAILURES:
                raise _Failing(fault.reason) from fault
            return fault


def _worth(sample: Sample) -> int:
    """How many values of a sample are a meter's, less those that are not, and less the rows that the unit refuses."""
    refused = sum(len(block.keys) for block, fault in zip(sample.blocks, sample.faults, strict=True) if fault)
    return sum(1 if BY_NAME[name].plausible(value) else -1 for name, value in sample.values.items() if value) - refused
