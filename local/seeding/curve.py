"""Load curves of households, shops and roofs, from a seed: what their meters would have shown at each quarter-hour."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

QUARTER = timedelta(minutes=15)
_QUARTER_H = 0.25
_NOMINAL_V = 230.0
# The street's impedance, ohms, as a household feels it.
_STREET_OHM = 0.25
# What runs for a while (cooking, washing, a kettle): W, quarter-hours, and how often it begins in a busy quarter-hour.
_APPLIANCES = ((2200.0, 2, 0.10), (1600.0, 4, 0.05), (900.0, 1, 0.20))

Floats = NDArray[np.float64]
Registers = NDArray[np.int64]


class Kind(StrEnum):
    """Whose meter it is."""

    HOUSEHOLD = "household"
    SHOP = "shop"
    SOLAR = "solar"
    """A household with photovoltaics, which exports when the sun shines."""


@dataclass(frozen=True, slots=True)
class Curve:
    """What a meter shows at the start of each quarter-hour and at the end of the last: registers in Wh, W and V.

    `export_wh` is None for a meter without that register. `power_w` is negative while it exports.
    """

    power_w: Floats
    voltage_v: Floats
    import_wh: Registers
    export_wh: Registers | None


def curve(kind: Kind, *, size: float, begin: datetime, quarters: int, zone: str, seed: tuple[int, ...]) -> Curve:
    """`quarters` quarter-hours from `begin` of a meter of `kind` in `zone`; `size` is 1 for a usual one.

    The same arguments give the same curve.
    """
    noise = np.random.default_rng(seed)
    local = [(begin + number * QUARTER).astimezone(ZoneInfo(zone)) for number in range(quarters + 1)]
    hour = np.array([at.hour + at.minute / 60 for at in local])
    day = np.array([at.toordinal() for at in local])
    day -= day[0]
    weekend = np.array([at.weekday() >= 5 for at in local])
    load = size * (_shop(hour, weekend) if kind is Kind.SHOP else _household(noise, hour, weekend))
    # Some days are busier than others, and no quarter-hour is like the next.
    load *= noise.lognormal(0, 0.12, day[-1] + 1)[day] * noise.lognormal(0, 0.10, len(day))
    net = load
    if kind is Kind.SOLAR:
        season = np.array([at.timetuple().tm_yday for at in local])
        net = load - size * _sun(noise, hour, season, day)
    first = noise.integers(1_000_000, 30_000_000, 2)
    voltage = _NOMINAL_V + 4 - _STREET_OHM * net / _NOMINAL_V + noise.normal(0, 0.6, len(net))
    return Curve(
        power_w=np.round(net, 1),
        voltage_v=np.round(voltage, 1),
        import_wh=_register(first[0], np.maximum(net, 0)),
        export_wh=_register(first[1] // 10, np.maximum(-net, 0)) if kind is Kind.SOLAR else None,
    )


def _household(noise: np.random.Generator, hour: Floats, weekend: NDArray[np.bool_]) -> Floats:
    """A refrigerator and what stands by, a morning and an evening; at weekends later, and somebody at home."""
    morning = np.where(weekend, 300 * _hump(hour, 9.5, 2.0), 420 * _hump(hour, 7.0, 1.0))
    busy = morning / 420 + _hump(hour, 19.0, 2.2) + np.where(weekend, 0.5, 0.1) * _hump(hour, 13.0, 2.0)
    load = 140 + morning + 520 * _hump(hour, 19.5, 2.4) + np.where(weekend, 200, 60) * _hump(hour, 13.0, 2.5)
    for watts, lasts, often in _APPLIANCES:
        begins = noise.random(len(hour)) < often * np.minimum(busy, 1)
        running = np.convolve(begins, np.ones(lasts))[: len(hour)] > 0
        load += watts * running * noise.uniform(0.5, 1, len(hour))
    return load


def _shop(hour: Floats, weekend: NDArray[np.bool_]) -> Floats:
    """Cold rooms all day, lights and tills while it is open: 8 to 19, at weekends until noon."""
    until = np.where(weekend, 12.0, 19.0)
    open_ = 1 / (1 + np.exp(-6 * (hour - 8))) / (1 + np.exp(6 * (hour - until)))
    return np.asarray(900 + 3200 * open_)


def _sun(noise: np.random.Generator, hour: Floats, season: NDArray[np.int64], day: NDArray[np.int64]) -> Floats:
    """A roof of 5 kW peak in the middle of Europe: the day is as long as the season has it, and clouds pass."""
    length_h = 12 + 4.3 * np.sin(2 * np.pi * (season - 80) / 365)
    height = np.maximum(0, np.cos(np.pi * (hour - 12.5) / length_h)) * (np.abs(hour - 12.5) < length_h / 2)
    clear = noise.beta(2, 1.5, day[-1] + 1)[day] * noise.uniform(0.7, 1, len(day))
    return np.asarray(5000 * (length_h / 16.3) * height**1.3 * clear)


def _hump(hour: Floats, at: float, width_h: float) -> Floats:
    return np.asarray(np.exp(-(((hour - at) / width_h) ** 2) / 2))


def _register(first_wh: int, watts: Floats) -> Registers:
    """A register that counts whole watt-hours of `watts`, each of a quarter-hour; the last has not happened yet."""
    counted = np.concatenate(([0.0], np.cumsum(watts[:-1] * _QUARTER_H)))
    return np.asarray(first_wh + np.floor(counted), dtype=np.int64)
