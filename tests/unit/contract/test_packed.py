"""The packed form: smaller by far, and the same readings to the bit."""

import random
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.batch import Batch, BatchError, DeviceBlock, Flag
from contract.codec import MSGPACK, PACKED, compress, decode, encode
from contract.columns import Column
from contract.notes import Note, NoteKind
from contract.packed import Group, pack, unpack
from contract.quantities import BY_NAME, QUANTITIES, Kind

GOLDEN = Path(__file__).parents[2] / "cases" / "contract-v2"
STREAM = "0b9d3f0e-6a52-4e0c-9c39-3f1f7f6f2a11"
BATCH = Batch(
    version=2,
    stream=STREAM,
    seq=42,
    devices=[
        DeviceBlock(
            device="main",
            time_us=[1767225600000000, 1767225601000250],
            values={"power_w": [1234.5, -1234.0], "energy_import_wh": [10_000_000_001, 10_000_000_002]},
            interval_ms=1000,
        ),
        DeviceBlock(
            device="plug/2",
            time_us=[1767225600500000],
            values={"voltage_l1_v": [230.12], "power_w": [-18.0]},
            flags=[int(Flag.TIME_FROM_DEVICE)],
        ),
    ],
    notes=[Note(NoteKind.SILENT, 1767225500000000, 1767225599000000, device="plug/2", detail="no message")],
)
_TIMES = st.integers(-(2**62), 2**62)


def _rows(blocks: list[DeviceBlock]) -> list[tuple[object, ...]]:
    """Every reading of `blocks`, without its nulls."""
    return sorted(
        (
            block.device,
            block.time_us[row],
            sorted((name, _said(column[row])) for name, column in block.values.items() if column[row] is not None),
            block.flags[row] if block.flags else 0,
            block.interval_ms,
        )
        for block in blocks
        for row in range(len(block.time_us))
    )


def _said(value: int | float | None) -> str:
    return "0.0" if repr(value) == "-0.0" else repr(value)


@st.composite
def _blocks(draw: st.DrawFn) -> list[DeviceBlock]:
    blocks = []
    for number in range(draw(st.integers(0, 4))):
        times = draw(st.lists(_TIMES, min_size=1, max_size=5))
        names = draw(st.lists(st.sampled_from(list(BY_NAME)), unique=True, max_size=4))
        values: dict[str, list[int | float | None]] = {}
        for name in names:
            some = st.integers(-(2**63), 2**63 - 1)
            if BY_NAME[name].kind is Kind.INSTANTANEOUS:
                any_float = st.floats(allow_nan=False, width=64)
                some = st.one_of(any_float, any_float.map(BY_NAME[name].canonical))
            column = st.lists(st.one_of(st.none(), some), min_size=len(times), max_size=len(times))
            values[name] = draw(column)
        flags = draw(st.one_of(st.none(), st.lists(st.integers(0, 3), min_size=len(times), max_size=len(times))))
        blocks.append(
            DeviceBlock(
                device=f"m{number}",
                time_us=times,
                values=values,
                flags=flags,
                interval_ms=draw(st.integers(0, 2**31 - 1)),
            )
        )
    return blocks


@given(_blocks())
def test_whatever_is_packed_comes_back_to_the_bit(blocks: list[DeviceBlock]) -> None:
    """C1: registers are integers still, values the same floats; only -0.0 is 0.0."""
    batch = Batch(version=2, stream=STREAM, seq=1, devices=blocks)
    expected = _rows(blocks)

    found = _rows(decode(encode(batch, PACKED), PACKED).devices)

    assert found == expected


def test_version_2_is_what_the_golden_file_says() -> None:
    golden = (GOLDEN / "batch.packed").read_bytes()

    assert decode(golden, PACKED) == BATCH
    assert encode(BATCH, PACKED) == golden


@pytest.mark.parametrize("length", range(len(encode(BATCH, PACKED))))
def test_no_part_of_a_packed_batch_is_taken_for_a_whole_one(length: int) -> None:
    with pytest.raises(BatchError):
        decode(encode(BATCH, PACKED)[:length], PACKED)


def test_bytes_that_changed_are_an_error_of_the_batch_and_no_other() -> None:
    """C8: whatever arrives, the receiver answers for it."""
    whole, rng = encode(BATCH, PACKED), random.Random(7)
    for _ in range(5000):
        changed = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        try:
            decode(bytes(changed), PACKED)
        except BatchError as error:
            assert error.where.startswith("$")  # noqa: PT017 - most changes are errors, some are other readings


def _group(**changes: object) -> Group:
    [group] = pack([DeviceBlock(device="m", time_us=[0, 1000], values={"power_w": [1.0, 2.0]}, interval_ms=1)])
    return msgspec.structs.replace(group, **changes)


@pytest.mark.parametrize(
    ("group", "where", "found"),
    [
        (_group(counts=[3]), "$[0].time", "1 bytes"),
        (_group(counts=[2**40]), "$[0].time", "1 bytes"),
        (_group(counts=[]), "$[0]", "differ in number"),
        (_group(columns=[]), "$[0]", "without columns"),
        (_group(interval_ms=[2**31]), "$[0].interval_ms", "31 bits"),
        (_group(time=Column(-1, 0, 1, b"\0", 1, b"\0")), "$[0].time", "decimals"),
        (_group(time=Column(0, plain=[2**63 - 1, 0])), "$[0].time", "62 bits"),
        (_group(time=Column(0, plain=[1.5, 0])), "$[0].time", "fraction"),
        (_group(flags=Column(0, plain=[-1, 0])), "$[0].flags", "15 bits"),
        (_group(columns=[Column(0, plain=[1.0])]), "$[0].power_w", "1 values"),
        (_group(columns=[Column(1, 0, 3, b"\0\0\0", 1, b"\0")]), "$[0].power_w", "3 bytes"),
    ],
)
def test_what_does_not_fit_together_says_where(group: Group, where: str, found: str) -> None:
    with pytest.raises(BatchError) as error:
        unpack([group])

    assert error.value.where.startswith(where)
    assert found in error.value.found


def test_a_year_of_quarter_hours_is_a_tenth_of_its_messagepack() -> None:
    """Not a benchmark: that differences are taken at all."""
    count = 4000
    values = {quantity.name: [5.0] * count for quantity in QUANTITIES if quantity.kind is Kind.INSTANTANEOUS}
    block = DeviceBlock(
        device="m",
        time_us=[n * 900_000_000 for n in range(count)],
        values=values | {"energy_import_wh": list(range(count))},
        interval_ms=900_000,
    )
    batch = Batch(version=2, stream=STREAM, seq=1, devices=[block])

    packed, plain = (len(compress(encode(batch, media_type), "zstd")) for media_type in (PACKED, MSGPACK))

    assert packed * 10 < plain
