"""D14: one that throws aborts the remaining ones. Gateways, and meters that are silent, hold up none of their kind."""

from datetime import timedelta

from psycopg.types.json import Jsonb

from tests.integration.alerts.conftest import HOUR, MINUTE, NOON, World


async def test_a_gateway_that_cannot_be_judged_holds_up_no_other_and_nothing_after_it(world: World) -> None:
    gateways = [1, *(world.gateway(name) for name in ("barn", "cellar", "dome", "east"))]
    [meter] = world.meters(exports=False)
    at = await world.live([meter], NOON, 5, power_w=-200.0)
    world.do("UPDATE meters SET status = 'decommissioned' WHERE meter_id = %s", meter)
    for number in range(7):
        for gateway in gateways:
            world.measure_do(
                "INSERT INTO gateway_reports (gateway_id, received_at, sent_at, clock_ahead_s, software, report)"
                " VALUES (%s, %s, %s, 300, 'x', %s)"
                " ON CONFLICT (gateway_id) DO UPDATE SET received_at = excluded.received_at",
                *(gateway, at + number * MINUTE, at, Jsonb({"troubles": [] if gateway != 3 else "many"})),
            )
        await world.hear(at + number * MINUTE)

    clocks = world.alerts("gateway_id", "rule = 'gateway_clock'")
    assert clocks == [(gateway,) for gateway in gateways if gateway != 3]
    assert world.alerts("state", "rule = 'reverse_power'") == [("resolved",)]


async def test_a_silent_meter_that_cannot_be_noted_holds_up_no_other_and_keeps_what_it_has(world: World) -> None:
    meters = world.meters(7)
    for meter in meters:
        world.readings([meter], NOON + meter * 10 * MINUTE, NOON + meter * 10 * MINUTE)
    world.do(f"ALTER TABLE alerts ADD CHECK (meter_id <> {meters[3]} OR state <> 'firing')")

    await world.listen(NOON + 3 * HOUR)
    world.readings(meters[:1], NOON + 3 * HOUR, NOON + 3 * HOUR)
    await world.listen(NOON + 3 * HOUR + timedelta(seconds=10))

    found = world.alerts("meter_id, state")
    assert found == [(meter, "resolved" if meter == meters[0] else "firing") for meter in meters if meter != meters[3]]
