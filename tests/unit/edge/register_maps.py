"""Random register maps and what a meter with them would answer."""

from collections.abc import Sequence

from hypothesis import strategies as st

from contract.quantities import BY_NAME
from edge.profiles.modbus.plan import Block
from edge.profiles.modbus.rows import Register
from edge.profiles.modbus.schema import ModbusProfile, Nominal

_NUMBERS = ("u16", "s16", "u32", "s32", "u64", "s64", "float32", "float64", "bcd16", "bcd32", "bcd64")
_UNSIGNED = {"u16": 16, "u32": 32, "u64": 64}
_ORDERS = st.sampled_from(["big", "little"])
_FACTORS = st.one_of(st.just(1), st.sampled_from([10, 100, 1000, 10_000, 3, 7]))


def profile(registers: Sequence[Register], *, max_registers: int = 50, max_gap: int = 8) -> ModbusProfile:
    """A meter with these registers."""
    return ModbusProfile(
        kind="modbus",
        maker="Acme",
        model="EM1",
        datasheet="none",
        revision="",
        source="a test",
        verified=False,
        function=3,
        max_registers=max_registers,
        max_gap=max_gap,
        nominal=Nominal(phases=3, voltage_v=230, frequency_hz=50),
        registers=tuple(registers),
    )


@st.composite
def profiles(draw: st.DrawFn) -> ModbusProfile:
    """Any profile: rows of all types in any order and function, bit fields, sentinels, scale factors."""
    names = draw(st.lists(st.sampled_from(sorted(BY_NAME)), min_size=1, max_size=14, unique=True))
    rows: list[Register] = []
    address = draw(st.integers(0, 50))
    # One table each for bits and registers, and one scale factor for all, behind the rest.
    for name in names:
        function = draw(st.sampled_from([3, 3, 3, 4, 2]))
        row = Register(quantity=name, address=address, **draw(_bits_row() if function == 2 else _number_row(function)))
        rows.append(row)
        address = row.end + draw(st.integers(0, 12))
    return profile(rows, max_registers=draw(st.integers(4, 60)), max_gap=draw(st.integers(0, 15)))


@st.composite
def _number_row(draw: st.DrawFn, function: int) -> dict[str, object]:
    kind = draw(st.sampled_from(_NUMBERS))
    row: dict[str, object] = {"function": function, "type": kind, "scale": draw(_FACTORS), "divisor": draw(_FACTORS)}
    row |= {"word_order": draw(_ORDERS), "byte_order": draw(_ORDERS)}
    width = {"16": 16, "32": 32, "64": 64}[kind[-2:]]
    row["invalid"] = tuple(
        draw(st.lists(st.sampled_from([0, 1, 2**width - 1, 2 ** (width - 1), 2 ** (width - 1) - 1]), max_size=2))
    )
    special = draw(st.sampled_from(["", "", "", "bits", "sign", "quadrant", "offset", "factor", "negative"]))
    if special == "bits" and kind in _UNSIGNED:
        row["bits"] = tuple(sorted(draw(st.tuples(st.integers(0, width - 1), st.integers(0, width - 1)))))
    elif special == "sign" and kind in _UNSIGNED:
        row["encoding"] = "sign-magnitude"
    elif special == "quadrant":
        row["encoding"] = "four-quadrant"
    elif special == "offset":
        row["offset"] = draw(st.sampled_from([-273, 0.5]))
    elif special == "factor":
        row["scale_factor"] = draw(st.sampled_from([2000, 2003]))
    elif special == "negative":
        row["scale"] = -1
    return row


def _bits_row() -> st.SearchStrategy[dict[str, object]]:
    return st.just({"function": 2, "type": "bool"})


def size(block: Block) -> int:
    """Data bytes of the reply to `block`."""
    return (block.count + 7) // 8 if block.function <= 2 else 2 * block.count


@st.composite
def replies(draw: st.DrawFn, blocks: Sequence[Block]) -> list[bytes | None]:
    """What a meter may answer: anything of the right length, often small numbers; None for a block that failed."""
    return [
        draw(st.one_of(_reply(size(block)), st.none()) if draw(st.booleans()) else _reply(size(block)))
        for block in blocks
    ]


def _reply(length: int) -> st.SearchStrategy[bytes]:
    sparse = st.lists(
        st.sampled_from([0, 0, 0, 1, 9, 0x43, 0x66, 0x7F, 0x80, 0xC0, 0xFF]), min_size=length, max_size=length
    )
    return st.one_of(st.binary(min_size=length, max_size=length), sparse.map(bytes))
