"""What all exports are made of: intervals of meters, as the database's intervals() has them."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An interval, half-open. None is what is not known, which is not 0.

    `meter` is its code; energies in Wh, powers in W, coverage in percent, quality one of ESPI's codes (worst of what is
    in it), `version` counts up with every change.
    """

    meter: str
    start: datetime
    end: datetime
    import_wh: int | None
    export_wh: int | None
    power_mean_w: float | None = None
    power_min_w: float | None = None
    power_max_w: float | None = None
    coverage_percent: float | None = None
    quality: int | None = None
    version: int | None = None


Rows = AsyncIterator[Row]
