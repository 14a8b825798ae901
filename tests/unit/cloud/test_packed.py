"""The receiver's reader of the packed form against the contract's: the same readings to the bit, the same errors."""

import random

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cloud.ingest import packed
from cloud.ingest.body import decoded
from cloud.ingest.errors import BodyTooLarge, Malformed
from cloud.ingest.portion import Contents, contents
from contract.batch import Batch, BatchError, DeviceBlock
from contract.codec import PACKED, Bounds, TooMany, decode, encode, encode_packed
from contract.columns import Column
from contract.packed import Group, pack
from contract.quantities import BY_NAME

STREAM = "0b9d3f0e-6a52-4e0c-9c39-3f1f7f6f2a11"
BOUNDS = Bounds(readings=10_000, columns=10_000)
_ANY_INT = st.one_of(st.integers(-(2**63), 2**64 - 1), st.integers(-300, 300))


def _rows(portions: Contents) -> list[tuple[object, ...]]:
    """Every reading as it would go to the quarantine."""
    blocks = [block for portion in portions.portions for block in portion.chosen_blocks(range(len(portion.devices)))]
    return sorted(
        (
            (block.device, block.interval_ms, block.time_us[row], block.flags[row] if block.flags else 0),
            sorted((name, repr(column[row])) for name, column in block.values.items()),
        )
        for block in blocks
        for row in range(len(block.time_us))
    )


async def _either(body: bytes) -> object:
    """What the receiver makes of `body`: its readings, or why not and where."""
    try:
        found, _ = await decoded(body, PACKED, BOUNDS)
    except Malformed as error:
        return error.where, error.detail
    except BodyTooLarge as error:
        return error.detail
    return _rows(found)


def _contract(body: bytes) -> object:
    try:
        return _rows(contents(decode(body, PACKED, BOUNDS)))
    except BatchError as error:
        return error.where, str(error)
    except TooMany as error:
        return str(error)


@st.composite
def _columns(draw: st.DrawFn, counts: list[int], decimals: st.SearchStrategy[int]) -> Column:
    """A column that fits the counts, as a rule."""
    if draw(st.integers(0, 9)) == 0:
        some = st.one_of(_ANY_INT, st.floats())
        return Column(draw(decimals), plain=draw(st.lists(some, min_size=sum(counts), max_size=sum(counts))))
    widths = st.sampled_from([1, 2, 4, 8])
    first, rest = draw(widths), draw(widths)
    spare = draw(st.sampled_from([0] * 30 + [1]))
    rests = max(0, sum(counts) - len(counts))
    return Column(
        draw(decimals),
        draw(_ANY_INT),
        first,
        draw(st.binary(min_size=first * len(counts), max_size=first * len(counts))) + bytes(spare),
        rest if rests else 0,
        draw(st.binary(min_size=rest * rests, max_size=rest * rests)),
    )


@st.composite
def _groups(draw: st.DrawFn) -> Group:
    counts = draw(st.one_of(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.just([3, 3]), st.just([1, 1, 1])))
    if draw(st.integers(0, 30)) == 0:
        counts.append(0)
    names = draw(st.lists(st.sampled_from([*BY_NAME, "warp_factor", "Not a name"]), max_size=3))
    keys = st.sampled_from(["main", "plug/2", "a.b-c_d", "", "x" * 97, "a/b", "\u00e4"])
    usual = st.sampled_from(["main", "plug/2", "other"])
    decimals = st.one_of(st.integers(0, 6), st.integers(-1, 7))
    return Group(
        devices=[draw(usual if draw(st.integers(0, 9)) else keys) for _ in counts],
        counts=counts,
        interval_ms=draw(st.lists(st.integers(0, 2**31), min_size=len(counts), max_size=len(counts))),
        time=draw(_columns(counts, decimals)),
        flags=draw(st.one_of(st.none(), _columns(counts, st.just(0)))),
        quantities=names,
        columns=[draw(_columns(counts, decimals)) for _ in names],
    )


def _whole(*groups: Group) -> bytes:
    return encode_packed(STREAM, 1, [], list(groups))


_SOUND = pack([DeviceBlock("m", [0, 1000, 2000], {"power_w": [1.5, -2.0, 0.1], "energy_import_wh": [7, 9, 9]})])[0]


# How long the examples take to make says something of the machine and nothing of the reader.
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(_groups(), max_size=3))
@example([msgspec.structs.replace(_SOUND, columns=[Column(1, 2**53 + 2, 1, b"\1", 1, b"\0\0")] * 2)])
@example([msgspec.structs.replace(_SOUND, columns=[Column(0, 2**62, 8, b"\xff" * 8, 8, b"\xff" * 16)] * 2)])
@example([msgspec.structs.replace(_SOUND, time=Column(6, 2**62, 1, b"\0", 1, b"\0\0"))])
@example([msgspec.structs.replace(_SOUND, time=Column(6, 2**50, 1, b"\0", 1, b"\0\0"))])
@example([msgspec.structs.replace(_SOUND, flags=Column(0, 2**15, 1, b"\0", 1, b"\0\0"))])
@example([msgspec.structs.replace(_SOUND, quantities=["power_w", "power_w"])])
@example([msgspec.structs.replace(_SOUND, columns=[Column(0, plain=[1.5, None])] * 2)])
async def test_whatever_comes_is_what_the_contract_says_it_is(groups: list[Group]) -> None:
    """C4: a reader of its own that takes what the contract refuses, or reads another number."""
    body = _whole(*groups)

    assert await _either(body) == _contract(body)


async def test_bytes_that_changed_are_to_the_receiver_what_they_are_to_the_contract() -> None:
    whole, rng = _whole(_SOUND, msgspec.structs.replace(_SOUND, devices=["n"])), random.Random(7)
    for _ in range(3000):
        changed = bytearray(whole)
        for _ in range(rng.randint(1, 3)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)

        assert await _either(bytes(changed)) == _contract(bytes(changed))


@pytest.mark.parametrize("counts", [[1] * 40, [5] * 8, [1, 9, 2, 30]])
@pytest.mark.parametrize("intervals", [[1000], [0, 60_000, 7]])
def test_usual_batches_are_read_without_the_contracts_help(counts: list[int], intervals: list[int]) -> None:
    blocks = [
        DeviceBlock(
            device=f"m{n}",
            time_us=[1_767_225_600_000_000 + row * 999_000 + n for row in range(count)],
            values={name: [n + row * 0.5 for row in range(count)] for name in ("power_w", "voltage_l1_v")},
            flags=[1] * count,
            interval_ms=intervals[n % len(intervals)],
        )
        for n, count in enumerate(counts)
    ]
    body = encode(Batch(version=2, stream=STREAM, seq=1, devices=blocks), PACKED)

    found = packed.read(body, BOUNDS)

    assert found is not None
    assert _rows(found) == _rows(contents(decode(body, PACKED)))
