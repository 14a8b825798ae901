"""Which requests read a set of rows: as few as the meter's limits allow."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import groupby

import msgspec

from edge.profiles.modbus.rows import Register, ScaleFactor

Row = Register | ScaleFactor


class Block(msgspec.Struct, frozen=True):
    """Registers read by one request: `count` from `address`, with the rows that lie in them, ascending."""

    function: int
    address: int
    count: int
    registers: tuple[Row, ...]

    def __str__(self) -> str:
        unit = "bits" if self.function <= 2 else "registers"
        return f"{unit} {self.address:#06x} to {self.address + self.count - 1:#06x}"

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of the rows, each once: two bit fields of a register share one."""
        return tuple(dict.fromkeys(row.key for row in self.registers))

    def halves(self) -> tuple["Block", ...]:
        """This block as two smaller ones, or itself when nothing in it can be read apart."""
        places = [tuple(rows) for _, rows in groupby(self.registers, key=lambda row: row.key)]
        if len(places) < 2:
            return (self,)
        middle = len(places) // 2
        return (_block(_flat(places[:middle])), _block(_flat(places[middle:])))


def plan(
    rows: Iterable[Row], *, max_registers: int, max_gap: int, without: Collection[str] = frozenset()
) -> tuple[Block, ...]:
    """The fewest requests for `rows`, by function and address.

    No request is longer than `max_registers` or reads more than `max_gap` registers in a row that no row needs; rows
    whose key is in `without` are not read, and their registers are not read along either.
    """
    ordered = sorted(rows, key=lambda row: (row.function, row.address))
    blocks: list[Block] = []
    for _, group in groupby(ordered, key=lambda row: row.function):
        blocks += _of_one_function(list(group), max_registers, max_gap, without)
    return tuple(blocks)


def _of_one_function(
    rows: Sequence[Row], max_registers: int, max_gap: int, without: Collection[str]
) -> Iterator[Block]:
    # Whatever is left out of a block that can be read stays one that can be read. So the longest block from each start
    # leaves the least for the rest, and their number is the smallest there is.
    taken: list[Row] = []
    barred = False
    for row in rows:
        if row.key in without:
            barred = True
            continue
        if taken and (barred or row.address - taken[-1].end > max_gap or row.end - taken[0].address > max_registers):
            yield _block(tuple(taken))
            taken = []
        taken.append(row)
        barred = False
    if taken:
        yield _block(tuple(taken))


def _block(rows: tuple[Row, ...]) -> Block:
    start = rows[0].address
    return Block(rows[0].function, start, max(row.end for row in rows) - start, rows)


def _flat(places: Sequence[tuple[Row, ...]]) -> tuple[Row, ...]:
    return tuple(row for place in places for row in place)
