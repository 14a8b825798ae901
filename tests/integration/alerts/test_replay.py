"""Replaying rules over history says what they would have raised, and is no alert itself."""

import json

import pytest
from typer.testing import CliRunner

from cloud.alerts.cli import app
from cloud.alerts.replay import Episode, ReplayError, Trial, replay
from tests.integration.alerts.conftest import HOUR, MINUTE, NOON, World

REVERSE = {"power_w": -200.0}


def told(world: World, **asked: object) -> list[Episode]:
    found = {"since": NOON, "until": NOON + 2 * HOUR} | asked
    return list(replay(world.domain, world.telemetry, **found))  # type: ignore[arg-type]


@pytest.fixture
def meter(world: World) -> int:
    [meter] = world.meters(exports=False, phases=1)
    for first, count, values in (
        (0, 20, {}),
        (20, 10, REVERSE),
        (30, 10, {}),
        (40, 10, {"voltage_l1_v": 200.0}),
        (50, 20, {}),
        (70, 50, REVERSE),
    ):
        world.minutes([meter], NOON + first * MINUTE, count, mark=False, **values)
    return meter


def test_it_tells_what_would_have_been(world: World, meter: int) -> None:
    found = [(one.rule, one.phase, one.severity, one.started_at, one.resolved_at, one.worst) for one in told(world)]

    assert found == [
        ("reverse_power", 0, "high", NOON + 20 * MINUTE, NOON + 35 * MINUTE, 200),
        ("under_voltage", 1, "warning", NOON + 40 * MINUTE, NOON + 60 * MINUTE, pytest.approx(86.96, abs=0.01)),
        ("reverse_power", 0, "high", NOON + 70 * MINUTE, None, 200),
    ]


async def test_it_tells_what_was_told_when_it_happened(world: World) -> None:
    """One definition of when an alert begins and ends: minute by minute, and over all of it at once."""
    [meter] = world.meters(exports=False)
    at = NOON
    for minutes, values in ((3, REVERSE), (2, {}), (6, REVERSE), (3, {}), (4, REVERSE), (7, {}), (5, REVERSE)):
        at = await world.live([meter], at, minutes, **values)

    live = world.alerts("rule, started_at, fired_at, resolved_at")
    assert [(one.rule, one.started_at, one.fired_at, one.resolved_at) for one in told(world, until=at)] == live
    assert len(live) == 2


async def test_gaps_and_what_is_neither_over_nor_beyond_are_replayed_as_they_were_told(world: World) -> None:
    """Two meters, of which one has nothing, rules of one metric, and windows of one and of ten minutes."""
    [meter, calm] = world.meters(2, phases=1)
    at = NOON
    low, high, near = {"voltage_l1_v": 190.0}, {"frequency_hz": 50.7}, {"frequency_hz": 50.47}
    for minutes, pause, values in (
        (4, 0, high),
        (2, 0, near),
        (1, 3, {}),
        (2, 0, near),
        (20, 0, low),
        (10, 12, {}),
        (3, 0, high),
        (20, 0, {}),
    ):
        await world.live([calm], at, minutes)
        at = await world.live([meter], at, minutes, **values) + pause * MINUTE

    live = world.alerts("rule, meter_id, phase, started_at, fired_at, resolved_at")
    codes = {f"MTR-{number:08}": number for number in (meter, calm)}
    found = [
        (one.rule, codes[one.meter], one.phase, one.started_at, one.fired_at, one.resolved_at)
        for one in told(world, until=at)
    ]
    assert sorted(found) == sorted(live)
    assert [row[0] for row in sorted(live)] == ["over_frequency", "over_frequency", "under_voltage"]


def test_other_thresholds_and_times_can_be_tried(world: World, meter: int) -> None:
    lower = told(world, trials={"under_voltage": Trial(raise_at=80)}, only=["under_voltage"])
    longer = told(world, trials={"reverse_power": Trial(for_s=1800)}, only=["reverse_power"])
    never = told(world, trials={"reverse_power": Trial(raise_at=500)}, only=["reverse_power"])

    assert (lower, never) == ([], [])
    assert [one.started_at for one in longer] == [NOON + 70 * MINUTE]


def test_it_leaves_no_trace(world: World, meter: int) -> None:
    told(world)

    for table in ("alerts", "alert_states", "alert_events", "outbox"):
        assert world.rows(f"SELECT FROM {table}") == []
    assert world.telemetry.execute("SELECT FROM meter_phases").fetchall() == []


def test_what_is_not_there_is_named(world: World, meter: int) -> None:
    with pytest.raises(
        ReplayError, match="there is no rule hum of minutes or quarter-hours; there are consumption_drop, "
    ):
        told(world, only=["hum"])
    with pytest.raises(ReplayError, match="there is no meter MTR-00000099"):
        told(world, meters=["MTR-00000099"])


def test_the_command_tells_it_and_tries_other_thresholds(
    world: World, meter: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGS_DOMAIN_DSN", world.domain_dsn)
    monkeypatch.setenv("SEGS_TELEMETRY_DSN", world.telemetry_dsn)
    span = ["replay", "--from", NOON.isoformat(), "--to", (NOON + 2 * HOUR).isoformat()]

    plain = json.loads(CliRunner().invoke(app, [*span, "--json"]).stdout)
    tried = CliRunner().invoke(app, [*span, "--rule", "under_voltage", "--raise-at", "80", "--json"])
    vague = CliRunner().invoke(app, [*span, "--raise-at", "80"])

    assert [one["rule"] for one in plain] == ["reverse_power", "under_voltage", "reverse_power"]
    assert json.loads(tried.stdout) == []
    assert vague.exit_code == 2


def test_meters_that_nothing_looks_at_hide_no_others(world: World, meter: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are out of use come first, and are looked at by themselves."""
    [gone] = world.meters(exports=False, phases=1)
    world.do("UPDATE meters SET status = 'decommissioned' WHERE meter_id = %s", meter)
    world.minutes([gone], NOON, 20, mark=False, **REVERSE)
    monkeypatch.setattr("cloud.alerts.replay._MOST_BUCKETS", 1)

    assert [(one.rule, one.meter) for one in told(world)] == [("reverse_power", f"MTR-{gone:08}")]


def test_what_is_not_beyond_the_threshold_that_is_tried_is_not_worse_either(world: World) -> None:
    """87 % is below the old threshold of what is worse, 83 % below that, and neither below 80 %; 74 % is."""
    [meter] = world.meters(phases=1)
    for first, volts in ((0, 200.0), (30, 190.0), (60, 170.0)):
        world.minutes([meter], NOON + first * MINUTE, 20, mark=False, voltage_l1_v=volts)
        world.minutes([meter], NOON + (first + 20) * MINUTE, 10, mark=False)

    found = told(world, trials={"under_voltage": Trial(raise_at=80)})

    assert [(one.severity, one.started_at) for one in found] == [("warning", NOON + 60 * MINUTE)]
