"""Every combination of what people may want to hear of alerts, against what is written for them and delivered to them.

A person each, with a meter that has an alert: written by the worker's function, claimed as workers claim, and e-mail is
sent to a server that is real.
"""

from dataclasses import dataclass
from datetime import timedelta
from itertools import product

from psycopg import sql

from cloud.notify.mail import Mail
from tests.integration.notify.conftest import MailServer, World

SEVERITIES = ("low", "medium", "warning", "high", "critical")
CHANNELS = ("email", "sms", "push")
PLACES = (("en", "UTC", "Alert at {}: Voltage is low"), ("de", "Asia/Tokyo", "Warnung bei {}: Voltage is low"))


@dataclass(frozen=True)
class Wish:
    """What one person wants, and what happens to their meter."""

    channels: tuple[bool, ...]
    least: str
    off: bool
    quiet: bool
    severity: str
    place: tuple[str, str, str]

    @property
    def wanted(self) -> bool:
        return not self.off and SEVERITIES.index(self.severity) >= SEVERITIES.index(self.least)

    @property
    def waits(self) -> bool:
        return self.quiet and self.severity != "critical"

    def by(self, channel: str) -> bool:
        return self.wanted and self.channels[CHANNELS.index(channel)]


WISHES = [
    Wish(*one)
    for one in product(
        [*product((True, False), repeat=len(CHANNELS))], SEVERITIES, (True, False), (True, False), SEVERITIES, PLACES
    )
]
FIRST = 3
"""Number of the first person; two are there already."""


def _live(world: World) -> None:
    """A person, a meter and an alert for each wish; quiet hours are from an hour before to an hour after."""
    with world.owner.cursor() as cursor:
        cursor.execute(
            "INSERT INTO users (email, name, region, phone) SELECT 'p' || n || '@example.org', 'P' || n, 'north',"
            " '+4930' || (1000000 + n) FROM generate_series(%s::integer, %s) AS n",
            [FIRST, FIRST + len(WISHES) - 1],
        )
        cursor.executemany(
            "UPDATE user_preferences SET notify_email = %s, notify_sms = %s, notify_push = %s, alert_severity_min = %s,"
            " alert_rules_off = %s, language = %s, timezone = %s,"
            " quiet_from = CASE WHEN %s THEN ((%s::timestamptz - INTERVAL '1 hour') AT TIME ZONE %s)::time END,"
            " quiet_until = CASE WHEN %s THEN ((%s::timestamptz + INTERVAL '1 hour') AT TIME ZONE %s)::time END"
            " WHERE user_id = %s",
            [
                (
                    *one.channels,
                    one.least,
                    ["under_voltage"] if one.off else [],
                    *one.place[:2],
                    *(one.quiet, world.now, one.place[1]) * 2,
                    number,
                )
                for number, one in enumerate(WISHES, FIRST)
            ],
        )
        cursor.execute(
            "INSERT INTO meters (status) SELECT 'active' FROM generate_series(1::integer, %s)", [len(WISHES)]
        )
        cursor.execute(
            "INSERT INTO meter_owners (meter_id, user_id, valid) SELECT m, m + %s, '[-infinity, infinity)'"
            " FROM generate_series(1::integer, %s) AS m",
            [FIRST - 1, len(WISHES)],
        )
        cursor.execute(
            sql.SQL(
                "INSERT INTO alerts (rule, alert_rule_id, meter_id, category, severity, state, message, started_at,"
                " fired_at, tell_at) SELECT r.rule, r.alert_rule_id, s.nth, 'supply', s.severity, 'firing',"
                " 'Voltage is low', {now}, {now}, {now} FROM alert_rules AS r, unnest(%s::text[]) WITH ORDINALITY"
                " AS s (severity, nth) WHERE r.rule = 'under_voltage'"
            ).format(now=sql.Literal(world.now)),
            [[one.severity for one in WISHES]],
        )


def _claimed(world: World, channel: str) -> dict[int, tuple[str, str]]:
    """Language and zone that messages go out with, by whose they are; what is claimed is delivered."""
    found = {}
    while True:
        rows = world.rows(
            "SELECT outbox_id, user_id, language, timezone, leased_until"
            " FROM outbox_claim(%s, false, '1 minute', 1000, %s)",
            channel,
            world.now,
        )
        if not rows:
            return found
        [row] = rows
        found[row["user_id"]] = (row["language"], row["timezone"])
        end = "SELECT outbox_end(%s, '{}', %s, 'delivered', NULL, NULL, %s)"
        world.rows(end, row["outbox_id"], row["leased_until"], world.now)


async def test_everybody_hears_of_what_they_want_and_how_and_when_they_want_it(
    world: World, mail: Mail, mail_server: MailServer
) -> None:
    """D15: preferences are stored and never consulted."""
    assert len(WISHES) == 8 * 5 * 2 * 2 * 5 * 2
    _live(world)
    while world.rows("SELECT alerts_tell(500, %s) AS told", world.now)[0]["told"]:
        pass
    for channel in CHANNELS:
        written = {row["user_id"] for row in world.rows("SELECT user_id FROM outbox WHERE channel = %s", channel)}
        on = {FIRST + nth for nth, one in enumerate(WISHES) if one.channels[CHANNELS.index(channel)]}
        assert written == on, channel

    world.now += timedelta(seconds=1)
    for waited in (False, True):
        for channel in ("sms", "push"):
            told = {
                number: one.place[:2]
                for number, one in enumerate(WISHES, FIRST)
                if one.by(channel) and one.waits == waited
            }
            assert _claimed(world, channel) == told, (channel, waited)
        mail_server.accepted.clear()
        mail_server.to.clear()
        await world.work(mail)
        sent = dict(zip(mail_server.to, (one["Subject"] for one in mail_server.accepted), strict=True))
        assert len(sent) == len(mail_server.to)
        assert sent == {
            f"p{number}@example.org": one.place[2].format(f"MTR-{number - FIRST + 1:08}")
            for number, one in enumerate(WISHES, FIRST)
            if one.by("email") and one.waits == waited
        }, waited
        for one, to in zip(mail_server.accepted, mail_server.to, strict=True):
            wish = WISHES[int(to[1:].partition("@")[0]) - FIRST]
            local = world.rows(
                "SELECT to_char((SELECT min(started_at) FROM alerts) AT TIME ZONE %s, %s) AS at",
                wish.place[1],
                {"en": "DD Mon YYYY HH24:MI", "de": "DD.MM.YYYY HH24:MI"}[wish.place[0]],
            )[0]["at"]
            body = one.get_body(("plain",))
            assert body is not None
            assert local in " ".join(body.get_content().split())
        world.now += timedelta(minutes=61)
    refused = world.rows("SELECT closed_as, count(*) AS n FROM outbox WHERE delivered_at IS NULL GROUP BY 1")
    unwanted = sum(one.channels.count(True) for one in WISHES if not one.wanted)
    assert refused == [{"closed_as": "unwanted", "n": unwanted}]
