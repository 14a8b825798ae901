"""Where each value of a sample comes from: address, words as on the wire, type and order, raw number, scale, value."""

import math
from collections.abc import Iterator

from contract.quantities import BY_NAME
from edge.profiles.modbus.plan import Block
from edge.profiles.modbus.rows import Register, Span
from edge.profiles.modbus.schema import ModbusProfile
from edge.profiles.modbus.words import scale_exponent
from edge.tools import table
from edge.tools.lines.sample import Sample

_HEAD = ("quantity", "at", "words", "type", "raw", "scale", "value")


def lines(sample: Sample, profile: ModbusProfile) -> list[str]:
    """A table with a line for each row of the profile, in the order in which they were read."""
    rows = [_row(sample, row) for row in sorted(profile.registers, key=lambda row: (row.function, row.address))]
    requests = [f"function {block.function}, {block}" for block in sample.blocks]
    return [*table.lines([_HEAD, *rows], right=frozenset({4})), f"in {len(requests)} requests: {'; '.join(requests)}"]


def _row(sample: Sample, row: Register) -> tuple[str, ...]:
    data, reason = _found(sample, row)
    kind = row.type if row.width == 1 else f"{row.type} {row.word_order}"
    if row.byte_order == "little":
        kind += ", bytes little"
    head = (row.quantity, row.key)
    if data is None:
        return (*head, "", kind, "", _scale(row, None), f"absent: {reason}")
    words = data.hex(" ", 2) if row.type != "bool" else data.hex()
    raw = row.raw(data)
    exponent = _exponent(sample, row)
    if raw is None:
        reason = "the meter's mark for no value" if row.invalid else "no number"
        return (*head, words, kind, "", _scale(row, exponent), f"absent: {reason}")
    return (
        *head,
        words,
        kind,
        f"{raw:.9g}" if isinstance(raw, float) else str(raw),
        _scale(row, exponent),
        _value(sample, row, raw),
    )


def _value(sample: Sample, row: Register, raw: float) -> str:
    quantity = BY_NAME[row.quantity]
    if row.quantity in sample.values:
        value = sample.values[row.quantity]
        doubt = "" if quantity.plausible(value) else f"  (outside {quantity.minimum:g} to {quantity.maximum:g})"
        return f"{value:.{quantity.decimals}f} {'' if quantity.unit == '1' else quantity.unit}".rstrip() + doubt
    if row.quantity in sample.impossible:
        return "absent: fits no column; check the word order"
    if isinstance(raw, float) and not math.isfinite(raw):
        return f"absent: {raw}, the meter has no value"
    if row.factor is not None:
        return "absent: its scale factor is not known"
    return "absent: the meter has no value"


def _scale(row: Register, exponent: int | None) -> str:
    parts = [f"x {row.scale}"] if row.scale != 1 else []
    parts += [f"/ {row.divisor}"] if row.divisor != 1 else []
    if row.factor is not None:
        parts.append(f"x 10^{'?' if exponent is None else exponent} ({row.factor.key})")
    parts += [f"bits {row.bits[0]} to {row.bits[1]}"] if row.bits is not None else []
    parts += [row.encoding] if row.encoding != "plain" else []
    parts += [f"+ {row.offset:g}"] if row.offset else []
    return " ".join(parts)


def _exponent(sample: Sample, row: Register) -> int | None:
    if row.factor is None:
        return 0
    data, _ = _found(sample, row.factor)
    return None if data is None else scale_exponent(data, row.factor.byte_order)


def _found(sample: Sample, span: Span) -> tuple[bytes | None, str]:
    """The bytes of `span`, and why there are none."""
    reason = sample.unread
    for block, reply, fault in zip(sample.blocks, sample.replies, sample.faults, strict=True):
        if block.function != span.function or not block.address <= span.address < block.address + block.count:
            continue
        if reply is None:
            reason = fault.reason if fault is not None else sample.unread
            continue
        return cut(block, reply, span), ""
    return None, reason


def cut(block: Block, reply: bytes, span: Span) -> bytes:
    """The bytes of `span` in the reply to `block`; of a bit one byte, 0 or 1."""
    offset = span.address - block.address
    if span.function <= 2:
        return bytes([reply[offset // 8] >> offset % 8 & 1])
    return reply[2 * offset : 2 * offset + 2 * span.width]


def absent(sample: Sample, profile: ModbusProfile) -> Iterator[tuple[str, str]]:
    """Quantities that the profile has and the sample lacks, each with the reason."""
    for row in profile.registers:
        if row.quantity not in sample.values:
            yield row.quantity, _row(sample, row)[-1].removeprefix("absent: ")
