"""Escalations go to those who can take an alert on, in their time, and who is told by one hears of the end."""

from tests.integration.alerts.conftest import HOUR, MINUTE, NOON, World

LOW = {"voltage_l1_v": 190.0}


async def test_who_cannot_take_an_alert_on_is_not_asked_to(world: World) -> None:
    """Operators and admins take alerts on; a customer is refused."""
    at = await world.live(world.meters(phases=1), NOON, 10, **LOW)
    for minutes in (0, 16, 31):
        await world.tell(at + minutes * MINUTE)

    assert [template for user, template, _ in world.messages() if user == 2] == ["alert"]
    assert [user for user, template, _ in world.messages() if template == "alert_escalated"] == [1, 1, 3]


async def test_admins_that_were_called_for_want_of_anybody_hear_that_it_is_over(world: World) -> None:
    at = await world.live(world.meters(phases=1), NOON, 10, **LOW)
    for minutes in (0, 16, 31):
        await world.tell(at + minutes * MINUTE)
    at = await world.live([1], at + 32 * MINUTE, 20)
    await world.tell(at)

    assert [template for user, template, _ in world.messages() if user == 3] == ["alert_escalated", "alert_resolved"]


async def test_after_a_pause_people_have_a_quarter_of_an_hour_before_it_is_told_the_second_time(world: World) -> None:
    """The worker was away for an hour, or work was done at the meter."""
    at = await world.live(world.meters(phases=1), NOON, 10, **LOW)
    await world.tell(at)
    for pause in (HOUR, HOUR + MINUTE):
        await world.tell(at + pause)
    soon = world.alerts("escalations")
    await world.tell(at + HOUR + 16 * MINUTE)

    assert (soon, world.alerts("escalations")) == ([(1,)], [(2,)])


async def test_who_took_it_on_keeps_others_from_being_called_by_what_still_waits(world: World) -> None:
    """C12: a queue that was stuck for an hour calls nobody for what somebody is at."""
    at = await world.live(world.meters(phases=1), NOON, 10, **LOW)
    for minutes in (0, 16):
        await world.tell(at + minutes * MINUTE)
    world.do("SELECT alerts_acknowledge(ARRAY[1]::bigint[], 1, NULL, %s)", at + 17 * MINUTE)
    claim = "SELECT template FROM outbox_claim('email', false, '1 minute', 1000, %s)"
    sent = [row["template"] for _ in range(4) for row in world.rows(claim, at + 18 * MINUTE)]

    assert sent == ["alert", "alert"]
    [closed] = world.rows("SELECT closed_as, last_error FROM outbox WHERE template = 'alert_escalated'")
    assert tuple(closed.values()) == ("unwanted", "somebody took it on meanwhile, or it is over")


async def test_what_got_worse_is_told_before_it_is_told_again(world: World) -> None:
    [meter] = world.meters(phases=1)
    at = await world.live([meter], NOON, 10, voltage_l1_v=200)
    await world.tell(at)
    at = await world.live([meter], at, 20, **LOW)

    assert world.rows("SELECT alerts_escalate(500, %s) AS told", at) == [{"told": 0}]
