import math

from hypothesis import given
from hypothesis import strategies as st

from contract.batch import Flag
from contract.codec import MSGPACK, checksum, decode, decompress
from edge.buffer.segments import QUARTER_HOUR_US, cut, pack, thin, unpack
from edge.reading import Reading, canonical

_STREAM = "12345678-1234-1234-1234-123456789abc"
_VALUES = st.dictionaries(
    st.sampled_from(["power_w", "energy_import_wh", "voltage_l1_v"]), st.integers(0, 10**12), min_size=1
)
_READINGS = st.builds(
    Reading, st.sampled_from(["a", "b/1", "c-d"]), st.integers(0, 2**52), _VALUES, st.integers(0, 1), st.just(1000)
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


@given(st.lists(_READINGS, min_size=1, max_size=50))
def test_a_segment_gives_back_what_was_packed(readings: list[Reading]) -> None:
    assert unpack(pack(readings)) == readings


@given(st.lists(_READINGS, min_size=1, max_size=50))
def test_a_batch_holds_every_reading_once_and_is_what_its_checksum_says(readings: list[Reading]) -> None:
    """E22"""
    batch = cut(readings, stream=_STREAM, seq=7)
    body = decompress(batch.body, batch.encoding, 2**24)
    assert checksum(body) == batch.sha256
    decoded = decode(body, MSGPACK)
    rows = [
        (block.device, time_us, sorted((n, c[row]) for n, c in block.values.items() if c[row] is not None))
        for block in decoded.devices
        for row, time_us in enumerate(block.time_us)
    ]
    assert sorted(rows, key=repr) == sorted(
        ((r.device, r.time_us, sorted(r.values.items())) for r in readings), key=repr
    )
    assert batch.readings == decoded.readings == len(readings)


def test_flags_travel_and_are_left_out_where_none_is_set() -> None:
    flagged = cut([Reading("a", 1, {"power_w": 1}, int(Flag.TIME_FROM_DEVICE))], stream=_STREAM, seq=1)
    plain = cut([Reading("a", 1, {"power_w": 1})], stream=_STREAM, seq=1)
    assert decode(decompress(flagged.body, "zstd", 10_000), MSGPACK).devices[0].flags == [1]
    assert decode(decompress(plain.body, "zstd", 10_000), MSGPACK).devices[0].flags is None


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
