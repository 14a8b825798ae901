"""Aligned columns for a terminal."""

from collections.abc import Iterable, Mapping, Sequence

from contract.quantities import BY_NAME, QUANTITIES


def lines(rows: Iterable[Sequence[str]], *, right: frozenset[int] = frozenset()) -> list[str]:
    """`rows` with their columns aligned, those in `right` to the right; nothing trails."""
    cells = [tuple(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def quantities(values: Mapping[str, float]) -> list[str]:
    """Name, value and unit of each, in the order of the contract's table."""
    rows = [
        (quantity.name, f"{values[quantity.name]:.{quantity.decimals}f}", "" if quantity.unit == "1" else quantity.unit)
        for quantity in QUANTITIES
        if quantity.name in values
    ]
    return lines(rows, right=frozenset({1})) if rows else []


def ordered(values: Mapping[str, float]) -> dict[str, float]:
    """`values` in the order of the contract's table."""
    return {name: values[name] for name in BY_NAME if name in values}
