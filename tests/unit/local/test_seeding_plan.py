"""What is made up for a data folder: people who exist nowhere, and meters that could be real ones."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from local.seeding.curve import QUARTER, Kind, curve
from local.seeding.folder import LONGEST_DAYS, Note, SeedFolder, days_with_a_month, month_with_bills, new_passwords
from local.seeding.history import days
from local.seeding.plan import PEOPLE, REGIONS, Meter, meters
from local.seeding.prices import code_of, tariffs

BEGIN = datetime(2026, 10, 12, tzinfo=UTC)
WEEK = 7 * 96


def _hours(kind: Kind, zone: str = "Europe/Berlin") -> dict[int, float]:
    """Mean power of each local hour of a month of ten meters, W; Berlin is two hours ahead of UTC then."""
    of_hour: dict[int, list[float]] = {}
    for seed in range(10):
        power = curve(kind, size=1, begin=BEGIN, quarters=4 * WEEK - 1, zone=zone, seed=(seed,)).power_w
        for number, watts in enumerate(power.tolist()):
            of_hour.setdefault((2 + number // 4) % 24, []).append(watts)
    return {hour: float(np.mean(watts)) for hour, watts in of_hour.items()}


def _meters(seed: int = 1) -> list[Meter]:
    return meters(begin=BEGIN, quarters=4 * WEEK, seed=seed)


def test_households_sleep_at_night_and_cook_in_the_evening() -> None:
    mean = _hours(Kind.HOUSEHOLD)
    assert mean[19] > 2 * mean[12] > 2 * mean[3] > 0
    # A usual household needs some 3 to 6 MWh a year.
    assert 340 < sum(mean.values()) / 24 < 690


def test_shops_are_open_by_day_and_roofs_export_at_noon_alone() -> None:
    shop, roof = _hours(Kind.SHOP), _hours(Kind.SOLAR)
    assert shop[14] > 2 * shop[2]
    assert roof[12] < 0 < roof[20]


@pytest.mark.parametrize("kind", Kind)
def test_registers_only_grow_and_move_by_the_power_between_their_reads(kind: Kind) -> None:
    shows = curve(kind, size=1, begin=BEGIN, quarters=WEEK, zone="Europe/Berlin", seed=(5,))
    assert len(shows.import_wh) == len(shows.power_w) == WEEK + 1
    assert all(earlier <= later for earlier, later in pairwise(shows.import_wh.tolist()))
    moved = int(shows.import_wh[-1] - shows.import_wh[0])
    assert moved == pytest.approx(np.maximum(shows.power_w[:-1], 0).sum() / 4, abs=50)
    assert (shows.export_wh is not None) == (kind is Kind.SOLAR)


def test_the_same_seed_makes_the_same_meters_and_another_one_others() -> None:
    ours, again, others = ([meter.registers for meter in _meters(seed)] for seed in (1, 1, 2))
    assert ours == again
    assert all(one != other for one, other in zip(ours, others, strict=True))


def test_each_region_has_meters_with_owners_and_some_are_free_to_be_claimed() -> None:
    found = _meters()
    assert {region.region: sum(meter.region == region for meter in found) for region in REGIONS} == dict.fromkeys(
        (region.region for region in REGIONS), 8
    )
    assert len({region.timezone for region in REGIONS}) == 3
    assert all(one.region == meter.region.region for meter in found for _, one in meter.owners)
    assert [len(meter.owners) for meter in found].count(0) == 2


def test_one_meter_gets_a_new_tenant_at_a_local_midnight_of_the_middle_of_the_month() -> None:
    [(moved, at)] = [(meter, at) for meter in _meters() for at, _ in meter.owners if at is not None]
    assert (at.hour, at.minute, at.tzinfo is not None) == (0, 0, True)
    assert abs(at - (BEGIN + timedelta(days=14))) <= timedelta(days=1)
    assert len({one.email for _, one in moved.owners}) == 2


def test_one_meter_is_exchanged_between_two_reads_and_no_watt_hour_is_between_the_two() -> None:
    [meter] = [meter for meter in _meters() if meter.exchange is not None]
    exchange = meter.exchange
    assert exchange is not None
    shown = meter.registers["energy_import_wh"]
    old, new = shown[: exchange.after + 1], shown[exchange.after + 1 :]
    assert BEGIN + exchange.after * QUARTER < exchange.at < BEGIN + (exchange.after + 1) * QUARTER
    assert old[-1] <= exchange.final_wh
    assert 0 < exchange.first_wh <= new[0] < old[0]
    assert exchange.final_wh - old[0] + new[-1] - exchange.first_wh == meter.moved_wh[0]


def test_people_are_of_every_role_and_of_reserved_domains() -> None:
    assert {one.role for one in PEOPLE} == {"USER", "OPERATOR", "ADMIN"}
    assert all(one.email.endswith("@example.org") and one.name.startswith("Demo ") for one in PEOPLE)
    assert all(one.region is not None for one in PEOPLE if one.role != "ADMIN")


def test_passwords_are_new_each_time_and_their_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    passwords, folder = new_passwords(), SeedFolder(tmp_path)
    folder.keep_people(passwords)
    assert len({*passwords.values(), *new_passwords().values()}) == 2 * len(PEOPLE)
    assert folder.people.stat().st_mode & 0o777 == 0o600
    assert folder.people.parent.stat().st_mode & 0o777 == 0o700
    assert f"admin@example.org,Demo Admin,ADMIN,,{passwords['admin@example.org']}" in folder.people.read_text()


def test_every_read_is_in_one_batch_and_each_batch_in_time() -> None:
    note = Note(key="", stream="", begin=BEGIN, quarters=2 * 96 + 33, seed=1)
    batches = list(days(note))
    assert [number for day in batches for number in range(day.first, day.last)] == [*range(note.quarters + 1)]
    assert [day.seq for day in batches] == [1, 2, 3]
    assert all(timedelta() < day.now - (BEGIN + day.first * QUARTER) < timedelta(days=2) for day in batches)


def test_whatever_day_it_is_the_history_has_a_whole_month_that_can_be_billed() -> None:
    for number in range(2 * 366):
        now = datetime(2027, 7, 1, 0, 5, tzinfo=UTC) + timedelta(days=number)
        days, month = days_with_a_month(now), month_with_bills(now)
        end = (month + timedelta(days=32)).replace(day=1)
        # A day before, since the month begins earlier in the east; three days after, since it ends later in the west.
        assert (now.date() - timedelta(days=days)) < month
        assert (now.date() - end).days >= 3
        assert days <= LONGEST_DAYS


def test_every_meter_is_billed_by_a_tariff_of_its_region_and_zone() -> None:
    offered = {code: (region.region, document["timezone"]) for code, region, document in tariffs()}
    for meter in _meters():
        assert offered[code_of(meter.region, meter.kind)] == (meter.region.region, meter.region.timezone)
