"""Who is told of an alert, when, and how often."""

import asyncio
from datetime import timedelta

from cloud.notify.measured import TITLES, UNITS, sentence
from cloud.notify.words import GREETING
from tests.integration.alerts.conftest import HOUR, MINUTE, NOON, World

REVERSE = {"power_w": -200.0}
LOW = {"voltage_l1_v": 190.0}


async def test_whose_meter_it_is_and_who_looks_after_it_are_told_that_it_began_and_that_it_is_over(
    world: World,
) -> None:
    meters = world.meters(phases=1)
    at = await world.live(meters, NOON, 10, **LOW)
    await world.tell(at)
    at = await world.live(meters, at, 20)
    await world.tell(at)

    rows = world.rows("SELECT user_id, channel, template, payload FROM outbox ORDER BY outbox_id")
    assert [(row["user_id"], row["channel"], row["template"]) for row in rows] == [
        (1, "email", "alert"),
        (2, "email", "alert"),
        (1, "email", "alert_resolved"),
        (2, "email", "alert_resolved"),
    ]
    assert rows[0]["payload"]["subject"] == "MTR-00000001"
    assert rows[0]["payload"]["severity"] == "critical"
    assert rows[0]["payload"]["message"] == "Voltage in percent of nominal of phase 1: 82.61 %, below 90"
    told = "Spannung in Prozent der Nennspannung (Phase 1): 82,61 %, unter 90"
    assert sentence(rows[0]["payload"], "de") == told


async def test_of_many_together_it_is_told_in_the_reader_s_language_too(world: World) -> None:
    world.meters(20, gateway=world.gateway("else"), interval_s=10)
    for meter in world.meters(4, site="Mall", gateway=world.gateway("mall"), interval_s=10):
        world.readings([meter], NOON, NOON)
    await world.listen(NOON + 3 * MINUTE)
    await world.tell(NOON + 3 * MINUTE)

    payloads = [row["payload"] for row in world.rows("SELECT payload FROM outbox")]
    assert {payload["message"] for payload in payloads} == {"Meters of the site are silent: 4 of 4"}
    assert {sentence(payload, "de") for payload in payloads} == {"Zähler des Standorts melden sich nicht: 4 von 4"}


def test_every_measure_and_every_group_has_a_name_in_every_language(world: World) -> None:
    names = {row["name"] for row in world.rows("SELECT metric AS name FROM alert_metrics")}
    names |= {row["name"] for row in world.rows("SELECT group_rule AS name FROM alert_groups")}
    units = {row["unit"] for row in world.rows("SELECT unit FROM alert_metrics WHERE unit ~ '[a-z]{4}'")}

    assert {language: titles.keys() for language, titles in TITLES.items()} == {"de": names}
    assert {language: unit.keys() for language, unit in UNITS.items()} == {"de": units}
    assert GREETING.keys() - {"en"} == TITLES.keys()


async def test_a_webhook_of_an_operator_has_each_alert_and_its_end_also_of_one_that_the_operator_closed(
    world: World,
) -> None:
    """D15: an incident that another system opened for it would stay open."""
    world.do("UPDATE user_preferences SET notify_webhook = true, notify_email = false")
    at = await world.live(world.meters(phases=1), NOON, 10, **LOW)
    await world.tell(at)
    with world.domain.transaction():
        world.do("SELECT set_config('segs.user_id', '1', true), set_config('segs.actor', 'user:1', true)")
        world.do("SELECT caller_acts_on_alerts('close', ARRAY(SELECT alert_id FROM alerts), NULL, %s)", at)
    await world.tell(at + MINUTE)

    rows = world.rows("SELECT user_id, channel, template FROM outbox ORDER BY outbox_id")
    assert [tuple(row.values()) for row in rows] == [(1, "webhook", "alert"), (1, "webhook", "alert_resolved")]


async def test_who_may_have_done_it_is_not_told(world: World) -> None:
    at = await world.live(world.meters(exports=False), NOON, 5, **REVERSE)
    await world.tell(at)

    assert world.messages() == [(1, "alert", "reverse_power")]


async def test_where_nobody_looks_after_a_region_admins_are_told(world: World) -> None:
    world.do("DELETE FROM operator_regions")
    at = await world.live(world.meters(exports=False), NOON, 5, **REVERSE)
    await world.tell(at)

    assert world.messages() == [(3, "alert", "reverse_power")]


async def test_those_who_left_or_are_suspended_are_not_told(world: World) -> None:
    world.do("UPDATE users SET suspended_at = now() WHERE user_id = 1")
    world.do("UPDATE user_preferences SET notify_push = true")
    world.do("UPDATE users SET deleted_at = now(), email = NULL, name = NULL WHERE user_id = 2")
    at = await world.live(world.meters(phases=1), NOON, 10, **LOW)
    await world.tell(at)

    assert world.messages() == 2 * [(3, "alert", "under_voltage")]


async def test_in_maintenance_it_is_recorded_and_told_only_if_it_outlasts_it(world: World) -> None:
    over, lasting = world.meters(2, exports=False, site="Mill")
    world.do(
        "INSERT INTO maintenance_windows (site, valid, reason) VALUES ('Mill', tstzrange(%s, %s), 'New transformer')",
        *(NOON - HOUR, NOON + HOUR),
    )
    at = await world.live([over, lasting], NOON, 5, **REVERSE)
    await world.tell(at)
    world.minutes([over], at, 10, mark=False)
    world.minutes([lasting], at, 10, mark=False, **REVERSE)
    world.mark([over, lasting], at, 10)
    await world.look(at + 11 * MINUTE)
    await world.tell(at + 11 * MINUTE)
    during = world.alerts("meter_id, state"), world.messages()
    await world.tell(NOON + HOUR)

    assert during == ([(over, "resolved"), (lasting, "firing")], [])
    [(_, template, _)] = world.messages()
    assert template == "alert"
    assert world.rows("SELECT payload ->> 'subject' AS of FROM outbox") == [{"of": f"MTR-{lasting:08}"}]


async def test_a_critical_one_that_nobody_takes_on_is_told_again_after_15_and_after_30_minutes(world: World) -> None:
    at = await world.live(world.meters(phases=1), NOON, 10, **LOW)
    for minutes in (0, 14, 16, 29, 31, 60, 120):
        await world.tell(at + minutes * MINUTE)

    told = [(user, template) for user, template, _ in world.messages()]
    assert told == [
        *((1, "alert"), (2, "alert")),
        (1, "alert_escalated"),
        *((1, "alert_escalated"), (3, "alert_escalated")),
    ]


async def test_one_that_somebody_took_on_is_not(world: World) -> None:
    """D14: acknowledging clears one key and not the other."""
    at = await world.live(world.meters(phases=1), NOON, 10, **LOW)
    await world.tell(at)
    world.do("UPDATE alerts SET acknowledged_at = %s, acknowledged_by = 1", at)
    for minutes in (16, 31):
        await world.tell(at + minutes * MINUTE)

    assert [template for _, template, _ in world.messages()] == ["alert", "alert"]


async def test_what_was_taken_on_and_gets_worse_has_to_be_taken_on_anew(world: World) -> None:
    [meter] = world.meters(phases=1)
    at = await world.live([meter], NOON, 10, voltage_l1_v=200)
    await world.tell(at)
    world.do("UPDATE alerts SET acknowledged_at = %s, acknowledged_by = 1", at)
    at = await world.live([meter], at, 10, **LOW)
    for minutes in (0, 16):
        await world.tell(at + minutes * MINUTE)

    assert world.alerts("severity, acknowledged_at, acknowledged_by") == [("critical", None, None)]
    assert [template for user, template, _ in world.messages() if user == 1] == ["alert", "alert", "alert_escalated"]


async def test_several_tellers_at_once_tell_once(world: World) -> None:
    """C11: with two instances each publishes half, or both all."""
    at = await world.live(world.meters(8, phases=1), NOON, 10, **LOW)
    await asyncio.gather(*(world.tell(at + timedelta(seconds=1)) for _ in range(4)))

    assert len(world.messages()) == 16


async def test_who_closes_an_alert_is_not_told_that_it_is_over(world: World) -> None:
    at = await world.live(world.meters(phases=1), NOON, 10, **LOW)
    await world.tell(at)
    world.do("SELECT alerts_close(ARRAY(SELECT alert_id FROM alerts), 1, NULL, %s)", at)
    await world.tell(at)

    assert [row[:2] for row in world.messages()] == [(1, "alert"), (2, "alert"), (2, "alert_resolved")]


async def test_whose_meter_it_is_now_hears_nothing_of_what_began_before(world: World) -> None:
    """It says what the one before them used, and when; nor do they find it in the list of their alerts."""
    world.do("INSERT INTO users (email, name, region) VALUES ('new@example.org', 'New', 'north')")
    at = await world.live(world.meters(phases=1), NOON, 10, **LOW)
    await world.tell(at)
    world.do("UPDATE meter_owners SET valid = tstzrange('-infinity', %s)", at)
    world.do("INSERT INTO meter_owners (meter_id, user_id, valid) VALUES (1, 4, tstzrange(%s, 'infinity'))", at)
    await world.tell(at + 16 * MINUTE)
    at = await world.live([1], at, 20)
    await world.tell(at + 20 * MINUTE)

    assert {user for user, *_ in world.messages()} == {1, 2}
    assert [template for user, template, _ in world.messages() if user == 2] == ["alert"]


async def test_who_was_told_of_a_meter_that_became_part_of_something_larger_is_told_that_it_is_over(
    world: World,
) -> None:
    fast, slow = world.meters(4, interval_s=10), world.meters(8, interval_s=120)
    world.readings([*fast, *slow], NOON - MINUTE, NOON)
    await world.listen(NOON + 31 * timedelta(seconds=1))
    await world.tell(NOON + 3 * MINUTE)
    await world.listen(NOON + 7 * MINUTE)
    await world.tell(NOON + 7 * MINUTE)
    during = world.messages()
    world.readings([*fast, *slow], NOON + 9 * MINUTE, NOON + 10 * MINUTE)
    await world.listen(NOON + 10 * MINUTE)
    await world.tell(NOON + 10 * MINUTE)

    assert [message for message in during if message[0] == 2] == [(2, "alert", "no_data")] * 4
    assert (1, "alert", "region_silent") in during
    after = [message for message in world.messages()[len(during) :] if message[0] == 2]
    assert after == [(2, "alert_resolved", "no_data")] * 4
    assert world.alerts("resolved_at", "rule = 'no_data'") == [(NOON + 10 * MINUTE,)] * 4
