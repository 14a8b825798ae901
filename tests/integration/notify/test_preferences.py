"""What people said they want counts at the moment of delivery: channels, kinds, quiet hours, and not too many."""

from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from cloud.notify.mail import Mail
from tests.integration.notify.conftest import MailServer, World

ALERT = {
    "rule": "overload",
    "severity": "high",
    "message": "Too much",
    "subject": "MTR-00000001",
    "started_at": "2026-03-01T12:00:00+00:00",
}


def _alert(world: World, number: int = 0, **changed: object) -> int:
    return world.put("alert", **{**ALERT, "message": f"Alert {number}"} | changed)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("notify_email = false", "the person wants none by email"),
        ("alert_rules_off = '{overload}'", "the person does not want to hear of this rule"),
        ("alert_severity_min = 'critical'", "the person wants to hear of worse ones only"),
    ],
)
async def test_what_somebody_does_not_want_is_not_sent(
    change: str, why: str, world: World, mail: Mail, mail_server: MailServer
) -> None:
    """D15: preferences are stored and never asked. D14: what one does not get, the next one does."""
    world.do(f"UPDATE user_preferences SET {change} WHERE user_id = 1")
    unwanted, code = _alert(world), world.put_code()
    other = world.put("alert", user=2, **ALERT)
    await world.work(mail)
    assert world.log(unwanted) == [(0, "unwanted", why)]
    assert [world.log(one)[0][1] for one in (code, other)] == ["delivered", "delivered"]
    assert sorted(mail_server.to) == ["ada@example.org", "bob@example.org"]


@pytest.mark.parametrize(
    ("at", "ends"),
    [
        # Berlin is an hour ahead of UTC in winter, two in summer.
        ("2026-02-01T20:59Z", None),
        ("2026-02-01T21:00Z", "2026-02-02T05:30Z"),
        ("2026-02-02T05:29Z", "2026-02-02T05:30Z"),
        ("2026-02-02T05:30Z", None),
        # The night of 28 to 29 March is an hour shorter.
        ("2026-03-28T21:00Z", "2026-03-29T04:30Z"),
        ("2026-03-29T04:29Z", "2026-03-29T04:30Z"),
        ("2026-03-29T04:30Z", None),
        # That of 24 to 25 October an hour longer.
        ("2026-10-24T19:59Z", None),
        ("2026-10-24T20:00Z", "2026-10-25T05:30Z"),
        ("2026-10-25T05:29Z", "2026-10-25T05:30Z"),
        ("2026-10-25T05:30Z", None),
    ],
)
def test_quiet_hours_are_nights_of_the_place(at: str, ends: str | None, world: World) -> None:
    [row] = world.rows("SELECT quiet_until('22:00', '06:30', 'Europe/Berlin', %s) AS ends", at)
    assert row["ends"] == (None if ends is None else datetime.fromisoformat(ends).astimezone(UTC))


@pytest.mark.parametrize(
    ("begin", "end", "at", "ends"),
    [
        # Half past two comes twice: the first one ends nothing that the second one would begin again.
        ("22:00", "02:30", "2026-10-25T00:45Z", "2026-10-25T01:30Z"),
        ("22:00", "02:30", "2026-10-25T01:15Z", "2026-10-25T01:30Z"),
        ("22:00", "02:30", "2026-10-25T01:30Z", None),
        # It does not come at all: quiet until the clocks are past it.
        ("22:00", "02:30", "2026-03-29T00:59Z", "2026-03-29T01:30Z"),
        ("22:00", "02:30", "2026-03-29T01:30Z", None),
        ("13:00", "15:00", "2026-02-01T13:30Z", "2026-02-01T14:00Z"),
        ("13:00", "15:00", "2026-02-01T14:00Z", None),
        ("13:00", "13:00", "2026-02-01T12:30Z", None),
    ],
)
def test_quiet_hours_end_once(begin: str, end: str, at: str, ends: str | None, world: World) -> None:
    [row] = world.rows("SELECT quiet_until(%s, %s, 'Europe/Berlin', %s) AS ends", begin, end, at)
    assert row["ends"] == (None if ends is None else datetime.fromisoformat(ends).astimezone(UTC))


async def test_what_may_wait_waits_for_the_morning_and_comes_as_one(
    world: World, mail: Mail, mail_server: MailServer
) -> None:
    local = "now() AT TIME ZONE 'UTC'"
    world.do(
        f"UPDATE user_preferences SET timezone = 'UTC', quiet_from = ({local} - INTERVAL '3 hours')::time,"
        f" quiet_until = ({local} - INTERVAL '1 hour')::time WHERE user_id = 1"
    )
    waiting = [_alert(world, number) for number in range(3)]
    code, worst = world.put_code(), _alert(world, 9, severity="critical")
    account = world.put()

    await world.work(mail)
    assert {one: bool(world.log(one)) for one in (*waiting, code, worst, account)} == {
        **dict.fromkeys(waiting, False),
        **dict.fromkeys((code, worst, account), True),
    }
    assert {world.message(one)["attempts"] for one in waiting} == {0}
    mail_server.accepted.clear()

    world.now += timedelta(minutes=61)
    await world.work(mail)
    [morning] = mail_server.accepted
    assert morning["Subject"] == "3 alerts"
    assert [world.log(one)[0][1] for one in waiting] == ["delivered", "digested", "digested"]


async def test_beyond_so_many_an_hour_the_rest_comes_as_one(world: World, mail: Mail, mail_server: MailServer) -> None:
    """C10: what goes on alerting. D15. Never a storm."""
    world.per_hour = 5
    alerts = [_alert(world, number) for number in range(80)]
    await world.work(mail)
    assert len(mail_server.accepted) == 5
    world.now += timedelta(minutes=59)
    await world.work(mail)
    assert len(mail_server.accepted) == 5

    world.now += timedelta(minutes=2)
    await world.work(mail)
    assert [mail["Subject"] for mail in mail_server.accepted[5:]] == ["75 alerts"]
    body = mail_server.accepted[-1].get_body(("plain",))
    assert body is not None
    text = cast(str, body.get_content()).replace("\r\n", "\n")
    assert "Alert 5\n" in text
    assert "01 Mar 2026 13:00, MTR-00000001: Alert 54\n- and 25 more" in text
    assert world.states() == {"delivered": 6, "digested": 74}
    assert world.log(alerts[-1]) == [(1, "digested", f"with message {alerts[5]}")]


async def test_loops_that_work_together_send_no_more_than_one_alone(
    world: World, mail: Mail, mail_server: MailServer
) -> None:
    """C11."""
    world.per_hour = 5
    for number in range(60):
        _alert(world, number)
    for _ in range(5):
        await world.work(mail, loops=6)
        world.now += timedelta(seconds=1)
    assert len(mail_server.accepted) == 5


async def test_what_another_worker_has_in_hand_is_counted(world: World) -> None:
    """C11: also before its claim is committed."""
    for number in range(2):
        _alert(world, number)
    claim = "SELECT outbox_id FROM outbox_claim('email', false, '1 min', 1, %s)"
    async with world.pool.connection() as one, world.pool.connection() as two:
        async with one.transaction():
            [_] = await (await one.execute(claim, [world.now])).fetchall()
            async with two.transaction():
                assert await (await two.execute(claim, [world.now])).fetchall() == []
        async with two.transaction():
            later = world.now + timedelta(seconds=2)
            assert await (await two.execute(claim, [later])).fetchall() == []


async def test_a_digest_that_was_refused_for_now_loses_nobody(
    world: World, mail: Mail, mail_server: MailServer
) -> None:
    world.per_hour = 1
    alerts = [_alert(world, number) for number in range(4)]
    await world.work(mail)
    mail_server.rcpt_answer = lambda _: "451 Later"
    world.now += timedelta(minutes=61)
    await world.work(mail)
    assert world.states() == {"delivered": 1, "waiting": 3}
    mail_server.rcpt_answer = lambda _: None
    world.now += timedelta(seconds=6)
    await world.work(mail)
    assert [mail["Subject"] for mail in mail_server.accepted] == ["Alert at MTR-00000001: Alert 0", "3 alerts"]
    assert [world.log(one)[-1][1] for one in alerts] == ["delivered", "delivered", "digested", "digested"]


async def test_an_old_one_goes_no_more(world: World, mail: Mail, mail_server: MailServer) -> None:
    """A server that is set up after months does not get what nobody waits for."""
    world.put(at=world.now - timedelta(days=3))
    await world.work(mail)
    assert mail_server.accepted == []


async def test_a_critical_alert_does_not_wait_behind_lesser_ones(
    world: World, mail: Mail, mail_server: MailServer
) -> None:
    """Five warnings an hour are enough to be told of one by one; what is critical is told at once all the same."""
    world.per_hour = 5
    for number in range(20):
        _alert(world, number)
    await world.work(mail)
    _alert(world, 20, severity="critical")
    await world.work(mail)

    assert len(mail_server.accepted) == 6
    assert mail_server.accepted[-1]["Subject"] == "Alert at MTR-00000001: Alert 20"


async def test_critical_alerts_are_bounded_and_go_together_too(
    world: World, mail: Mail, mail_server: MailServer
) -> None:
    world.per_hour = 2
    for number in range(10):
        _alert(world, number, severity="critical")
        _alert(world, 100 + number)
    await world.work(mail)
    at_once = len(mail_server.accepted)
    world.now += timedelta(minutes=61)
    await world.work(mail)

    assert at_once == 4
    assert sorted(one["Subject"] for one in mail_server.accepted[4:]) == ["8 alerts", "8 alerts"]
