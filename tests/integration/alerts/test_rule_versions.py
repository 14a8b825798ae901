"""Rules are data: set for all, a region or a meter by a new version, and ended."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from psycopg import errors

from tests.integration.alerts.conftest import HOUR, MINUTE, NOON, World

ALONE: dict[str, float | None] = {"voltage_l2_v": None, "voltage_l3_v": None}
LOW = ALONE | {"voltage_l1_v": 200.0}
"""87 % of nominal: a warning by the rule that comes with the release, from below 90."""
BEGUN = NOON - HOUR
NEW = {
    "metric": "power_w",
    "above": True,
    "raise_at": 5000,
    "clear_at": 4500,
    "severity": "high",
    "category": "load",
    "window_min": 5,
}


def _set(
    world: World,
    rule: str,
    *,
    region: str | None = None,
    meter: int | None = None,
    at: datetime = BEGUN,
    **change: Any,
) -> int:
    query = "SELECT alert_rule_set(%s, %s, %s, %s, %s) AS id"
    [row] = world.rows(query, rule, region, meter, json.dumps(change), at)
    return int(row["id"])


def _end(
    world: World, rule: str, *, region: str | None = None, meter: int | None = None, at: datetime = NOON + HOUR
) -> int:
    [row] = world.rows("SELECT alert_rule_end(%s, %s, %s, %s) AS resolved", rule, region, meter, at)
    return int(row["resolved"])


def _refused(world: World, rule: str, **change: Any) -> tuple[str | None, str]:
    with pytest.raises(errors.Error) as refused:
        _set(world, rule, **change)
    return refused.value.sqlstate, f"{refused.value.diag.message_primary}; {refused.value.diag.message_hint}"


async def test_a_region_at_120_volts_and_60_hertz_has_rules_of_its_own(world: World) -> None:
    """The American standard: outside 114 to 126 V a warning, 110 to 127 V critical; as docs/alerts.md has it."""
    worse: dict[str, Any] = {"severity": "warning", "worse_severity": "critical"}
    _set(world, "under_voltage", region="north", raise_at=95, clear_at=96, worse_at=91.67)
    _set(world, "over_voltage", region="north", raise_at=105, clear_at=104, worse_at=105.83, **worse)
    _set(world, "under_frequency", region="north", raise_at=59.5, clear_at=59.55)
    _set(world, "over_frequency", region="north", raise_at=60.5, clear_at=60.45)
    volts = (109.9, 113.9, 114.1, 125.9, 126.1, 127.1)
    meters = world.meters(len(volts), nominal_voltage_v=120, phases=1)

    for meter, volt in zip(meters, volts, strict=True):
        await world.live([meter], NOON, 10, frequency_hz=60.0, **ALONE | {"voltage_l1_v": volt})

    assert world.alerts("rule, meter_id, severity") == [
        ("under_voltage", meters[0], "critical"),
        ("under_voltage", meters[1], "warning"),
        ("over_voltage", meters[4], "warning"),
        ("over_voltage", meters[5], "critical"),
    ]


async def test_a_rule_of_a_new_name_is_looked_for_without_new_code(world: World) -> None:
    _set(world, "feast", **NEW)
    [meter] = world.meters()

    await world.live([meter], NOON, 5, power_w=6000.0)

    assert world.alerts("rule, severity, value, threshold", "rule = 'feast'") == [("feast", "high", 6000, 5000)]


async def test_a_region_has_its_own_threshold_in_place_of_what_holds_for_all(world: World) -> None:
    _set(world, "under_voltage", region="north", raise_at=80, clear_at=81, worse_at=70)
    [meter] = world.meters()

    await world.live([meter], NOON, 10, **LOW)

    assert world.alerts(where="rule = 'under_voltage'") == []


async def test_a_meter_has_its_own_threshold_in_place_of_its_region_s(world: World) -> None:
    own, other = world.meters(2)
    _set(world, "under_voltage", region="north", raise_at=80, clear_at=81, worse_at=70)
    _set(world, "under_voltage", meter=own, raise_at=95, clear_at=96, worse_at=89)

    await world.live([own, other], NOON, 10, **LOW)

    assert world.alerts("meter_id, severity, threshold") == [(own, "critical", 95)]


async def test_what_was_in_force_stays_as_it_was(world: World) -> None:
    first = _set(world, "feast", **NEW)
    second = _set(world, "feast", raise_at=6000, clear_at=5500, at=NOON)

    versions = world.rows(
        "SELECT alert_rule_id, raise_at, lower(valid) AS since, nullif(upper(valid), 'infinity') AS until"
        " FROM alert_rules WHERE rule = 'feast' ORDER BY 1"
    )

    assert [(row["alert_rule_id"], row["raise_at"], row["since"]) for row in versions] == [
        (first, 5000, BEGUN),
        (second, 6000, NOON),
    ]
    assert versions[0]["until"] == NOON
    # What was not said stays.
    assert world.rows("SELECT severity, window_min FROM alert_rules WHERE alert_rule_id = %s", second) == [
        {"severity": "high", "window_min": 5}
    ]


async def test_the_same_again_is_no_new_version(world: World) -> None:
    first = _set(world, "feast", **NEW)

    assert _set(world, "feast", raise_at=5000, at=NOON) == first
    assert _set(world, "feast", at=NOON, **NEW) == first


async def test_what_is_open_goes_on_by_the_new_version(world: World) -> None:
    [meter] = world.meters()
    await world.live([meter], NOON, 10, **LOW)
    new = _set(world, "under_voltage", keep_s=0, at=NOON + 11 * MINUTE)

    await world.live([meter], NOON + 10 * MINUTE, 10, **ALONE)

    assert world.alerts("rule, state") == [("under_voltage", "resolved")]
    assert world.rows("SELECT * FROM alert_states") == []
    assert new


@pytest.mark.parametrize("how", ["disabled for all", "disabled for the region", "disabled for the meter", "ended"])
async def test_what_no_rule_looks_at_is_resolved_with_a_word(world: World, how: str) -> None:
    [meter] = world.meters()
    await world.live([meter], NOON, 10, **LOW)
    await world.tell(NOON + 11 * MINUTE)
    place: dict[str, Any] = {
        "disabled for the region": {"region": "north"},
        "disabled for the meter": {"meter": meter},
    }.get(how, {})

    if how == "ended":
        assert _end(world, "under_voltage") == 1
    else:
        _set(world, "under_voltage", enabled=False, at=NOON + HOUR, **place)

    assert world.alerts("state, resolved_at, resolved_by") == [("resolved", NOON + HOUR, None)]
    assert world.rows("SELECT * FROM alert_states") == []
    [event] = world.rows("SELECT text FROM alert_events WHERE kind = 'resolved'")
    assert event["text"] == "the rule ended"
    await world.tell(NOON + HOUR)
    assert [template for _, template, _ in world.messages()][-1] == "alert_resolved"


async def test_what_another_version_looks_at_stays_open(world: World) -> None:
    [meter] = world.meters()
    _set(world, "under_voltage", region="north", raise_at=92, clear_at=93, worse_at=80)
    await world.live([meter], NOON, 10, **LOW)

    assert _end(world, "under_voltage", region="north") == 0

    assert world.alerts("state") == [("firing",)]


async def test_an_override_goes_with_what_it_is_in_place_of(world: World) -> None:
    [meter] = world.meters()
    _set(world, "feast", **NEW)
    _set(world, "feast", meter=meter, raise_at=1, clear_at=0)

    _end(world, "feast")

    assert world.rows("SELECT 1 FROM alert_rules WHERE rule = 'feast' AND upper(valid) = 'infinity'") == []


async def test_who_ends_the_rule_of_silence_hears_no_more_of_it(world: World) -> None:
    meters = world.meters(2)
    world.readings(meters, NOON - MINUTE, NOON)
    await world.listen(NOON + 2 * MINUTE)
    assert world.alerts("state") != []

    _end(world, "no_data", at=NOON + 3 * MINUTE)
    await world.listen(NOON + 4 * MINUTE)

    assert world.alerts("state", "state <> 'resolved'") == []


@pytest.mark.parametrize(
    ("rule", "change", "state", "words"),
    [
        ("feast", {"raise_at": 1}, "SG113", "there is no rule feast that would say metric, above, clear_at, severity"),
        ("feast", NEW | {"metric": "smell"}, "SG113", "there is no metric smell; There are clock_off_s, day_energy_wh"),
        ("site_silent", NEW, "SG113", "site_silent is the name of alerts that stand for many; Give another name."),
        ("Feast", NEW, "SG113", "Feast is no name of a rule; Use lower-case letters"),
        ("hush", NEW | {"metric": "silent_intervals"}, "SG113", "silence is looked at by the rule no_data alone"),
        (
            "under_voltage",
            {"above": True},
            "SG113",
            "rule under_voltage is raised by voltage_percent, below; Keep both",
        ),
        ("under_voltage", {"metric": "power_w"}, "SG113", "rule under_voltage is raised by voltage_percent, below"),
        ("phase_loss", {"window_min": 5}, "SG113", "phase_lost_s is not measured over 5 minutes; Its window_min is 1."),
        ("consumption_drop", {"window_min": 45}, "SG113", "usage_percent is not measured over 45 minutes; Its"),
        ("stuck_value", {"window_min": 10}, "SG113", "stuck_power_w is not measured over 10 minutes; Its window_min"),
        ("region_overload", {"window_min": 30}, "SG113", "Its window_min is 15."),
        ("high_consumption", {"window_min": 20}, "SG113", "Its window_min is a multiple of 15."),
        (
            "phase_loss",
            {"min_load_percent": 20},
            "SG113",
            "the load is not known where phase_lost_s is measured; Leave",
        ),
        ("no_consumption", {"min_load_percent": 20}, "SG113", "the load is not known where idle_h is measured; Leave"),
        ("overload", {"rating_percent": 5}, "SG113", "load_percent is no power to compare with a rating; Leave"),
        (
            "no_data",
            {"for_s": 600},
            "SG113",
            "silence begins and ends by raise_at, and gets worse by worse_after_s; Leave",
        ),
        ("overload", {"worse_severity": "low"}, "SG113", "what is worse would be low, and not so bad as warning; Give"),
        ("reverse_power", {"tells_owner": True}, "SG113", "whose meter it is does not hear of tampering"),
        (
            "under_voltage",
            {"meter": 1, "window_min": 5},
            "SG113",
            "of a meter are those of its region; Leave them out.",
        ),
        ("region_overload", {"meter": 1}, "SG113", "region_load_percent is measured of a region, and not of a meter"),
        ("feast", {"meter": 1, "raise_at": 3}, "SG111", "there is no rule feast where the meter is; Set it for"),
        ("under_voltage", {"raise_at": 95}, "23514", "alert_rules_thresholds_in_order"),
    ],
)
async def test_a_rule_that_cannot_be_is_refused_with_what_to_do(
    world: World, rule: str, change: dict[str, Any], state: str, words: str
) -> None:
    world.meters()
    before = world.rows("SELECT count(*) FROM alert_rules")

    refused = _refused(world, rule, **change)

    assert refused[0] == state
    assert words in refused[1]
    assert world.rows("SELECT count(*) FROM alert_rules") == before


async def test_a_window_does_not_change_under_what_is_said_of_meters(world: World) -> None:
    [meter] = world.meters()
    _set(world, "under_voltage", meter=meter, raise_at=95, clear_at=96, worse_at=80)

    state, words = _refused(world, "under_voltage", window_min=5, at=NOON)

    assert (state, "MTR-00000001; End it there first." in words) == ("SG118", True)
    _end(world, "under_voltage", meter=meter, at=NOON)
    assert _set(world, "under_voltage", window_min=5, at=NOON + timedelta(seconds=1))


async def test_what_there_is_not_does_not_end(world: World) -> None:
    with pytest.raises(errors.Error) as refused:
        _end(world, "under_voltage", region="north")

    assert (refused.value.sqlstate, refused.value.diag.message_primary) == (
        "SG111",
        "there is no rule under_voltage of region north",
    )
