"""SunSpec meters, which say themselves where their values are: "SunS", then a chain of models, each with its length.

Points, types and what stands for "not implemented" are those of the SunSpec Alliance's model definitions (models 1,
201 to 204, 211 to 214) and of its Device Information Model Specification. Signs follow the quadrants of the energy
points: import is positive. Reactive energy comes by quadrant, which is no quantity of ours.
"""

from collections.abc import Iterator
from typing import Literal

import msgspec

from edge.errors import ModbusFault
from edge.profiles.modbus.probe import Read
from edge.profiles.modbus.rows import Identity, Register
from edge.profiles.modbus.schema import ModbusProfile
from edge.profiles.modbus.words import text

BASES = (40000, 50000, 0)
_MARK = b"SunS"
_COMMON, _END = 1, 0xFFFF
_INTEGER, _FLOAT = range(201, 205), range(211, 215)
# No device has so many; a chain that goes on is none.
_MOST_MODELS = 60

# Offset in the integer models, in the float models, and in the integer ones of the scale factor.
_INSTANTANEOUS: dict[str, tuple[int, int, int]] = {
    "current_l1_a": (3, 4, 6),
    "current_l2_a": (4, 6, 6),
    "current_l3_a": (5, 8, 6),
    "voltage_l1_v": (8, 12, 15),
    "voltage_l2_v": (9, 14, 15),
    "voltage_l3_v": (10, 16, 15),
    "frequency_hz": (16, 26, 17),
    "power_w": (18, 28, 22),
    "power_l1_w": (19, 30, 22),
    "power_l2_w": (20, 32, 22),
    "power_l3_w": (21, 34, 22),
    "apparent_power_va": (23, 36, 27),
    "reactive_power_var": (28, 44, 32),
    "power_factor": (33, 52, 37),
}
_ENERGY: dict[str, tuple[int, int, int]] = {
    "energy_export_wh": (38, 60, 54),
    "energy_import_wh": (46, 68, 54),
}
# The last register that a row needs, counted as lengths are: from behind the length.
_LEAST_LENGTH = {"int": 53, "float": 68}
# Of the single phase, where the meter has no reading per phase, the average over the phases is that phase.
_AVERAGE_VOLTAGE = (7, 10, 15)
_PHASES = {1: 1, 2: 2, 3: 3, 4: 3}


class Model(msgspec.Struct, frozen=True):
    """A model of the chain: its id, the address of the id, and how many registers follow its length."""

    id: int
    address: int
    length: int


class Chain(msgspec.Struct, frozen=True):
    """What a device says it is made of. `cut` says why the chain was not followed to its end, empty when it was."""

    base: int
    models: tuple[Model, ...]
    cut: str = ""

    @property
    def meters(self) -> tuple[Model, ...]:
        return tuple(model for model in self.models if model.id in _INTEGER or model.id in _FLOAT)

    def __str__(self) -> str:
        return f"SunSpec at {self.base}: models {', '.join(str(model.id) for model in self.models) or 'none'}"


async def chain(read: Read) -> Chain:
    """The models of the device. Raises ModbusFault when there is no SunSpec at any of the base addresses.

    A chain that is cut, or lies, ends where it does so.
    """
    said: list[str] = []
    for base in BASES:
        try:
            head = await read(function=3, address=base, count=4)
        except ModbusFault as fault:
            said.append(f"{base}: {fault.reason}")
            continue
        if head[:4] == _MARK:
            return await _follow(read, base, head[4:])
        said.append(f"{base}: {head[:4].hex()}")
    raise ModbusFault(f"no SunSpec device: not 'SunS' at {'; at '.join(said)}", line_lost=False)


async def discover(read: Read) -> ModbusProfile:
    """The profile of the device's first meter model; `source` names all that were found.

    Raises ModbusFault when the device is none of SunSpec, has no meter model, or its chain of models makes no sense.
    """
    found = await chain(read)
    if not found.meters:
        raise ModbusFault(
            f"{found}; {found.cut or 'none of them is a meter, 201 to 204 or 211 to 214'}", line_lost=False
        )
    meter = found.meters[0]
    kind = "int" if meter.id in _INTEGER else "float"
    if meter.length < _LEAST_LENGTH[kind]:
        raise ModbusFault(
            f"{found}; meter model {meter.id} at {meter.address} has {meter.length} registers, "
            f"{_LEAST_LENGTH[kind]} at least are needed",
            line_lost=False,
        )
    common = next((model for model in found.models if model.id == _COMMON and model.length >= 65), None)
    maker, model = await _identity(read, common)
    rows = tuple(_rows(meter))
    if meter.id % 10 == 1:
        rows = await _single_phase(read, meter, rows)
    others = f"; of {len(found.meters)} meters the first is read" if len(found.meters) > 1 else ""
    return ModbusProfile(
        kind="modbus",
        maker=maker,
        model=model,
        datasheet=f"SunSpec model {meter.id}",
        revision="",
        source=f"the device itself: {found}{others}",
        verified=True,
        function=3,
        max_registers=125,
        max_gap=30,
        nominal=None,
        identity=tuple(_identity_rows(common)),
        registers=rows,
    )


async def _follow(read: Read, base: int, header: bytes) -> Chain:
    models: list[Model] = []
    address = base + 2
    while True:
        model = Model(int.from_bytes(header[:2], "big"), address, int.from_bytes(header[2:4], "big"))
        if model.id == _END:
            return Chain(base, tuple(models))
        address += 2 + model.length
        # 0 is no model: a chain that comes to registers without content does not end.
        if model.id == 0 or address > 0xFFFE or len(models) >= _MOST_MODELS:
            where = f"model {model.id} of {model.length} registers at {model.address}"
            return Chain(base, tuple(models), f"the chain has no end: {where}, after {len(models)} models")
        models.append(model)
        try:
            header = await read(function=3, address=address, count=2)
        except ModbusFault as fault:
            return Chain(base, tuple(models), f"the chain is cut at {address}: {fault.reason}")


async def _identity(read: Read, common: Model | None) -> tuple[str, str]:
    """Maker and model, in the device's words."""
    if common is not None:
        try:
            data = await read(function=3, address=common.address + 2, count=32)
        except ModbusFault:
            data = b""
        maker, model = text(data[:32]), text(data[32:64])
        if maker and model:
            return maker, model
    return "SunSpec", "meter"


def _identity_rows(common: Model | None) -> Iterator[Identity]:
    if common is not None:
        for name, offset, words in (
            ("manufacturer", 2, 16),
            ("model", 18, 16),
            ("version", 42, 8),
            ("serial_number", 50, 16),
        ):
            yield Identity(name=name, address=common.address + offset, type="string", words=words)


def _rows(meter: Model) -> Iterator[Register]:
    phases = _PHASES[meter.id % 10]
    for quantity, places in {**_INSTANTANEOUS, **_ENERGY}.items():
        phase = next((n for n in (1, 2, 3) if f"_l{n}_" in quantity), 1)
        # A delta has no neutral: its points for voltages to neutral are not implemented.
        if phase <= phases:
            yield _row(meter, quantity, places)


def _row(meter: Model, quantity: str, places: tuple[int, int, int]) -> Register:
    integer, real, factor = places
    if meter.id in _FLOAT:
        return Register(quantity=quantity, address=meter.address + real, type="float32")
    if quantity in _ENERGY:
        # Accumulators: 0 is "not accumulated", as for a meter without export.
        kind: Literal["u32", "s16"] = "u32"
        invalid = 0
    else:
        kind, invalid = "s16", 0x8000
    return Register(
        quantity=quantity,
        address=meter.address + integer,
        type=kind,
        # In percent there, as a part of 1 in the float models.
        divisor=100 if quantity == "power_factor" else 1,
        invalid=(invalid,),
        scale_factor=meter.address + factor,
    )


async def _single_phase(read: Read, meter: Model, rows: tuple[Register, ...]) -> tuple[Register, ...]:
    """`rows` with the average voltage where the meter does not implement the phase's own."""
    [own] = [row for row in rows if row.quantity == "voltage_l1_v"]
    average = _row(meter, "voltage_l1_v", _AVERAGE_VOLTAGE)
    try:
        missing = [
            _is_missing(row, await read(function=3, address=row.address, count=row.width)) for row in (own, average)
        ]
    except ModbusFault:
        return rows
    return tuple(average if row is own and missing == [True, False] else row for row in rows)


def _is_missing(row: Register, data: bytes) -> bool:
    raw = row.raw(data)
    return raw is None or raw != raw
