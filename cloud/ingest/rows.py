"""Rows for raw_readings as arrays."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contract.quantities import QUANTITIES

_DAY_US = 86_400_000_000

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Numeric = NDArray[np.int64] | Floats


@dataclass(slots=True)
class Rows:
    """Rows for raw_readings, one array entry per row.

    `values` holds a column for every quantity that any row has: int64, or float64 with NaN for NULL. Registers are
    exact in both: their valid range ends at 1e13.
    """

    time_us: NDArray[np.int64]
    meter_id: NDArray[np.int32]
    flags: NDArray[np.int16]
    values: dict[str, Numeric]

    def __len__(self) -> int:
        return len(self.time_us)

    def take(self, chosen: NDArray[np.int64] | Mask) -> "Rows":
        """The rows that `chosen` selects, by mask or by index."""
        values = {name: column[chosen] for name, column in self.values.items()}
        return Rows(self.time_us[chosen], self.meter_id[chosen], self.flags[chosen], values)

    def in_order(self) -> "Rows":
        """By day, meter and time.

        Whoever writes the same rows at the same time writes them in the same order, and so waits for the other instead
        of each for the other. The day comes first because COPY gathers the rows of each chunk.
        """
        keys = (self.time_us // _DAY_US, self.meter_id, self.time_us)
        return self if _ascending(*keys) else self.take(np.lexsort(keys[::-1]))


def joined(parts: list[Rows]) -> Rows:
    """All of them, in the order of `parts`, with a column for every quantity that any of them has."""
    if not parts:
        return Rows(np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.int16), {})
    if len(parts) == 1:
        return parts[0]
    values: dict[str, Numeric] = {}
    for quantity in QUANTITIES:
        if any(quantity.name in part.values for part in parts):
            blank = (np.full(len(part), np.nan) for part in parts)
            columns = [part.values.get(quantity.name, nothing) for part, nothing in zip(parts, blank, strict=True)]
            values[quantity.name] = np.concatenate(columns)
    return Rows(
        np.concatenate([part.time_us for part in parts]),
        np.concatenate([part.meter_id for part in parts]),
        np.concatenate([part.flags for part in parts]),
        values,
    )


def _ascending(*keys: NDArray[np.integer]) -> bool:
    """Whether the rows are in the order of their first key, where it is equal of the second, and so on."""
    undecided = np.ones(max(0, len(keys[0]) - 1), dtype=np.bool_)
    for key in keys:
        later, earlier = key[1:], key[:-1]
        if (undecided & (later < earlier)).any():
            return False
        undecided &= later == earlier
    return True
