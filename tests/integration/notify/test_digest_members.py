"""What a person does not want any more goes in no digest either."""

from datetime import timedelta

from cloud.notify.mail import Mail
from tests.integration.notify.conftest import MailServer, World


async def test_what_is_switched_off_while_it_waits_goes_with_no_other(
    world: World, mail: Mail, mail_server: MailServer
) -> None:
    """D15: preferences are stored and never consulted."""
    world.per_hour = 1
    said = {"severity": "high", "subject": "MTR-1", "started_at": "2026-03-01T12:00:00+00:00"}
    for number, rule in enumerate(("overload", "overload", "no_data")):
        world.put("alert", **said, message=f"Alert {number}", rule=rule)
    await world.work(mail)
    world.do("UPDATE user_preferences SET alert_rules_off = '{no_data}' WHERE user_id = 1")
    world.now += timedelta(minutes=61)
    await world.work(mail)

    assert [one["Subject"] for one in mail_server.accepted] == ["Alert at MTR-1: Alert 0", "Alert at MTR-1: Alert 1"]
    assert world.states() == {"delivered": 2, "unwanted": 1}
