"""Registers of one unit that somebody wrote down, read as if the unit were there."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from edge.errors import ModbusFault
from edge.profiles.modbus.schema import ModbusProfile
from edge.tools.lines.sample import Sample


@dataclass
class Image:
    """Registers of one unit, `words[function, address]`; the function is None where the file names none.

    `unit` and `time_us` are None where the file does not say.
    """

    unit: int | None = None
    time_us: int | None = None
    words: dict[tuple[int | None, int], int] = field(default_factory=dict)

    def word(self, function: int, address: int) -> int | None:
        found = self.words.get((function, address))
        return self.words.get((None, address)) if found is None else found

    def put(self, function: int | None, address: int, words: Iterable[int]) -> None:
        for offset, word in enumerate(words):
            self.words[function, address + offset] = word

    async def read(self, *, function: int, address: int, count: int) -> bytes:
        """What the unit would answer. Raises ModbusFault for a register that nobody wrote down."""
        there = [word for offset in range(count) if (word := self.word(function, address + offset)) is not None]
        if len(there) < count:
            raise ModbusFault("not in the file", line_lost=False, exception_code=2)
        return _packed(there, function)

    def sample(self, profile: ModbusProfile) -> Sample:
        """All rows of `profile` that are there whole."""
        missing = frozenset(
            row.key
            for block in profile.blocks()
            for row in block.registers
            if any(self.word(row.function, address) is None for address in range(row.address, row.end))
        )
        blocks = profile.blocks(missing)
        replies: list[bytes | None] = []
        for block in blocks:
            # What lies between two rows and is not in the file is read along and means nothing.
            words = [self.word(block.function, block.address + offset) or 0 for offset in range(block.count)]
            replies.append(_packed(words, block.function))
        sample = Sample(
            time_us=self.time_us or 0,
            blocks=blocks,
            replies=replies,
            faults=[None] * len(blocks),
            unread="not in the file",
        )
        sample.decode(profile)
        return sample


def _packed(words: list[int], function: int) -> bytes:
    if function > 2:
        return b"".join(word.to_bytes(2, "big") for word in words)
    bits = sum((word & 1) << offset for offset, word in enumerate(words))
    return bits.to_bytes(-(-len(words) // 8), "little")
