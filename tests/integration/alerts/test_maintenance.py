"""While work is done nobody is told; what is not over by its end is told then, also where it ends early."""

from datetime import datetime

import pytest
from psycopg import errors

from tests.integration.alerts.conftest import HOUR, MINUTE, NOON, World

LOW: dict[str, float | None] = {"voltage_l1_v": 200.0, "voltage_l2_v": None, "voltage_l3_v": None}


def _add(
    world: World,
    until: datetime,
    *,
    meter: int | None = None,
    gateway: int | None = None,
    site: str | None = None,
    region: str | None = None,
    begin: datetime = NOON,
    now: datetime = NOON,
) -> int:
    add = "SELECT maintenance_add(%s, %s, %s, %s, %s, %s, 'Work', %s) AS id"
    [row] = world.rows(add, meter, gateway, site, region, begin, until, now)
    return int(row["id"])


@pytest.mark.parametrize("of", ["meter", "gateway", "site", "region"])
async def test_nobody_is_told_until_it_ends(world: World, of: str) -> None:
    [meter] = world.meters(site="mill")
    if of == "meter":
        window = _add(world, NOON + HOUR, meter=meter)
    elif of == "gateway":
        window = _add(world, NOON + HOUR, gateway=1)
    elif of == "site":
        window = _add(world, NOON + HOUR, site="mill")
    else:
        window = _add(world, NOON + HOUR, region="north")
    await world.live([meter], NOON, 10, **LOW)
    await world.tell(NOON + 11 * MINUTE)
    assert (world.messages(), len(world.alerts())) == ([], 1)

    world.do("SELECT maintenance_end(%s, %s)", window, NOON + 20 * MINUTE)
    await world.tell(NOON + 20 * MINUTE)

    assert {template for _, template, _ in world.messages()} == {"alert"}


async def test_the_end_of_what_people_know_of_is_told_once_the_work_is_done(world: World) -> None:
    [meter] = world.meters()
    at = await world.live([meter], NOON, 10, **LOW)
    await world.tell(at)
    told = len(world.messages())
    _add(world, NOON + HOUR, meter=meter, begin=at, now=at)
    at = await world.live([meter], at, 30)
    await world.tell(at)
    during = len(world.messages())

    await world.tell(NOON + HOUR)

    assert world.alerts("state") == [("resolved",)]
    assert (told, during) == (2, 2)
    assert [template for _, template, _ in world.messages()] == ["alert"] * 2 + ["alert_resolved"] * 2


async def test_another_window_goes_on(world: World) -> None:
    [meter] = world.meters()
    first = _add(world, NOON + HOUR, meter=meter)
    _add(world, NOON + HOUR / 2, region="north")
    await world.live([meter], NOON, 10, **LOW)
    await world.tell(NOON + 11 * MINUTE)

    world.do("SELECT maintenance_end(%s, %s)", first, NOON + 20 * MINUTE)
    await world.tell(NOON + 20 * MINUTE)
    assert world.messages() == []
    await world.tell(NOON + 31 * MINUTE)

    assert world.messages() != []


def test_what_has_not_begun_goes_and_what_is_over_stays(world: World) -> None:
    coming = _add(world, NOON + 2 * HOUR, region="north", begin=NOON + HOUR)
    world.do("SELECT maintenance_end(%s, %s)", coming, NOON)
    past = _add(world, NOON + HOUR, region="north")

    with pytest.raises(errors.Error) as over:
        world.do("SELECT maintenance_end(%s, %s)", past, NOON + 2 * HOUR)
    with pytest.raises(errors.Error) as absent:
        world.do("SELECT maintenance_end(%s, %s)", coming, NOON)

    assert (over.value.sqlstate, absent.value.sqlstate) == ("SG116", "SG115")
    assert world.rows("SELECT maintenance_window_id AS id FROM maintenance_windows") == [{"id": past}]


@pytest.mark.parametrize(
    ("region", "site", "begin", "until"),
    [
        ("north", "mill", NOON, NOON + HOUR),
        (None, None, NOON, NOON + HOUR),
        ("north", None, NOON, NOON),
        ("north", None, NOON - 2 * HOUR, NOON - HOUR),
    ],
)
def test_maintenance_that_cannot_be_is_refused(
    world: World, region: str | None, site: str | None, begin: datetime, until: datetime
) -> None:
    with pytest.raises(errors.Error) as refused:
        _add(world, until, region=region, site=site, begin=begin)

    assert refused.value.sqlstate == "SG114"


@pytest.mark.parametrize("others", [0, 1])
async def test_work_at_a_gateway_is_no_alarm_of_its_site_and_its_region(world: World, others: int) -> None:
    """Its meters fall silent together. Where one that no work is done at does so too, people are told."""
    meters = world.meters(4, site="mill", interval_s=10)
    elsewhere = world.meters(1, site="mill", interval_s=10, gateway=world.gateway("else"))
    world.readings(meters + elsewhere[:others], NOON - MINUTE, NOON)
    window = _add(world, NOON + HOUR, gateway=1)
    for minutes in (1, 5, 20, 40):
        await world.listen(NOON + minutes * MINUTE)
        await world.tell(NOON + minutes * MINUTE)
    during = {rule for _, _, rule in world.messages()}
    world.do("SELECT maintenance_end(%s, %s)", window, NOON + HOUR / 2 + 15 * MINUTE)
    await world.tell(NOON + HOUR)

    assert [rule for rule, *_ in world.alerts(where="state <> 'resolved'")] == ["region_silent"]
    assert during == ({"region_silent"} if others else set())
    assert {rule for _, _, rule in world.messages()} == {"region_silent"}


async def test_where_it_ends_early_what_is_over_is_told_then_too(world: World) -> None:
    [meter] = world.meters()
    at = await world.live([meter], NOON, 10, **LOW)
    await world.tell(at)
    window = _add(world, NOON + HOUR, meter=meter, begin=at, now=at)
    at = await world.live([meter], at, 30)
    await world.tell(at)
    during = len(world.messages())

    world.do("SELECT maintenance_end(%s, %s)", window, at + MINUTE)
    await world.tell(at + MINUTE)

    assert during == 2
    assert [template for _, template, _ in world.messages()] == ["alert"] * 2 + ["alert_resolved"] * 2
