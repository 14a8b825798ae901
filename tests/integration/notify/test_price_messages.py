"""From a region's load to the mailbox: what a kWh will cost, to who pays by it."""

import json
from datetime import timedelta

from psycopg.types.json import Jsonb

from cloud.notify.mail import Mail
from tests.integration.notify.conftest import MailServer, World


async def test_a_price_that_the_load_changes_reaches_people_whose_preferences_are_as_they_were_made(
    world: World, mail: Mail, mail_server: MailServer
) -> None:
    """D15: what is written where nobody fetches it is no message. Two tables of defaults have to agree."""
    world.do("INSERT INTO meters (model) VALUES ('sdm630'), ('sdm630')")
    for table, value in (
        ("meter_locations (region, timezone, meter_id)", "'north', 'UTC', meter_id"),
        ("meter_owners (user_id, valid, meter_id)", "meter_id, '[-infinity, infinity)', meter_id"),
        ("meter_tariffs (code, valid, meter_id)", "'load', '[2026-01-01, infinity)', meter_id"),
    ):
        if table.startswith("meter_tariffs"):
            world.do(
                "INSERT INTO tariffs (code, name, currency, timezone, document, valid)"
                " VALUES ('load', 'By load', 'EUR', 'UTC', %s, '[2026-01-01, infinity)')",
                Jsonb({"regional_price": True}),
            )
        world.do(f"INSERT INTO {table} SELECT {value} FROM meters")
    world.do("SELECT region_price_set('north', 'EUR', 0.40, NULL, NULL, NULL, NULL, %s)", world.now)
    [state] = world.rows("SELECT seen_until FROM region_price_state")
    load = [{"region": "north", "bucket": state["seen_until"].isoformat(), "load_percent": 95, "coverage": 100}]
    world.now = state["seen_until"] + timedelta(minutes=20)
    [changed] = world.rows(
        "SELECT * FROM region_prices_decide('{north}', %s, %s, %s)", json.dumps(load), world.now, world.now
    )
    assert changed["told"] == 2

    await world.work(mail)
    # Two of the first price that the region ever had, and these.
    assert world.states() == {"delivered": 4}
    assert sorted(mail_server.to) == ["ada@example.org"] * 2 + ["bob@example.org"] * 2
    bodies = {mail["To"]: mail.get_body(("plain",)) for mail in mail_server.accepted}
    texts = {to.partition(" ")[0]: body.get_content() for to, body in bodies.items() if body is not None}
    assert "costs 0.5 EUR" in texts["Ada"]
    assert "kostet eine Kilowattstunde in north 0.5 EUR" in texts["Bob"]
