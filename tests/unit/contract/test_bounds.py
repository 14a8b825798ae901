"""What a few crafted bytes may cost a reader."""

import tracemalloc

import msgspec
import pytest

from contract.batch import BatchError
from contract.codec import JSON, MSGPACK, PACKED, Bounds, TooMany, decode, encode_packed
from contract.columns import Column
from contract.packed import Group

STREAM = "0b9d3f0e-6a52-4e0c-9c39-3f1f7f6f2a11"
_BOUNDS = Bounds(readings=1000, columns=1000)
_MANY = 1_000_000


def _one(**changes: object) -> Group:
    values: dict[str, object] = {
        "devices": ["a"],
        "counts": [1],
        "interval_ms": [0],
        "time": Column(0, 0, 1, b"\0"),
        "flags": None,
        "quantities": [],
        "columns": [],
    }
    return Group(**(values | changes))  # type: ignore[arg-type]


def _long() -> Group:
    plane = Column(0, 0, 1, b"\0", 1, bytes(_MANY - 1))
    return _one(counts=[_MANY], time=plane, quantities=["power_w"], columns=[plane])


def _body(*groups: Group) -> bytes:
    return encode_packed(STREAM, 1, [], list(groups))


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (_body(_long()), TooMany),
        (_body(*[_one()] * 1001), TooMany),
        (_body(_one(devices=["a"] * 90_000, counts=[1] * 90_000, interval_ms=[0] * 90_000)), TooMany),
        (_body(*[_one()] * 100_001), BatchError),
        (_body(_one(devices=["a"] * 100_001)), BatchError),
        (_body(_one(columns=[Column(0)] * 1_001)), BatchError),
        (msgspec.msgpack.encode([2, STREAM, 1, [], [[[], [], [], [0], None, [], []]] * _MANY]), BatchError),
    ],
    ids=["readings", "groups", "devices", "many groups", "many devices", "many columns", "empty groups"],
)
def test_what_is_too_much_is_refused_before_it_takes_memory(body: bytes, error: type[Exception]) -> None:
    """C2, C4: a body of a kilobyte took gigabytes, and the receiver's time for many seconds."""
    tracemalloc.start()
    try:
        with pytest.raises(error):
            decode(body, PACKED, _BOUNDS)
        assert tracemalloc.get_traced_memory()[1] < 10 * len(body) + 2**20
    finally:
        tracemalloc.stop()


def test_what_is_within_the_bounds_is_read() -> None:
    assert decode(_body(*[_one()] * 1000), PACKED, _BOUNDS).readings == 1000


def _columnar(devices: list[dict[str, object]]) -> dict[str, object]:
    return {"version": 1, "stream": STREAM, "seq": 1, "devices": devices}


@pytest.mark.parametrize("media_type", [JSON, MSGPACK])
@pytest.mark.parametrize(
    ("device", "count"),
    [
        ({"device": "a", "time_us": [], "values": {f"q{n}": [] for n in range(100_000)}}, 1),
        ({"device": "a", "time_us": [], "values": {f"q{n}": [] for n in range(100)}}, 1000),
        ({"device": "a", "time_us": [1] * 1000, "values": {}}, 1000),
        ({"device": "a", "time_us": [], "values": {}}, 20_000),
    ],
    ids=["columns", "columns of many devices", "readings", "devices"],
)
def test_what_is_too_much_in_columns_is_refused_before_it_takes_memory(
    device: dict[str, object], count: int, media_type: str
) -> None:
    """C2, C4: three megabytes of names of quantities kept the receiver from every other gateway for many seconds."""
    encoder = msgspec.json if media_type == JSON else msgspec.msgpack
    body = encoder.encode(_columnar([device] * count))
    tracemalloc.start()
    try:
        with pytest.raises(TooMany):
            decode(body, media_type, _BOUNDS)
        assert tracemalloc.get_traced_memory()[1] < 10 * len(body) + 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("media_type", [JSON, MSGPACK])
def test_a_large_body_within_the_bounds_is_what_it_is(media_type: str) -> None:
    encoder = msgspec.json if media_type == JSON else msgspec.msgpack
    device = {"device": "a", "time_us": list(range(900)), "values": {f"q{n}": [1.5] * 900 for n in range(200)}}
    assert decode(encoder.encode(_columnar([device])), media_type, _BOUNDS).columns == 201
