"""Whatever a broker delivers ends as readings that can be stored, or as a PayloadError. Nothing else comes out."""

import json
import math
from datetime import UTC

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from contract import codec
from edge.buffer.segments import cut, pack
from edge.errors import PayloadError
from edge.profiles import catalog
from edge.profiles.payload.schema import PayloadProfile, decode, device_time_us
from edge.reading import Reading, canonical

_NAMES = sorted(
    {"Time", "ts", "params", "StatusSNS"}
    | {
        key
        for name in catalog.names("mqtt")
        for component in catalog.mqtt(name).components
        for key in (component.key, f"{component.key}:1", *(f.path.partition(".")[0] for f in component.fields))
    }
)
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**18, 2**63, 10**400, -(10**30), 1e308]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["1.5", "nan", "-inf", "", "1e999", "2026-01-01T00:00:00", "9999-12-31T23:59:59"]),
    st.text(max_size=8),
)
_JSON = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(_NAMES) | st.text(max_size=4), inner, max_size=6)
    ),
    max_leaves=25,
)
_PROFILES = st.sampled_from([catalog.mqtt(name) for name in catalog.names("mqtt")])


_LONGEST_ID = "x" * 88


def _through(profile: PayloadProfile, payload: bytes) -> None:
    try:
        decoded = decode(profile, "site/status/switch:0", payload)
    except PayloadError as error:
        str(error).encode()
        return
    time_us = device_time_us(profile, decoded.clock, UTC, 0)
    assert time_us is None or isinstance(time_us, int)
    for channel, values in decoded.channels.items():
        kept, _ = canonical(values)
        assert all(math.isfinite(value) for value in kept.values())
        readings = [Reading(f"{_LONGEST_ID}/{channel or 0}", 0, kept)]
        pack(readings)
        batch = cut(readings, stream="12345678-1234-1234-1234-123456789abc", seq=1)
        codec.decode(codec.decompress(batch.body, batch.encoding, 2**20), batch.media_type)


@given(_PROFILES, _JSON)
@example(catalog.mqtt("shelly-gen2"), {f"switch:{'9' * 5000}": {"apower": 1}})
@example(catalog.mqtt("shelly-gen2"), {f"switch:{'9' * 100}": {"apower": 1}})
@example(catalog.mqtt("tasmota"), {"Time": 10**400, "ENERGY": {"Power": 10**400, "Total": 10**400}})
def test_any_json_is_decoded_or_refused(profile: PayloadProfile, document: object) -> None:
    """E13, E15"""
    _through(profile, json.dumps(document).encode())


@given(_PROFILES, st.binary(max_size=60))
@example(catalog.mqtt("tasmota"), b'{"ENERGY": {"Total": 1e999}}')
@example(catalog.mqtt("tasmota"), b'{"\\ud800": 1}')
@example(catalog.mqtt("tasmota"), b"[" * 5000)
def test_any_bytes_are_decoded_or_refused(profile: PayloadProfile, payload: bytes) -> None:
    """E13"""
    _through(profile, payload)


def test_an_array_that_is_no_list_of_meters_is_named_and_makes_no_meters() -> None:
    """E15, E30: every channel is a state to keep and a device key in the batch."""
    payload = json.dumps({"ENERGY": {"Total": 1, "Power": [1.0] * 65, "Current": [1.0] * 64}}).encode()
    decoded = decode(catalog.mqtt("tasmota"), "tele/plug/SENSOR", payload)
    assert decoded.skipped == ("Power",)
    assert sorted(decoded.channels, key=str) == sorted(range(1, 65), key=str)


@pytest.mark.parametrize("value", [10**19, -1e19, 10**400])
def test_a_value_that_fits_no_field_is_named_and_left_out(value: float) -> None:
    assert canonical({"power_w": value}) == ({}, ["power_w"])
