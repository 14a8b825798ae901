"""Sparkplug B as others encode it: Google's protobuf library, told the specification's fields, is the publisher."""

import contextlib
from datetime import UTC
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import PayloadError
from edge.profiles import catalog
from edge.profiles.payload.decode import PayloadDecoder
from edge.profiles.payload.said import Said
from edge.profiles.payload.settings import DeviceFields

_NOW_MS = 1_795_000_000_000
_NOW_US = _NOW_MS * 1000
_INT16, _INT32, _INT64, _UINT64, _FLOAT, _DOUBLE, _BOOLEAN, _STRING = 2, 3, 4, 8, 9, 10, 11, 12
_FIELDS = {
    "PropertyValue": [("type", 1, "uint32"), ("string_value", 8, "string")],
    "PropertySet": [("keys", 1, "*string"), ("values", 2, "*PropertyValue")],
    "Metric": [
        ("name", 1, "string"), ("alias", 2, "uint64"), ("timestamp", 3, "uint64"), ("datatype", 4, "uint32"),
        ("is_historical", 5, "bool"), ("is_null", 7, "bool"), ("properties", 9, "PropertySet"),
        ("int_value", 10, "uint32"), ("long_value", 11, "uint64"), ("float_value", 12, "float"),
        ("double_value", 13, "double"), ("boolean_value", 14, "bool"), ("string_value", 15, "string"),
    ],
    "Payload": [("timestamp", 1, "uint64"), ("metrics", 2, "*Metric"), ("seq", 3, "uint64"), ("uuid", 4, "string")],
}  # fmt: skip


def _messages() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="payload.proto", package="test", syntax="proto2")
    kinds = {name: getattr(descriptor_pb2.FieldDescriptorProto, f"TYPE_{name.upper()}") for name in
             ("uint32", "uint64", "bool", "float", "double", "string")}  # fmt: skip
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for field, number, kind in fields:
            label = 3 if kind.startswith("*") else 1
            kind = kind.lstrip("*")
            if kind in kinds:
                message.field.add(name=field, number=number, label=label, type=kinds[kind])
            else:
                message.field.add(name=field, number=number, label=label, type=11, type_name=f".test.{kind}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"test.{name}")) for name in _FIELDS}


_MESSAGES = _messages()


def _payload(*metrics: dict[str, Any], seq: int | None = None, timestamp: int | None = _NOW_MS) -> bytes:
    told = {key: value for key, value in (("seq", seq), ("timestamp", timestamp)) if value is not None}
    encoded: bytes = _MESSAGES["Payload"](metrics=metrics, **told).SerializeToString()
    return encoded


def _decoder(topic: str = "spBv1.0/plant/+/node/#", **fields: Any) -> PayloadDecoder:
    return PayloadDecoder(catalog.mqtt("sparkplug-b"), UTC, DeviceFields.model_validate(fields), topic)


def _told(decoder: PayloadDecoder, kind: str, payload: bytes) -> Said:
    device = "/meter" if kind.startswith("D") else ""
    return decoder.decode(f"spBv1.0/plant/{kind}/node{device}", payload, _NOW_US)


_ANNOUNCED = [
    {"name": "Power", "alias": 1, "datatype": _FLOAT, "float_value": 0.0},
    {"name": "energy_import_wh", "alias": 2, "datatype": _UINT64, "long_value": 5_000_000_000},
    {"name": "Voltage", "alias": 3, "datatype": _DOUBLE, "double_value": 230.5},
    {"name": "Firmware", "alias": 4, "datatype": _STRING, "string_value": "1.2"},
]


def _born() -> PayloadDecoder:
    decoder = _decoder()
    _told(decoder, "NBIRTH", _payload({"name": "bdSeq", "datatype": _INT64, "long_value": 7}, seq=0))
    _told(decoder, "DBIRTH", _payload(*_ANNOUNCED, seq=1))
    return decoder


def test_a_birth_is_a_reading_itself() -> None:
    said = _told(_decoder("spBv1.0/plant/+/node/meter"), "DBIRTH", _payload(*_ANNOUNCED, seq=1))
    assert said.channels == {None: {"power_w": 0.0, "energy_import_wh": 5_000_000_000, "voltage_l1_v": 230.5}}
    assert said.time_us == _NOW_US
    assert not said.needs_rebirth


def test_data_refer_to_what_the_birth_announced() -> None:
    said = _told(_born(), "DDATA", _payload({"alias": 1, "float_value": -12.5}, {"alias": 2, "long_value": 6}, seq=2))
    assert said.channels == {None: {"power_w": -12.5, "energy_import_wh": 6}}
    assert not said.needs_rebirth


def test_an_alias_that_no_birth_announced_asks_for_one_and_gives_no_value() -> None:
    """E5"""
    said = _told(_decoder(), "DDATA", _payload({"alias": 1, "float_value": 1.0}, seq=9))
    assert said.channels == {}
    assert said.needs_rebirth
    assert said.skipped == ("1 metrics of an alias that no birth announced",)


def test_after_a_gap_no_alias_is_believed_until_the_node_is_born_again() -> None:
    """E5: what was missed may have been a birth with other aliases."""
    decoder = _born()
    said = _told(decoder, "DDATA", _payload({"alias": 1, "float_value": 1.0}, seq=3))
    assert said.needs_rebirth
    assert said.channels == {}
    _told(decoder, "NBIRTH", _payload(seq=0))
    _told(decoder, "DBIRTH", _payload(*_ANNOUNCED, seq=1))
    said = _told(decoder, "DDATA", _payload({"alias": 1, "float_value": 1.0}, seq=2))
    assert (said.channels, said.needs_rebirth) == ({None: {"power_w": 1.0}}, False)


def test_the_sequence_wraps_after_255() -> None:
    decoder = _born()
    for seq in (*range(2, 256), 0, 1):
        assert not _told(decoder, "DDATA", _payload({"alias": 1, "float_value": 1.0}, seq=seq)).needs_rebirth


def test_a_filter_for_one_device_sees_no_gaps() -> None:
    decoder = _decoder("spBv1.0/plant/+/node/meter")
    _told(decoder, "DBIRTH", _payload(*_ANNOUNCED, seq=1))
    said = _told(decoder, "DDATA", _payload({"alias": 1, "float_value": 1.0}, seq=9))
    assert (said.channels, said.needs_rebirth) == ({None: {"power_w": 1.0}}, False)


def test_deaths_are_offline_and_end_the_aliases() -> None:
    decoder = _born()
    assert _told(decoder, "DDEATH", _payload(seq=2)).offline
    death = _payload({"name": "bdSeq", "datatype": _INT64, "long_value": 7}, timestamp=None)
    assert _told(decoder, "NDEATH", death).offline
    assert _told(decoder, "DDATA", _payload({"alias": 1, "float_value": 1.0}, seq=3)).needs_rebirth


def test_the_will_of_a_connection_before_ends_nothing() -> None:
    decoder = _born()
    said = _told(decoder, "NDEATH", _payload({"name": "bdSeq", "datatype": _INT64, "long_value": 6}, timestamp=None))
    assert not said.offline
    assert _told(decoder, "DDATA", _payload({"alias": 1, "float_value": 1.0}, seq=2)).channels


@pytest.mark.parametrize(
    ("datatype", "field", "raw"),
    [
        (_INT16, "int_value", 0xFF38), (_INT16, "int_value", 0xFFFFFF38), (_INT32, "int_value", 2**32 - 200),
        (_INT64, "long_value", 2**64 - 200), (_FLOAT, "float_value", -200.0), (_DOUBLE, "double_value", -200.0),
        (_STRING, "string_value", "-200"),
    ],
)  # fmt: skip
def test_a_negative_number_is_one_in_every_data_type(datatype: int, field: str, raw: object) -> None:
    said = _told(_decoder(), "NBIRTH", _payload({"name": "Power", "datatype": datatype, field: raw}, seq=0))
    assert said.channels == {None: {"power_w": -200}}


@pytest.mark.parametrize("value", [{"is_null": True, "float_value": 1.0}, {"float_value": float("nan")}, {}])
def test_null_and_nan_are_absent_and_never_zero(value: dict[str, Any]) -> None:
    """E6"""
    said = _told(_decoder(), "NBIRTH", _payload({"name": "Power", "datatype": _FLOAT, **value}, seq=0))
    assert said.channels == {}


def test_a_boolean_is_no_power() -> None:
    with pytest.raises(PayloadError, match="Power: true is no number"):
        _told(_decoder(), "NBIRTH", _payload({"name": "Power", "datatype": _BOOLEAN, "boolean_value": True}, seq=0))


def test_the_engineering_unit_tells_kilowatt_hours() -> None:
    """E15"""
    unit = {"keys": ["engUnit"], "values": [{"type": _STRING, "string_value": "kWh"}]}
    metric = {"name": "Energy", "datatype": _DOUBLE, "double_value": 1.5}
    said = _told(_decoder(), "NBIRTH", _payload({**metric, "properties": unit}, seq=0))
    assert said.channels == {None: {"energy_import_wh": 1500.0}}
    with pytest.raises(PayloadError, match=r"Energy: 1\.5 has no unit"):
        _told(_decoder(), "NBIRTH", _payload(metric, seq=0))


def test_metrics_keep_their_own_times() -> None:
    """E12"""
    metrics = [
        {"alias": 1, "float_value": value, "timestamp": _NOW_MS - age_ms, "is_historical": True}
        for value, age_ms in ((3.0, 0), (1.0, 120_000), (2.0, 60_000))
    ]
    said = _told(_born(), "DDATA", _payload(*metrics, seq=2))
    moments = [(part.time_us, part.channels) for part in (*said.earlier, said)]
    assert moments == [
        (_NOW_US - age_s * 1_000_000, {None: {"power_w": value}}) for value, age_s in ((1.0, 120), (2.0, 60), (3.0, 0))
    ]


def test_names_of_the_configuration_have_channels_and_scales() -> None:
    fields = [
        {"quantity": "power_w", "path": "P", "channel": 1, "scale": 1000},
        {"quantity": "power_w", "path": "meter/P", "channel": 2},
    ]
    decoder = _decoder(fields=fields)
    metric = {"name": "P", "datatype": _DOUBLE, "double_value": 1.5}
    assert _told(decoder, "NBIRTH", _payload(metric, seq=0)).channels == {1: {"power_w": 1500.0}}
    assert _told(decoder, "DBIRTH", _payload(metric, seq=1)).channels == {2: {"power_w": 1.5}}


def test_a_second_publisher_under_one_filter_is_refused() -> None:
    decoder = _born()
    with pytest.raises(PayloadError, match="Power of plant/other/meter, after those of plant/node/meter"):
        decoder.decode("spBv1.0/plant/DBIRTH/other/meter", _payload(*_ANNOUNCED, seq=1), _NOW_US)


def test_commands_and_the_states_of_hosts_say_nothing_of_a_meter() -> None:
    for topic in ("spBv1.0/plant/NCMD/node", "spBv1.0/plant/DCMD/node/meter", "spBv1.0/STATE/host"):
        assert _decoder().decode(topic, b'{"online": true}', _NOW_US).ignored


def test_every_truncation_is_a_payload_or_refused() -> None:
    """E13"""
    whole = _payload(*_ANNOUNCED, seq=1)
    full = _told(_decoder(), "DBIRTH", whole).channels[None]
    for length in range(len(whole)):
        try:
            said = _told(_decoder(), "DBIRTH", whole[:length])
        except PayloadError:
            continue
        # Cut between two metrics, a payload lacks the later ones, and nothing else.
        assert said.channels.get(None, {}).items() <= full.items()


@settings(deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["NBIRTH", "DBIRTH", "NDATA", "DDATA", "NDEATH", "DDEATH"]))
def test_any_bytes_are_a_payload_or_refused(payload: bytes, kind: str) -> None:
    """E13"""
    decoder = _born()
    with contextlib.suppress(PayloadError):
        assert isinstance(_told(decoder, kind, payload), Said)
