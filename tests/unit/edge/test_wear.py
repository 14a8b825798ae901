"""E28: how long a card lasts is a number, at the pace of now."""

import pytest

from edge.status.wear import Wear, card_years
from tests.unit.edge.clocks import Machine


class _Disk:
    def __init__(self) -> None:
        self.machine = Machine()
        self.total: int | None = 5_000_000
        self.wear = Wear(clock=self.machine.clock, written=lambda: self.total)

    def writes(self, bytes_a_s: int, seconds: int) -> None:
        for _ in range(seconds // 10):
            self.machine.passes(10)
            self.total = (self.total or 0) + 10 * bytes_a_s
            self.wear.look()


def test_the_pace_is_known_after_a_minute() -> None:
    disk = _Disk()
    disk.writes(10_000, 50)
    assert disk.wear.bytes_a_day is None
    disk.writes(10_000, 10)
    assert disk.wear.bytes_a_day == 864_000_000


def test_the_pace_is_that_of_the_last_hour() -> None:
    disk = _Disk()
    disk.writes(1_000_000, 7200)
    disk.writes(10_000, 7200)
    assert disk.wear.bytes_a_day == 864_000_000


def test_where_nobody_counts_nothing_is_said() -> None:
    disk = _Disk()
    disk.total = None
    disk.machine.passes(3600)
    assert disk.wear.bytes_a_day is None
    assert disk.wear.look() is None


def test_a_card_lasts_as_long_as_its_endurance_allows() -> None:
    assert card_years(40_000_000_000_000, 900_000_000) == pytest.approx(121.7, abs=0.1)
    assert card_years(40_000_000_000_000, 0) is None
