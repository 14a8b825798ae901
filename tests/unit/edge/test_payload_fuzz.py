"""Whatever a broker delivers ends as readings that can be stored, or as a PayloadError. Nothing else comes out."""

import json
import math
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contract import codec
from edge.buffer.content import Content
from edge.buffer.segments import flats, pack
from edge.errors import PayloadError
from edge.profiles import catalog
from edge.profiles.payload.decode import PayloadDecoder
from edge.profiles.payload.row import Row
from edge.profiles.payload.said import Said
from edge.profiles.payload.schema import PayloadProfile
from edge.profiles.payload.settings import MAX_CHANNELS, DeviceFields
from edge.reading import Reading, canonical

_NOW_US = 1_795_000_000_000_000
_LONGEST_ID = "x" * 88
_FIELDS = DeviceFields.model_validate(
    {"fields": [{"quantity": "power_w", "path": "m[*].p"}, {"quantity": "energy_import_wh", "path": "e", "scale": 1e3}]}
)


def _decoder(profile: PayloadProfile) -> PayloadDecoder:
    return PayloadDecoder(profile, ZoneInfo("Europe/Berlin"), _FIELDS if profile.needs_fields else None)


def _keys(profile: PayloadProfile) -> set[str]:
    found = {"m", "p", "e", "value", "unit", "id"}
    for message in profile.message:
        found |= set(message.wrappers) | {path.partition(".")[0] for path in message.time_paths}
        for component in message.components:
            found |= {*component.keys, *(f"{key}:1" for key in component.keys), *component.marks}
            found |= {str(path[0]) for row in component.fields for path in Row(row).paths}
    return found


_PROFILES = [catalog.mqtt(name) for name in catalog.names("mqtt")]
_NAMES = sorted(set().union(*map(_keys, _PROFILES)))
_TOPICS = [
    "site/status/switch:0", "tele/plug/SENSOR", "shellies/x/emeter/1/total", "x/sensor/energy_kwh/state",
    "zigbee2mqtt/plug", "zigbee2mqtt/plug/availability", "dsmr/reading/electricity_delivered_1",
    "dsmr/reading/timestamp", "spBv1.0/G/NBIRTH/N", "spBv1.0/G/DDATA/N/D", "spBv1.0/G/NDEATH/N", "", "//", "\ud7ff",
]  # fmt: skip
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**18, 2**63, 10**400, -(10**30), 1e308]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["1.5", "nan", "-inf", "", "1e999", "2026-01-01T00:00:00", "9999-12-31T23:59:59", "230 V", "1,5"]),
    st.text(max_size=8),
)
_JSON = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(_NAMES) | st.text(max_size=4), inner, max_size=6)
    ),
    max_leaves=25,
)


def _check(said: Said) -> None:
    assert said.time_us is None or isinstance(said.time_us, int)
    assert all(text.encode() for text in said.skipped)
    for channel, values in said.channels.items():
        assert channel is None or 1 <= channel <= 1000
        kept, _ = canonical(values)
        assert all(math.isfinite(value) for value in kept.values())
        readings = [Reading(f"{_LONGEST_ID}/{channel or 0}", 0, kept)]
        content = Content(flats(pack(readings)), [], [])
        for media_type in (codec.PACKED, codec.MSGPACK):
            body = content.encoded(stream="12345678-1234-1234-1234-123456789abc", seq=1, media_type=media_type)
            assert codec.decode(body, media_type).readings == 1


def _through(profile: PayloadProfile, topic: str, payload: bytes) -> None:
    decoder = _decoder(profile)
    for _ in range(2):
        try:
            said = decoder.decode(topic, payload, _NOW_US)
        except PayloadError as error:
            str(error).encode()
            continue
        for part in (*said.earlier, said):
            _check(part)


@settings(deadline=None)
@given(st.sampled_from(_PROFILES), st.sampled_from(_TOPICS), _JSON)
@example(catalog.mqtt("shelly-gen2"), "x", {f"switch:{'9' * 5000}": {"apower": 1}})
@example(catalog.mqtt("shelly-gen2"), "x", {f"switch:{'9' * 100}": {"apower": 1}})
@example(catalog.mqtt("tasmota"), "x", {"Time": 10**400, "ENERGY": {"Power": 10**400, "Total": 10**400}})
def test_any_json_is_decoded_or_refused(profile: PayloadProfile, topic: str, document: object) -> None:
    """E13, E15"""
    _through(profile, topic, json.dumps(document).encode())


@settings(deadline=None)
@given(st.sampled_from(_PROFILES), st.sampled_from(_TOPICS), st.binary(max_size=60))
@example(catalog.mqtt("tasmota"), "x", b'{"ENERGY": {"Total": 1e999}}')
@example(catalog.mqtt("tasmota"), "x", b'{"\\ud800": 1}')
@example(catalog.mqtt("tasmota"), "x", b"[" * 5000)
@example(catalog.mqtt("tasmota"), "x", b'{"a":' * 5000)
def test_any_bytes_are_decoded_or_refused(profile: PayloadProfile, topic: str, payload: bytes) -> None:
    """E13"""
    _through(profile, topic, payload)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("profile", "topic", "payload"),
    [
        ("tasmota", "x", b'"\\"' + b'\\"' * 200_000),
        ("tasmota", "x", b"nan " * 100_000),
        ("tasmota", "cmnd/" * 13_000, b"{}"),
        ("dsmr", "x", b"/" + b"1-0:1.8.0(1*kWh)\n" * 5000 + b"!0000"),
        ("sparkplug-b", "spBv1.0/G/NBIRTH/N", b"\x12\x00" * 20_000),
    ],
    ids=["quotes", "words", "levels", "lines", "metrics"],
)
def test_what_is_long_is_read_in_a_time_that_its_length_bounds(profile: str, topic: str, payload: bytes) -> None:
    """E13"""
    _through(catalog.mqtt(profile), topic, payload)


def test_an_array_that_is_no_list_of_meters_is_named_and_makes_no_meters() -> None:
    """E15, E30: every channel is a state to keep and a device key in the batch."""
    energy = {"Total": [1.0] * MAX_CHANNELS, "Power": [1.0] * (MAX_CHANNELS + 1)}
    said = _decoder(catalog.mqtt("tasmota")).decode("tele/x/SENSOR", json.dumps({"ENERGY": energy}).encode(), _NOW_US)
    assert said.skipped == ("Power: an array of 65 is no list of meters",)
    assert sorted(said.channels, key=str) == sorted(range(1, 65), key=str)


@pytest.mark.parametrize("value", [10**19, -1e19, 10**400])
def test_a_value_that_fits_no_field_is_named_and_left_out(value: float) -> None:
    assert canonical({"power_w": value}) == ({}, ["power_w"])
