"""Readings, and what becomes of them in segments and batches."""

import math
import sqlite3
from contextlib import closing
from importlib import resources

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.batch import Flag
from contract.codec import MSGPACK, PACKED, decode
from edge.buffer.content import Content, content
from edge.buffer.segments import QUARTER_HOUR_US, DamagedSegment, pack, thin, unpack
from edge.buffer.tables import insert_segment
from edge.reading import Reading, canonical

_STREAM = "12345678-1234-1234-1234-123456789abc"
_FORMS = [PACKED, MSGPACK]
_VALUES = st.fixed_dictionaries(
    {"energy_import_wh": st.integers(0, 10**12)},
    optional={"power_w": st.integers(-(10**9), 10**9).map(lambda number: number / 10)},
) | st.fixed_dictionaries({"voltage_l1_v": st.floats(0, 1e9)})
_READINGS = st.builds(
    Reading,
    st.sampled_from(["a", "b/1", "c-d"]),
    st.integers(0, 2**52),
    _VALUES,
    st.integers(0, 1),
    st.sampled_from([0, 1000, 900_000]),
)


def test_a_value_that_is_no_number_is_absent_and_never_zero() -> None:
    """E6"""
    values, impossible = canonical({"power_w": math.nan, "energy_import_wh": math.inf, "voltage_l1_v": 0.0})
    assert values == {"voltage_l1_v": 0.0}
    assert impossible == []


def test_a_register_beyond_64_bits_is_named_and_left_out() -> None:
    """E8"""
    values, impossible = canonical({"energy_import_wh": 1e30, "power_w": 1.26})
    assert values == {"power_w": 1.3}
    assert impossible == ["energy_import_wh"]


def _in_order(readings: list[Reading]) -> list[Reading]:
    """By what a segment may put together; within that in the order given."""
    return sorted(readings, key=lambda reading: (reading.device, reading.interval_ms, tuple(reading.values)))


@settings(deadline=None)
@given(st.lists(_READINGS, min_size=1, max_size=50))
def test_a_segment_gives_back_what_was_packed(readings: list[Reading]) -> None:
    """E22"""
    assert _in_order(unpack(pack(readings))) == _in_order(readings)


@settings(deadline=None)
@given(st.lists(_READINGS, min_size=1, max_size=20), st.data())
def test_a_segment_with_other_bits_is_damaged_and_never_another_value(
    readings: list[Reading], data: st.DataObject
) -> None:
    """E21: what a worn flash card gives back."""
    body = bytearray(pack(readings))
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = unpack(bytes(body))
    except DamagedSegment:
        return
    assert _in_order(found) == _in_order(readings)


@settings(deadline=None)
@given(st.lists(_READINGS, min_size=1, max_size=10), st.integers(0, 10_000))
def test_a_segment_that_is_cut_short_is_damaged(readings: list[Reading], length: int) -> None:
    """E21"""
    body = pack(readings)
    with pytest.raises(DamagedSegment):
        unpack(body[: length % len(body)])


def _content(*segments: list[Reading], true_us: int | None = None) -> Content:
    """What a batch of these segments says."""
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(resources.files("edge.buffer").joinpath("schema.sql").read_text("utf-8"))
        for number, readings in enumerate(segments, start=1):
            insert_segment(db, number, readings, boot=0, offset_us=0)
        return content(db, ids=(1, len(segments)), true_us=true_us)


@settings(deadline=None)
@given(st.lists(st.lists(_READINGS, min_size=1, max_size=20), min_size=1, max_size=5), st.sampled_from(_FORMS))
def test_a_batch_holds_every_reading_once(segments: list[list[Reading]], media_type: str) -> None:
    """E22"""
    found = _content(*segments)
    body = found.encoded(stream=_STREAM, seq=7, media_type=media_type)
    assert body == _content(*segments).encoded(stream=_STREAM, seq=7, media_type=media_type)
    decoded = decode(body, media_type)
    rows = [
        (block.device, time_us, block.interval_ms, sorted((name, c[row]) for name, c in block.values.items()))
        for block in decoded.devices
        for row, time_us in enumerate(block.time_us)
    ]
    readings = [reading for segment in segments for reading in segment]
    wanted = [(r.device, r.time_us, r.interval_ms, sorted(r.values.items())) for r in readings]
    assert sorted(rows, key=repr) == sorted(wanted, key=repr)
    assert found.readings == decoded.readings == len(readings)
    times = [reading.time_us for reading in readings]
    assert found.span == (min(times), max(times))


@pytest.mark.parametrize("media_type", _FORMS)
def test_flags_travel_and_are_left_out_where_none_is_set(media_type: str) -> None:
    flagged = _content([Reading("a", 1, {"power_w": 1}, int(Flag.TIME_FROM_DEVICE))])
    plain = _content([Reading("a", 1, {"power_w": 1})])
    for found, flags in ((flagged, [1]), (plain, None)):
        body = found.encoded(stream=_STREAM, seq=1, media_type=media_type)
        assert decode(body, media_type).devices[0].flags == flags


@settings(deadline=None)
@given(st.lists(_READINGS, min_size=1, max_size=50))
def test_thinning_keeps_the_last_energy_register_of_each_quarter_hour(readings: list[Reading]) -> None:
    """E20"""
    kept = thin(readings)
    wanted: dict[tuple[str, int], int] = {}
    for reading in readings:
        if "energy_import_wh" in reading.values:
            key = (reading.device, reading.time_us // QUARTER_HOUR_US)
            wanted[key] = max(wanted.get(key, -1), reading.time_us)
    assert {(r.device, r.time_us // QUARTER_HOUR_US): r.time_us for r in kept} == wanted
    assert all(set(r.values) == {"energy_import_wh"} for r in kept)
