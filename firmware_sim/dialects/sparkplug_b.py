"""What a Sparkplug B edge node with one meter says: births with names and aliases, data with aliases alone, a death.

From the Sparkplug specification 3.0 and tahu's sparkplug_b.proto (field numbers). The node's sequence runs over
births and data from 0 to 255; `bdSeq` of a birth is that of the will that the broker holds, one more with every
connection. A rebirth command (NCMD, "Node Control/Rebirth" true) is answered by both births. Times are in
milliseconds. Energies name their unit in the property engUnit of the birth, as in Tahu's examples.
"""

import struct
from typing import NamedTuple

from firmware_sim.dialects import protobuf
from firmware_sim.dialects.dialect import Dialect, Message, Number
from firmware_sim.load import NJ_PER_WH
from firmware_sim.meter import Meter

GROUP = "segs-sim"
_DEVICE = "meter"
_INT32, _INT64, _UINT64, _FLOAT, _DOUBLE, _BOOLEAN, _STRING = 3, 4, 8, 9, 10, 11, 12
_REBIRTH = "Node Control/Rebirth"


class _Metric(NamedTuple):
    """`quantity` as datatype `kind`; `unit` is what the birth says of it, "" where it says nothing."""

    name: str
    quantity: str
    kind: int
    unit: str = ""


_METRICS = (
    _Metric("Power", "power_w", _INT32),
    _Metric("Apparent Power", "apparent_power_va", _FLOAT),
    _Metric("Reactive Power", "reactive_power_var", _FLOAT),
    _Metric("Power Factor", "power_factor", _FLOAT),
    _Metric("Frequency", "frequency_hz", _DOUBLE),
    *(_Metric(f"L{phase}/Voltage", f"voltage_l{phase}_v", _FLOAT) for phase in (1, 2, 3)),
    *(_Metric(f"L{phase}/Current", f"current_l{phase}_a", _FLOAT) for phase in (1, 2, 3)),
    *(_Metric(f"L{phase}/Power", f"power_l{phase}_w", _INT32) for phase in (1, 2, 3)),
    _Metric("Energy Import", "energy_import_wh", _UINT64, "Wh"),
    _Metric("Energy Export", "energy_export_wh", _UINT64, "Wh"),
)
_FIRST_ALIAS = 10


class SparkplugB(Dialect):
    clock_us = 1_000
    own_connection = True

    def __init__(self) -> None:
        self._bd_seq = -1
        self._seq = 0

    def will(self, meter: Meter, t_us: int) -> Message:
        """NDEATH, with the next `bdSeq`."""
        self._bd_seq = (self._bd_seq + 1) % 256
        return self._death(meter, t_us)

    def on_connect(self, meter: Meter, t_us: int) -> list[Message]:
        return self._births(meter, t_us)

    def messages(self, meter: Meter, t_us: int) -> list[Message]:
        """DDATA: every metric by its alias."""
        metrics, served = _metrics(meter, t_us, named=False)
        return [self._message("DDATA", meter, t_us, metrics, served, device=True)]

    def on_disconnect(self, meter: Meter, t_us: int) -> list[Message]:
        """A clean disconnect keeps the broker from sending the will, so the node sends its death itself."""
        return [self._death(meter, t_us)]

    def subscriptions(self, meter: Meter) -> list[str]:
        return [f"spBv1.0/{GROUP}/NCMD/{meter.name}"]

    def on_message(self, meter: Meter, topic: str, payload: bytes, t_us: int) -> list[Message]:
        """The births again, if `payload` has the rebirth command and a true value."""
        commanded = protobuf.blob(1, _REBIRTH.encode()) in payload and protobuf.boolean(14, True) in payload
        return self._births(meter, t_us) if commanded else []

    def _births(self, meter: Meter, t_us: int) -> list[Message]:
        self._seq = 0
        node = [
            _metric(t_us, _INT64, name="bdSeq", value=protobuf.varint(11, self._bd_seq)),
            _metric(t_us, _BOOLEAN, name=_REBIRTH, value=protobuf.boolean(14, False)),
        ]
        metrics, served = _metrics(meter, t_us, named=True)
        properties = [
            _metric(
                t_us, _STRING, name="Properties/Serial", value=protobuf.blob(15, f"{meter.serial_number}".encode())
            ),
            # A metric that this meter has no value for says so.
            _metric(t_us, _FLOAT, name="Neutral/Current", value=protobuf.boolean(7, True)),
        ]
        return [
            self._message("NBIRTH", meter, t_us, node, {}, device=False),
            self._message("DBIRTH", meter, t_us, [*metrics, *properties], served, device=True),
        ]

    def _death(self, meter: Meter, t_us: int) -> Message:
        metric = _metric(t_us, _INT64, name="bdSeq", value=protobuf.varint(11, self._bd_seq))
        payload = protobuf.varint(1, t_us // 1000) + protobuf.blob(2, metric)
        return Message(f"spBv1.0/{GROUP}/NDEATH/{meter.name}", payload)

    def _message(
        self, kind: str, meter: Meter, t_us: int, metrics: list[bytes], served: dict[str, Number], *, device: bool
    ) -> Message:
        payload = (
            protobuf.varint(1, t_us // 1000)
            + b"".join(protobuf.blob(2, metric) for metric in metrics)
            + protobuf.varint(3, self._seq)
        )
        self._seq = (self._seq + 1) % 256
        topic = f"spBv1.0/{GROUP}/{kind}/{meter.name}"
        # The specification has births and data at quality 0.
        return Message(f"{topic}/{_DEVICE}" if device else topic, payload, t_us // 1000 * 1000, served, qos=0)


def _metrics(meter: Meter, t_us: int, *, named: bool) -> tuple[list[bytes], dict[str, Number]]:
    snapshot = meter.at(t_us)
    out: list[bytes] = []
    served: dict[str, Number] = {}
    for alias, metric in enumerate(_METRICS, _FIRST_ALIAS):
        counted_nj = snapshot.registers_nj.get(metric.quantity)
        value = snapshot.values.get(metric.quantity) if counted_nj is None else counted_nj // NJ_PER_WH
        if value is None:
            continue
        field, served[metric.quantity] = _value(metric.kind, value)
        if named:
            out.append(_metric(t_us, metric.kind, name=metric.name, alias=alias, unit=metric.unit, value=field))
        else:
            out.append(_metric(t_us, metric.kind, alias=alias, value=field))
    return out, served


def _value(kind: int, value: float) -> tuple[bytes, Number]:
    """The value's field, and what it holds."""
    if kind == _INT32:
        whole = round(value)
        return protobuf.varint(10, whole & 0xFFFFFFFF), whole
    if kind == _UINT64:
        return protobuf.varint(11, int(value)), int(value)
    if kind == _DOUBLE:
        return protobuf.double(13, value), value
    data = struct.pack("<f", round(value, 3))
    return protobuf.single(12, value=round(value, 3)), struct.unpack("<f", data)[0]


def _metric(
    t_us: int, kind: int, *, value: bytes, name: str | None = None, alias: int | None = None, unit: str = ""
) -> bytes:
    """`value` is the field of the value, or that of is_null; `unit` becomes the one property."""
    return (
        (b"" if name is None else protobuf.blob(1, name.encode()))
        + (b"" if alias is None else protobuf.varint(2, alias))
        + protobuf.varint(3, t_us // 1000)
        + protobuf.varint(4, kind)
        + (b"" if not unit else protobuf.blob(9, _property("engUnit", unit)))
        + value
    )


def _property(key: str, text: str) -> bytes:
    """A set of one property, a string."""
    return protobuf.blob(1, key.encode()) + protobuf.blob(
        2, protobuf.varint(1, _STRING) + protobuf.blob(8, text.encode())
    )
