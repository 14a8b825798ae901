"""SunSpec meters: common model 1, a meter model, the end model.

Document: SunSpec Information Model Reference, in the form of github.com/sunspec/models json/ (models 1, 201 to 204,
211 to 214), which was read. Models 201 to 204 are one layout of integers with scale factor registers, 211 to 214 one
of singles; they differ in which points a meter must have. Function 3, "SunS" at the base address, then the models end
to end. A point that is not implemented reads as 0x8000, 0xFFFFFFFF or NaN by its type, an accumulator as 0. Watts are
positive for import, and so is the power factor (sunspec/models issue 219), which the integer models state in per cent,
the others as a number. Reactive energy is counted by quadrant: imported in 1 and 2, exported in 3 and 4. Quadrants are
no quantity of ours, so what stands there is in no journal.
"""

import math
import struct
from collections.abc import Callable, Sequence

from firmware_sim.meter import Snapshot
from firmware_sim.register_map import RegisterMap
from firmware_sim.registers import (
    Number,
    Register,
    constant,
    counter,
    float32,
    integer,
    scale_factor,
    serial_number,
    text,
)

_NAN = math.nan
_NONE_16 = b"\x80\x00"
_CURRENT_PER_A, _VOLTAGE_PER_V, _FREQUENCY_PER_HZ, _FACTOR_PER_1 = 100, 10, 100, 1000
_COMMON_WORDS, _INTEGER_WORDS, _FLOAT_WORDS = 68, 107, 126
_MODELS = {
    1: "single phase",
    2: "split phase",
    3: "wye three phase",
    4: "delta three phase",
}


def meter(model: int, *, base: int = 40000, watts: int = 1) -> RegisterMap:
    """`model` is 201 to 204 or 211 to 214; `watts` is the step of the integer models' powers and energies, 1 or 10."""
    kind = model % 10
    if model // 10 not in (20, 21) or kind not in _MODELS:
        raise ValueError(f"{model} is no SunSpec meter model; use 201 to 204 or 211 to 214")
    at = base + 2 + _COMMON_WORDS
    floats = model // 10 == 21
    end = at + (_FLOAT_WORDS if floats else _INTEGER_WORDS)
    registers = [
        constant(base, b"SunS"),
        constant(base + 2, struct.pack(">HH", 1, _COMMON_WORDS - 2)),
        text(base + 4, 16, "SEGS"),
        text(base + 20, 16, f"{_MODELS[kind]} meter"),
        text(base + 36, 8, ""),
        text(base + 44, 8, "1.0.0"),
        serial_number(base + 52, 16, form="text"),
        constant(base + 68, b"\x00\x01"),
        constant(base + 69, b"\x80\x00"),
        *(_floats(at, model, kind) if floats else _integers(at, model, kind, watts)),
        constant(end, struct.pack(">HH", 0xFFFF, 0)),
    ]
    return RegisterMap(function=3, areas=[range(base, end + 2)], registers=registers)


def _integers(at: int, model: int, kind: int, watts: int) -> list[Register]:
    """Offsets as in the models' JSON; `watts` 10 is a scale factor of 1."""
    exponent = round(math.log10(watts))
    lines, neutral = (1, 2, 3, 3)[kind - 1], kind != 4
    return [
        constant(at, struct.pack(">HH", model, _INTEGER_WORDS - 2)),
        _short(at + 2, _sum_of_currents, _CURRENT_PER_A),
        *_phases(at + 3, "current_l{}_a", lines, _CURRENT_PER_A),
        scale_factor(at + 6, -2),
        _short(at + 7, _mean_voltage, _VOLTAGE_PER_V) if neutral else constant(at + 7, _NONE_16),
        *_phases(at + 8, "voltage_l{}_v", lines if neutral else 0, _VOLTAGE_PER_V),
        *_between(at + 11, kind),
        scale_factor(at + 15, -1),
        integer(at + 16, "frequency_hz", words=1, signed=True, per_unit=_FREQUENCY_PER_HZ, missing=_NONE_16),
        scale_factor(at + 17, -2),
        *_power(at + 18, "power_w", lines, watts),
        scale_factor(at + 22, exponent),
        *_power(at + 23, "apparent_power_va", 0, watts),
        scale_factor(at + 27, exponent),
        *_power(at + 28, "reactive_power_var", 0, watts),
        scale_factor(at + 32, exponent),
        integer(at + 33, "power_factor", words=1, signed=True, per_unit=_FACTOR_PER_1, missing=_NONE_16),
        constant(at + 34, 3 * _NONE_16),
        scale_factor(at + 37, -1),
        _accumulated(counter(at + 38, "energy_export_wh", wh=watts, words=2)),
        _accumulated(counter(at + 46, "energy_import_wh", wh=watts, words=2)),
        scale_factor(at + 54, exponent),
        constant(at + 71, _NONE_16),
        _by_quadrant(counter(at + 72, "reactive_energy_import_varh", wh=watts, words=2)),
        _by_quadrant(counter(at + 96, "reactive_energy_export_varh", wh=watts, words=2)),
        scale_factor(at + 104, exponent),
        constant(at + 105, bytes(4)),
    ]


def _phases(at: int, quantity: str, lines: int, per_unit: int) -> list[Register]:
    measured = [
        integer(at + phase - 1, quantity.format(phase), words=1, signed=True, per_unit=per_unit, missing=_NONE_16)
        for phase in range(1, lines + 1)
    ]
    return [*measured, *(constant(at + phase, _NONE_16) for phase in range(lines, 3))]


def _power(at: int, quantity: str, lines: int, watts: int) -> list[Register]:
    """The total, then A to C; a single-phase meter's A is its total, which the model does not say twice."""
    total = integer(at, quantity, words=1, signed=True, unit=watts, missing=_NONE_16)
    phases = [
        integer(at + phase, f"power_l{phase}_w", words=1, signed=True, unit=watts, missing=_NONE_16)
        for phase in range(1, lines + 1)
    ]
    return [total, *phases, *(constant(at + phase, _NONE_16) for phase in range(lines + 1, 4))]


def _between(at: int, kind: int) -> list[Register]:
    """PPV, AB, BC, CA: with two lines AB alone, with one nothing."""
    pairs = ([], [(1, 2)], [(1, 2), (2, 3), (3, 1)], [(1, 2), (2, 3), (3, 1)])[kind - 1]
    registers = [_short(at + 1 + n, _line_voltage([pair]), _VOLTAGE_PER_V) for n, pair in enumerate(pairs)]
    mean = _short(at, _line_voltage(pairs), _VOLTAGE_PER_V) if pairs else constant(at, _NONE_16)
    return [mean, *registers, *(constant(at + 1 + n, _NONE_16) for n in range(len(pairs), 3))]


def _floats(at: int, model: int, kind: int) -> list[Register]:
    lines, neutral = (1, 2, 3, 3)[kind - 1], kind != 4
    pairs = ([], [(1, 2)], [(1, 2), (2, 3), (3, 1)], [(1, 2), (2, 3), (3, 1)])[kind - 1]
    known: dict[int, Register] = {
        register.address: register
        for register in (
            _single(at + 2, _sum_of_currents),
            *(float32(at + 2 + 2 * n, f"current_l{n}_a", missing=_NAN) for n in range(1, lines + 1)),
            *([_single(at + 10, _mean_voltage)] if neutral else []),
            *(
                float32(at + 10 + 2 * n, f"voltage_l{n}_v", missing=_NAN)
                for n in range(1, (lines if neutral else 0) + 1)
            ),
            *([_single(at + 18, _line_voltage(pairs))] if pairs else []),
            *(_single(at + 20 + 2 * n, _line_voltage([pair])) for n, pair in enumerate(pairs)),
            float32(at + 26, "frequency_hz", missing=_NAN),
            float32(at + 28, "power_w", missing=_NAN),
            *(float32(at + 28 + 2 * n, f"power_l{n}_w", missing=_NAN) for n in range(1, lines + 1)),
            float32(at + 36, "apparent_power_va", missing=_NAN),
            float32(at + 44, "reactive_power_var", missing=_NAN),
            float32(at + 52, "power_factor", missing=_NAN),
            float32(at + 60, "energy_export_wh", missing=_NAN),
            float32(at + 68, "energy_import_wh", missing=_NAN),
            _by_quadrant(float32(at + 92, "reactive_energy_import_varh", missing=_NAN)),
            _by_quadrant(float32(at + 116, "reactive_energy_export_varh", missing=_NAN)),
        )
    }
    unimplemented = (constant(at + n, struct.pack(">f", _NAN)) for n in range(2, 124, 2) if at + n not in known)
    return [
        constant(at, struct.pack(">HH", model, _FLOAT_WORDS - 2)),
        *known.values(),
        *unimplemented,
        constant(at + 124, bytes(4)),
    ]


def _accumulated(register: Register) -> Register:
    """An accumulator of 0 is one that is not implemented, and so carries no value."""

    def encode(snapshot: Snapshot) -> tuple[bytes, Number | None]:
        data, value = register.encode(snapshot)
        return data, value or None

    return Register(register.address, register.words, register.quantity, encode)


def _by_quadrant(register: Register) -> Register:
    """The energy of one quadrant: on the wire as `register` has it, and no quantity."""
    return Register(register.address, register.words, "", lambda snapshot: (register.encode(snapshot)[0], None))


def _short(address: int, of: Callable[[Snapshot], float | None], per_unit: int) -> Register:
    """A point that is no quantity of ours, as an integer."""

    def encode(snapshot: Snapshot) -> tuple[bytes, Number | None]:
        value = of(snapshot)
        if value is None or math.isnan(value):
            return _NONE_16, None
        return min(max(round(value * per_unit), -32767), 32767).to_bytes(2, signed=True), None

    return Register(address, 1, "", encode)


def _single(address: int, of: Callable[[Snapshot], float | None]) -> Register:
    """The same as a single."""

    def encode(snapshot: Snapshot) -> tuple[bytes, Number | None]:
        value = of(snapshot)
        return struct.pack(">f", _NAN if value is None else value), None

    return Register(address, 2, "", encode)


def _of_phases(snapshot: Snapshot, quantity: str) -> list[float]:
    found = (snapshot.values.get(quantity.format(phase)) for phase in (1, 2, 3))
    return [value for value in found if value is not None]


def _sum_of_currents(snapshot: Snapshot) -> float | None:
    return sum(_of_phases(snapshot, "current_l{}_a"))


def _mean_voltage(snapshot: Snapshot) -> float | None:
    voltages = _of_phases(snapshot, "voltage_l{}_v")
    return sum(voltages) / len(voltages) if voltages else None


def _line_voltage(pairs: Sequence[tuple[int, int]]) -> Callable[[Snapshot], float | None]:
    """The mean of the voltages between lines that are 120 degrees apart."""

    def of(snapshot: Snapshot) -> float | None:
        voltages = snapshot.values
        if any(f"voltage_l{line}_v" not in voltages for pair in pairs for line in pair):
            return None
        squares = [(voltages[f"voltage_l{one}_v"], voltages[f"voltage_l{other}_v"]) for one, other in pairs]
        return sum(math.sqrt(a * a + b * b + a * b) for a, b in squares) / len(squares)

    return of
