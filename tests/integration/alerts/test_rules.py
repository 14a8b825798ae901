"""Each rule that comes with the release: what raises it, and what looks like it and does not."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from cloud.notify.measured import sentence
from tests.integration.alerts.conftest import DAY, HOUR, MINUTE, NOON, World

QUARTER = timedelta(minutes=15)
Found = tuple[str, int, str]


def found(world: World) -> list[Found]:
    return [(rule, phase, severity) for rule, _, phase, severity, _ in world.alerts()]


@pytest.mark.parametrize(
    ("columns", "values", "minutes", "expected"),
    [
        ({}, {"voltage_l1_v": 208, "voltage_l2_v": 208, "voltage_l3_v": 208}, 10, []),
        ({"phases": 1}, {"voltage_l1_v": 206}, 10, [("under_voltage", 1, "warning")]),
        ({"phases": 1}, {"voltage_l1_v": 195}, 10, [("under_voltage", 1, "critical")]),
        ({"phases": 1}, {"voltage_l1_v": 252}, 10, []),
        ({"phases": 1}, {"voltage_l1_v": 254}, 10, [("over_voltage", 1, "critical")]),
        # Nine minutes are not ten.
        ({"phases": 1}, {"voltage_l1_v": 206}, 9, []),
        # Another nominal voltage.
        ({"phases": 1, "nominal_voltage_v": 120}, {"voltage_l1_v": 120}, 10, []),
        ({"phases": 1, "nominal_voltage_v": 120}, {"voltage_l1_v": 107}, 10, [("under_voltage", 1, "warning")]),
        # A phase that never had voltage is not connected.
        ({}, {"voltage_l2_v": 0, "voltage_l3_v": 0}, 10, []),
        ({}, {"voltage_l2_v": 222, "voltage_l3_v": 221}, 10, []),
        ({}, {"voltage_l2_v": 218, "voltage_l3_v": 219}, 10, [("unbalance", 0, "warning")]),
        ({}, {"frequency_hz": 49.55}, 2, []),
        ({}, {"frequency_hz": 49.4}, 1, [("under_frequency", 0, "warning")]),
        ({}, {"frequency_hz": 50.6}, 1, [("over_frequency", 0, "warning")]),
        # A meter that has no frequency tells 0.
        ({}, {"frequency_hz": 0}, 5, []),
        ({"rated_power_w": 4000}, {"power_factor": 0.85}, 15, [("low_power_factor", 0, "warning")]),
        ({"rated_power_w": 4000}, {"power_factor": -0.85}, 15, [("low_power_factor", 0, "warning")]),
        # A fifth of the rating is no load to speak of, and without a rating nobody knows.
        ({"rated_power_w": 5000}, {"power_factor": 0.85}, 15, []),
        ({}, {"power_factor": 0.85}, 15, []),
        ({"rated_power_w": 1250}, {}, 15, []),
        ({"rated_power_w": 1240}, {}, 15, [("overload", 0, "warning")]),
        ({"rated_power_w": 990}, {}, 15, [("overload", 0, "critical")]),
        ({"rated_power_w": 990}, {}, 14, []),
        ({}, {"power_w": 1_000_000}, 15, []),
        ({"exports": False}, {"power_w": -49}, 5, []),
        ({"exports": False}, {"power_w": -51}, 5, [("reverse_power", 0, "high")]),
        ({"exports": False, "rated_power_w": 10_000}, {"power_w": -99}, 5, []),
        ({"exports": False, "rated_power_w": 10_000}, {"power_w": -101}, 5, [("reverse_power", 0, "high")]),
        ({"exports": True}, {"power_w": -5000}, 5, []),
        ({}, {"power_w": -5000}, 5, [("reverse_power", 0, "high")]),
    ],
)
async def test_what_a_rule_is_raised_by(
    world: World, columns: dict[str, Any], values: dict[str, float], minutes: int, expected: list[Found]
) -> None:
    meters = world.meters(1, **columns)

    await world.live(meters, NOON, minutes, **values)

    assert found(world) == expected


async def test_a_power_factor_that_changes_its_sign_is_as_good_as_its_magnitude(world: World) -> None:
    """Makers sign it by the direction of energy, or by the kind of reactive power."""
    meters = world.meters(1, rated_power_w=4000)
    for number in range(15):
        await world.live(meters, NOON + number * MINUTE, power_factor=-0.97 if number % 2 else 0.97)

    assert found(world) == []


async def test_a_phase_that_is_lost_for_ten_seconds_is_critical_and_for_less_is_not(world: World) -> None:
    short, long, across = world.meters(3, interval_s=1)
    await world.live([short, long, across], NOON, 1)
    minute = NOON + MINUTE
    for meter, begins, seconds in ((short, 20, 8), (long, 20, 9), (across, 54, 9)):
        first = minute + timedelta(seconds=begins)
        world.readings([meter], minute, first - timedelta(seconds=1), every_s=1)
        world.readings([meter], first, first + timedelta(seconds=seconds), every_s=1, voltage_l2_v=3)
        world.readings([meter], first + timedelta(seconds=seconds + 1), minute + 2 * MINUTE, every_s=1)
    for number in (1, 2):
        world.minutes([short, long, across], NOON + number * MINUTE)
        world.measure_do("UPDATE aggregates_1m SET voltage_l2_v_min = 3 WHERE bucket = %s", NOON + number * MINUTE)
        world.measure_do("SELECT mark_alerts(1, %s, %s, %s, %s)", [short, long, across], *[NOON + number * MINUTE] * 3)
        await world.look(NOON + (number + 1) * MINUTE + timedelta(seconds=6))

    assert sorted(world.alerts("rule, meter_id, phase, severity")) == [
        ("phase_loss", long, 2, "critical"),
        ("phase_loss", across, 2, "critical"),
    ]


async def test_all_phases_gone_is_no_lost_phase(world: World) -> None:
    meters = world.meters(interval_s=1)
    await world.live(meters, NOON, 1)
    world.readings(meters, NOON + MINUTE, NOON + 2 * MINUTE, every_s=1, voltage_l1_v=0, voltage_l2_v=0, voltage_l3_v=0)
    await world.live(meters, NOON + MINUTE, 1, voltage_l1_v=0, voltage_l2_v=0, voltage_l3_v=0)

    assert found(world) == []


async def test_a_lost_phase_is_no_low_voltage_as_well(world: World) -> None:
    meters = world.meters(interval_s=1)
    await world.live(meters, NOON, 1)
    world.readings(meters, NOON + MINUTE, NOON + 11 * MINUTE, every_s=1, voltage_l3_v=2)
    await world.live(meters, NOON + MINUTE, 10, voltage_l3_v=2)

    assert found(world) == [("phase_loss", 3, "critical")]


async def test_a_register_that_went_backwards_may_have_been_tampered_with(world: World) -> None:
    meters = world.meters(2)
    world.measure_do(
        "INSERT INTO register_events (meter_id, register, at, kind)"
        " VALUES (%s, 1, %s, 'backwards'), (%s, 1, %s, 'rollover')",
        *(meters[0], NOON + timedelta(seconds=30), meters[1], NOON + timedelta(seconds=30)),
    )
    await world.live(meters, NOON, 1)

    assert world.alerts("rule, meter_id, category") == [("register_backwards", meters[0], "tamper")]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        # 1000 W for a quarter of an hour are 250 Wh.
        ({"energy_import_wh": 17}, []),
        ({"energy_import_wh": 50}, ["stuck_value"]),
        ({"energy_import_wh": 0}, ["stuck_register"]),
        ({"energy_import_wh": 0, "power_w": 60}, []),
        ({"energy_import_wh": 0, "power_w": 0}, []),
    ],
)
async def test_power_and_register_that_contradict_each_other_are_stuck(
    world: World, values: dict[str, float], expected: list[str]
) -> None:
    await world.live(world.meters(), NOON, 15, **values)

    assert [rule for rule, *_ in found(world)] == expected


async def test_a_register_of_whole_kilowatt_hours_is_not_stuck_between_two_of_them(world: World) -> None:
    meters = world.meters()
    for number in range(6):
        world.minutes(meters, NOON - DAY + number * 4 * HOUR, 1, mark=False, energy_import_wh=1000)
    await world.live(meters, NOON, 15, power_w=250, energy_import_wh=0)

    assert found(world) == []


def quarters(world: World, meters: list[int], first: datetime, count: int, wh: int, volts: float | None = 230) -> None:
    world.measure_do(
        "INSERT INTO aggregates_15m (meter_id, bucket, samples, coverage, quality, energy_import_wh, energy_export_wh,"
        " voltage_l1_v_count, voltage_l1_v_sum)"
        " SELECT m, b, 90, 100, 14, %s, 0, CASE WHEN %s::float8 IS NULL THEN 0 ELSE 90 END, 90 * %s::float8"
        " FROM unnest(%s) AS m, generate_series(%s::timestamptz, %s, INTERVAL '15 minutes') AS b",
        *(wh, volts, volts, meters, first, first + (count - 1) * QUARTER),
    )


async def later(world: World, meters: list[int], last: datetime, count: int = 1) -> None:
    """The quarter-hours that end with `last` are looked at."""
    first = last - (count - 1) * QUARTER
    world.measure_do("SELECT mark_alerts(15, %s, %s, %s, %s)", meters, first, last, last + QUARTER)
    await world.look(last + QUARTER + timedelta(seconds=40))


async def test_a_customer_hears_of_a_day_and_of_power_above_their_own_thresholds(world: World) -> None:
    """D15: preferences are stored and never consulted, and consumers get no alert of their own."""
    world.do("UPDATE user_preferences SET consumption_threshold_wh = 3000, power_threshold_w = 900 WHERE user_id = 2")
    meters = world.meters()
    midnight = NOON - 12 * HOUR
    quarters(world, meters, midnight - HOUR, 4, 5000)
    quarters(world, meters, midnight, 13, 250)

    await later(world, meters, midnight + 11 * QUARTER)
    before = found(world)
    await later(world, meters, midnight + 12 * QUARTER)
    await world.live(meters, NOON, 15)
    await world.tell(NOON + 15 * MINUTE)

    assert before == []
    assert found(world) == [("high_consumption", 0, "medium"), ("high_power", 0, "medium")]
    assert world.messages() == [(2, "alert", "high_consumption"), (2, "alert", "high_power")]


async def test_a_day_without_consumption_and_with_voltage_is_told(world: World) -> None:
    idle, dark, busy, new = world.meters(4)
    first = NOON - DAY
    quarters(world, [idle], first, 96, 0)
    quarters(world, [dark], first, 96, 0, volts=0)
    quarters(world, [busy], first, 40, 0)
    quarters(world, [busy], first + 40 * QUARTER, 1, 7)
    quarters(world, [busy], first + 41 * QUARTER, 55, 0)
    quarters(world, [new], NOON - 20 * HOUR, 80, 0)

    await later(world, [idle, dark, busy, new], NOON - QUARTER, 4)

    assert world.alerts("rule, meter_id") == [("no_consumption", idle)]


async def test_what_generates_by_day_and_takes_nothing_is_not_idle(world: World) -> None:
    [meter] = world.meters()
    quarters(world, [meter], NOON - DAY, 96, 0)
    world.measure_do(
        "UPDATE aggregates_15m SET energy_export_wh = 300 WHERE meter_id = %s AND bucket < %s", meter, NOON - 18 * HOUR
    )

    await later(world, [meter], NOON - QUARTER, 4)

    assert world.alerts() == []


@pytest.mark.parametrize(
    ("wh", "expected"),
    [(250, []), (450, []), (650, ["consumption_spike"]), (130, []), (20, ["consumption_drop"])],
)
async def test_an_hour_that_is_far_from_the_same_hours_of_like_days_is_told(
    world: World, wh: int, expected: list[str]
) -> None:
    meters = world.meters()
    for day in range(1, 22):
        quarters(world, meters, NOON - day * DAY, 4, 240 + 5 * (day % 5))
    quarters(world, meters, NOON, 4, wh)

    await later(world, meters, NOON + 3 * QUARTER, 4)

    assert [rule for rule, *_ in found(world)] == expected


async def test_what_is_usual_and_idleness_are_told_of_quarter_hours_where_a_rule_says_so(world: World) -> None:
    spike, idle = world.meters(2)
    for rule in ("consumption_spike", "no_consumption"):
        world.rows("SELECT alert_rule_set(%s, NULL, NULL, '{\"window_min\": 15}', %s)", rule, NOON - DAY)
    for day in range(1, 22):
        quarters(world, [spike], NOON - day * DAY, 1, 250)
    quarters(world, [spike], NOON, 1, 900)
    quarters(world, [idle], NOON + QUARTER - DAY, 96, 0)

    await later(world, [spike, idle], NOON)

    ends = ("rule, meter_id, fired_at", "state = 'firing'")
    assert world.alerts(*ends) == [
        ("consumption_spike", spike, NOON + QUARTER),
        ("no_consumption", idle, NOON + QUARTER),
    ]


async def test_what_stays_different_becomes_usual(world: World) -> None:
    """C10: the baseline freezes, so a real level shift alerts for ever."""
    meters = world.meters()
    for day in range(22):
        quarters(world, meters, NOON - 21 * DAY + day * DAY, 4, 250)
    open_after = []
    for day in range(1, 29):
        at = NOON + day * DAY
        quarters(world, meters, at, 4, 1000)
        await later(world, meters, at + 3 * QUARTER, 4)
        open_after.append(len(world.alerts(where="state <> 'resolved'")))

    assert open_after[0] == 1
    assert open_after[-1] == 0
    # Working days and weekends learn each by themselves.
    assert len(world.alerts()) == 2


async def test_a_region_above_its_capacity_for_two_quarter_hours_is_told(world: World) -> None:
    def load(at: datetime, percent: float) -> None:
        world.measure_do(
            "INSERT INTO regional_15m (region, bucket, meters, meters_expected, power_w_mean, capacity_w, load_percent,"
            " coverage, quality) VALUES ('north', %s, 1, 1, %s, 100, %s, 100, 17)",
            *(at, percent, percent),
        )

    load(NOON, 95)
    await world.hear(NOON + 16 * MINUTE)
    first = world.alerts()
    load(NOON + QUARTER, 92)
    await world.hear(NOON + 31 * MINUTE)
    await world.hear(NOON + 32 * MINUTE)

    assert first == []
    assert world.alerts("rule, region, severity, state") == [("region_overload", "north", "high", "firing")]


async def test_a_gateway_whose_clock_is_off_or_that_tells_of_trouble_is_told(world: World) -> None:
    for number in range(7):
        at = NOON + number * MINUTE
        world.measure_do(
            "INSERT INTO gateway_reports (gateway_id, received_at, sent_at, clock_ahead_s, software, report)"
            " VALUES (1, %s, %s, -75, 'segs-edge', '{\"troubles\": [\"the disk is full\"]}')"
            " ON CONFLICT (gateway_id) DO UPDATE SET received_at = excluded.received_at",
            *(at, at),
        )
        await world.hear(at + timedelta(seconds=1))

    assert world.alerts("rule, gateway_id, severity") == [
        ("gateway_clock", 1, "warning"),
        ("gateway_trouble", 1, "warning"),
    ]


async def test_a_gateway_s_trouble_is_told_by_its_name_in_every_language(world: World) -> None:
    """Who hears of "1 troubles" has to look for which; of many the first are named."""
    many = ["", "the disk is full", "x" * 300, "uplink: no route", "clock: nobody vouches for the time yet"]

    async def report(minute: int, troubles: list[str]) -> None:
        at = NOON + minute * MINUTE
        world.measure_do(
            "INSERT INTO gateway_reports (gateway_id, received_at, sent_at, clock_ahead_s, software, report)"
            " VALUES (1, %s, %s, 0, 'segs-edge', jsonb_build_object('troubles', %s::text[]))"
            " ON CONFLICT (gateway_id) DO UPDATE SET received_at = excluded.received_at, report = excluded.report",
            *(at, at, troubles),
        )
        await world.hear(at + timedelta(seconds=1))

    for minute in range(7):
        await report(minute, ["the disk is full"] if minute < 4 else many)
    await world.tell(NOON + 7 * MINUTE)
    named = f"the disk is full; {'x' * 99}…; uplink: no route; …"
    fired = world.alerts("message")
    for minute in range(7, 14):
        await report(minute, [])
    await world.tell(NOON + 14 * MINUTE)

    assert fired == [(f"Troubles that the gateway tells of: 5 troubles, above 0 ({named})",)]
    payloads = [row["payload"] for row in world.rows("SELECT payload FROM outbox ORDER BY outbox_id")]
    assert [sentence(payload, "de") for payload in payloads] == [
        f"Störungen, die das Gateway meldet: {count} Störungen, über 0 ({named})" for count in (5, 0)
    ]
    assert [payload["message"].endswith(f"({named})") for payload in payloads] == [True, True]


async def test_a_region_has_its_own_thresholds_and_a_meter_its_own_before_those(world: World) -> None:
    plain, strict, off = world.meters(3, phases=1)
    rule = (
        "INSERT INTO alert_rules (rule, region, meter_id, metric, above, raise_at, clear_at, severity, window_min,"
        " category, enabled)"
        " VALUES ('under_voltage', %s, %s, 'voltage_percent', false, %s, %s, 'high', 10, 'supply', %s)"
    )
    world.do(rule, "north", None, 80, 81, True)
    world.do(rule, None, strict, 95, 96, True)
    world.do(rule, None, off, 95, 96, False)

    at = await world.live([plain, strict, off], NOON, 10, voltage_l1_v=200)
    middle = world.alerts("rule, meter_id, severity")
    await world.live([plain, strict, off], at, 10, voltage_l1_v=180)

    assert middle == [("under_voltage", strict, "high")]
    assert world.alerts("rule, meter_id, severity") == [*middle, ("under_voltage", plain, "high")]


async def test_a_new_rule_needs_no_code(world: World) -> None:
    world.do(
        "INSERT INTO alert_rules (rule, metric, above, raise_at, clear_at, severity, window_min, category)"
        " VALUES ('hum', 'frequency_hz', true, 50.1, 50.05, 'low', 5, 'supply')"
    )
    meters = world.meters()

    await world.live(meters, NOON, 5, frequency_hz=50.2)

    assert found(world) == [("hum", 0, "low")]
