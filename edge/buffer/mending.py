"""Rows whose numbers were altered on the disk: what stood there is found out from the rows beside them.

Commits of one boot and one clock tell the same numbers, and each id is the end of the one before; a row's seal says
which of them it was. What no seal bears out is given up: with a wrong offset, readings would have been at another time.
"""

from collections.abc import Collection, Iterator, Mapping
from itertools import chain

from msgspec.structs import replace

from edge.buffer.seal import boot_seal
from edge.buffer.survey import Found
from edge.buffer.tables import ID_STEP
from edge.buffer.truth import machine_boot

_LEVELS = (0, 1, 2)


def mend(segments: dict[int, Found], boots: Collection[int]) -> None:
    """Make what is unsound in `segments` sound, or no longer whole. `boots` are ids that are known."""
    sound = {row_id: one for row_id, one in segments.items() if one.sound}
    clocks = {(one.boot, one.offset_us) for one in sound.values()}
    known = {boot for boot, _ in clocks} | set(boots)
    ends = {row_id + one.readings * ID_STEP for row_id, one in sound.items()}
    for row_id, one in [(row_id, one) for row_id, one in segments.items() if one.whole and not one.sound]:
        del segments[row_id]
        meant = next((pair for pair in _possible(row_id, one, clocks, known, ends) if pair[1].sealed(pair[0])), None)
        if meant is not None:
            segments.setdefault(meant[0], replace(meant[1], sound=True))
        else:
            # Where all of it stands beside it too, it is the seal that was altered; the body is not another's.
            stands = (one.boot, one.offset_us) in clocks and row_id in ends and one.as_told
            segments[row_id] = replace(one, sound=stands, whole=stands)


def _possible(
    row_id: int, one: Found, clocks: Collection[tuple[int, int]], boots: Collection[int], ends: Collection[int]
) -> Iterator[tuple[int, Found]]:
    """What the row may have told, the likeliest first."""
    for boot in boots:
        yield row_id, replace(one, boot=boot)
    for boot, offset_us in clocks:
        yield row_id, replace(one, offset_us=offset_us)
        yield row_id, replace(one, boot=boot, offset_us=offset_us)
    for level in _LEVELS:
        yield row_id, replace(one, level=level)
    for end in ends:
        yield end, one


def mend_boots(
    boots: dict[int, tuple[str, int | None, int]], unsound: Mapping[tuple[int, int], tuple[str, int | None, int]]
) -> None:
    """Put those of `unsound` into `boots` of which it is known what stood there: a byte was altered, or the truth, and
    there are others of the machine's same boot, one for each truth it had."""
    truths: dict[str, set[int | None]] = {}
    for name, true_us, _ in boots.values():
        truths.setdefault(machine_boot(name), {None}).add(true_us)
    for (row_id, sealed), (name, true_us, seen_us) in unsound.items():
        if row_id in boots:
            continue
        others = truths.get(machine_boot(name), {None})
        if true_us in others - {None} or _one_byte(sealed ^ boot_seal(row_id, name, true_us)):
            boots[row_id] = (name, true_us, seen_us)
            continue
        meant = [(name, other) for other in chain(others, _numbers(true_us))]
        meant += [(other, true_us) for other in _names(name)]
        for known in meant:
            if boot_seal(row_id, *known) == sealed:
                boots[row_id] = (*known, seen_us)
                break


def _one_byte(difference: int) -> bool:
    return any(difference & ~(0xFF << shift) == 0 for shift in range(0, 32, 8))


def _numbers(number: int | None) -> Iterator[int]:
    """Those that differ from `number` in one byte."""
    if number is not None:
        for shift in range(0, 56, 8):
            yield from (number ^ (byte << shift) for byte in range(1, 256))


def _names(name: str) -> Iterator[str]:
    """Those that differ from `name` in one ASCII character."""
    for at in range(len(name)):
        yield from (name[:at] + chr(code) + name[at + 1 :] for code in range(32, 127))
