"""`segs-cloud alerts`: listed, taken on and closed in somebody's name; rules and maintenance are set and ended."""

import json
import re
import subprocess
from collections.abc import Callable

import psycopg
import pytest

from tests.integration.conftest import SegsCloud

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(segs_cloud: SegsCloud) -> Run:
    return lambda *arguments: segs_cloud("alerts", *arguments)


@pytest.fixture
def alerts(domain_db: str) -> list[int]:
    """Two open ones of two meters in the north, and an operator ops@example.org."""
    with psycopg.connect(domain_db, autocommit=True) as domain:
        domain.execute(
            "INSERT INTO regions (region, name, timezone) VALUES ('north', 'North', 'UTC'), ('south', 'South', 'UTC');"
            "INSERT INTO users (email, name, role) VALUES ('ops@example.org', 'Ops', 'OPERATOR'),"
            " ('ada@example.org', 'Ada', 'USER'), ('south@example.org', 'South', 'OPERATOR');"
            "INSERT INTO operator_regions (user_id, region) VALUES (1, 'north');"
            "INSERT INTO meters (site) VALUES ('mill'), (NULL);"
            "INSERT INTO meter_locations (meter_id, region, timezone) VALUES (1, 'north', 'UTC'), (2, 'north', 'UTC');"
            "INSERT INTO alerts (meter_id, rule, category, severity, state, message, started_at, fired_at, phase)"
            " VALUES (1, 'under_voltage', 'supply', 'critical', 'firing', 'Low', '2026-06-10T12:00Z',"
            " '2026-06-10T12:10Z', 1), (2, 'overload', 'load', 'warning', 'firing', 'Much', '2026-06-11T12:00Z',"
            " '2026-06-11T12:15Z', 0);"
        )
    return [1, 2]


def test_alerts_are_listed_by_what_they_are_about(run: Run, alerts: list[int]) -> None:
    def listed(*options: str) -> list[int]:
        return [one["alert_id"] for one in json.loads(run("list", "--json", *options).stdout)]

    assert listed() == [2, 1]
    assert listed("--severity", "high") == listed("--site", "mill") == listed("--rule", "under_voltage") == [1]
    assert listed("--meter", "MTR-00000002") == listed("--from", "2026-06-11T00:00Z") == [2]
    assert listed("--region", "south") == []
    lines = run("list").stdout.splitlines()
    assert lines[0] == "2 alerts"
    assert lines[3].split()[:7] == ["1", "critical", "firing", "under_voltage", "MTR-00000001,", "phase", "1"]
    assert lines[3].split()[7:] == ["2026-06-10T12:00:00Z", "-", "Low"]


@pytest.mark.parametrize(
    ("option", "typo", "status", "told"),
    [
        ("--region", "sout", 1, "there is no region sout; there are north, south"),
        ("--site", "mil", 1, "there is no site mil; there is mill"),
        ("--gateway", "attik", 1, "there is no gateway attik; there is none yet"),
        ("--meter", "MTR-1", 1, "there is no meter MTR-1; segs-cloud meter list names them"),
        ("--rule", "nodata", 1, "there is no rule nodata; there are consumption_drop, consumption_spike, "),
        ("--severity", "hihg", 2, "'hihg' is not one of 'low', 'medium', 'warning', 'high', 'critical'"),
        ("--category", "suply", 2, "'suply' is not one of 'supply', 'load', 'consumption', 'tamper', 'data'"),
    ],
)
def test_what_there_is_none_of_is_no_list_without_alerts(
    run: Run, alerts: list[int], option: str, typo: str, status: int, told: str
) -> None:
    """A typo that finds nothing looks as if all were well."""
    refused = run("list", option, typo)

    assert (refused.returncode, refused.stdout) == (status, "")
    assert told in " ".join(refused.stderr.split())


def test_rules_that_there_are_have_lists_without_alerts(run: Run, alerts: list[int]) -> None:
    """The rule of alerts that stand for many is one too."""
    for rule in ("no_data", "region_silent"):
        listed = run("list", "--rule", rule, "--json")
        assert (listed.returncode, json.loads(listed.stdout)) == (0, [])
    refused = run("rules", "list", "--rule", "bussy")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("segs-cloud: there is no rule bussy; there are consumption_drop, ")


def test_alerts_are_taken_on_and_closed_in_the_name_of_an_operator(run: Run, alerts: list[int], domain_db: str) -> None:
    """D13: the log has who typed it, and the alert who is said to look after it."""
    taken = run("acknowledge", "1", "--as", "ops@example.org", "--note", "On the way")
    assert (taken.returncode, taken.stderr) == (0, "alert 1 is taken on.\n")
    closed = run("close", "1", "2", "77", "--as", "ops@example.org")
    assert (closed.returncode, closed.stderr) == (
        1,
        "alert 1 is closed.\nalert 2 is closed.\nalert 77 is not there, or not looked after by ops@example.org.\n",
    )
    assert json.loads(run("list", "--json").stdout) == []
    late = run("close", "1", "--as", "ops@example.org", "--note", "A fuse")
    assert (late.returncode, late.stderr) == (0, "alert 1 was over already; the note is kept as a comment.\n")
    assert run("close", "1", "--as", "ops@example.org").stderr == "alert 1 was over already.\n"
    shown = json.loads(run("show", "1", "--json").stdout)
    assert [(one["kind"], one["user_id"], one["text"]) for one in shown["events"]] == [
        ("acknowledged", 1, "On the way"),
        ("closed", 1, None),
        ("commented", 1, "A fuse"),
    ]
    told = run("show", "1").stdout
    assert "of MTR-00000001, critical, resolved, by the rule under_voltage, since 2026-06-10T12:00:00Z\n" in told
    with psycopg.connect(domain_db) as domain:
        [(actor,)] = domain.execute(
            "SELECT DISTINCT actor FROM audit_logs WHERE table_name = 'alert_events'"
        ).fetchall()
    assert actor.startswith("segs-cloud:")


def test_in_the_name_of_an_operator_that_is_done_which_they_might_do(run: Run, alerts: list[int]) -> None:
    for action in ("acknowledge", "close"):
        refused = run(action, "1", "--as", "south@example.org")
        assert refused.returncode == 1
        assert refused.stderr == "alert 1 is not there, or not looked after by south@example.org.\n"
    shown = json.loads(run("show", "1", "--json").stdout)
    assert (shown["state"], shown["events"]) == ("firing", [])


@pytest.mark.parametrize("email", ["ada@example.org", "nobody@example.org"])
def test_nobody_else_takes_an_alert_on(run: Run, alerts: list[int], email: str) -> None:
    refused = run("acknowledge", "1", "--as", email)

    assert (refused.returncode, refused.stderr) == (
        1,
        f"segs-cloud: there is no operator or admin {email}; segs-cloud user list names them\n",
    )
    unknown = run("show", "9")
    assert (unknown.returncode, unknown.stderr) == (
        1,
        "segs-cloud: there is no alert 9; segs-cloud alerts list names them\n",
    )


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("raise_at=banana", "raise_at is a number, or null for none, and not 'banana'"),
        ("for_s=true", "for_s is a number, or null for none, and not 'true'"),
        ("clear_at=NaN", "clear_at is a number, or null for none, and not 'NaN'"),
        ("enabled=yes", "enabled is true or false, and not 'yes'"),
        ("raise=3", "'raise=3' says nothing of a rule"),
        ("raise_at=1e99", "raise_at is at most 1e15, above 0 and below, and not '1e99'"),
        ("clear_at=-1e99", "clear_at is at most 1e15, above 0 and below, and not '-1e99'"),
    ],
)
def test_what_a_rule_cannot_have_is_told_by_its_key(run: Run, alerts: list[int], said: str, told: str) -> None:
    refused = run("rules", "set", "overload", said)

    assert refused.returncode == 2
    assert told in " ".join(refused.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    ("rule", "said", "told"),
    [
        ("overload", "severity=huge", "severity is low, medium, warning, high or critical"),
        ("overload", "worse_severity=huge", "worse_severity is low, medium, warning, high or critical"),
        ("overload", "category=nonsense", "category is supply, load, consumption, tamper or data"),
        ("overload", "window_min=0", "window_min is a part of a day, in minutes: 1, 5, 10, 15, 60"),
        ("no_data", "worse_after_s=0", "worse_after_s is above 0, in s; null for none"),
        ("low_power_factor", "min_load_percent=500", "min_load_percent is above 0, and at most 100; null for none"),
        ("reverse_power", "rating_percent=500", "rating_percent is above 0, and at most 100; null for none"),
    ],
)
def test_what_no_rule_can_have_is_told_before_what_single_meters_have(
    run: Run, alerts: list[int], rule: str, said: str, told: str
) -> None:
    own = run("rules", "set", rule, "keep_s=1000" if rule != "no_data" else "hold_s=60", "--meter", "MTR-00000001")
    assert own.returncode == 0, own.stderr

    refused = run("rules", "set", rule, said)

    assert (refused.returncode, refused.stderr) == (1, f"segs-cloud: {told}\n")


def test_what_single_meters_have_stands_against_another_window(run: Run, alerts: list[int]) -> None:
    assert run("rules", "set", "overload", "raise_at=85", "--meter", "MTR-00000001").returncode == 0

    refused = run("rules", "set", "overload", "window_min=30")

    assert (refused.returncode, refused.stderr) == (
        1,
        "segs-cloud: meters have this rule for themselves, with other window_min, min_load_percent or rating_percent:"
        " MTR-00000001; end it there first\n",
    )
    [listed] = json.loads(run("rules", "list", "--rule", "overload", "--json").stdout)[:1]
    assert listed["window_min"] == 15


def test_rules_are_set_and_ended(run: Run, alerts: list[int]) -> None:
    new = ("metric=power_w", "above=true", "raise_at=5000", "clear_at=4500", "severity=high", "category=load")
    assert run("rules", "set", "feast", *new, "window_min=5").stderr == "feast holds from now on for all.\n"
    told = run("rules", "set", "feast", "raise_at=7000", "--meter", "MTR-00000001")
    assert told.stderr == "feast holds from now on for MTR-00000001.\n"

    listed = json.loads(run("rules", "list", "--rule", "feast", "--json").stdout)
    assert [(one["meter"], one["raise_at"], one["clear_at"]) for one in listed] == [
        (None, 5000, 4500),
        ("MTR-00000001", 7000, 4500),
    ]
    assert "power_w > 7000 W" in run("rules", "list", "--rule", "feast").stdout
    for change, who in (
        ("tells_owner=true", "owner, operators"),
        ("tells_operators=false", "owner"),
        ("tells_owner=false", "nobody"),
    ):
        assert run("rules", "set", "feast", change).returncode == 0
        lines = run("rules", "list", "--rule", "feast").stdout.splitlines()
        assert re.split(r"\s{2,}", lines[1])[6] == "tells"
        [here] = [line for line in lines if re.match(r"feast +all ", line)]
        assert re.split(r"\s{2,}", here)[6] == who
    ended = run("rules", "end", "feast")
    assert ended.stderr == "feast ended for all; alerts resolved: 0.\n"
    assert json.loads(run("rules", "list", "--rule", "feast", "--json").stdout) == []
    again = run("rules", "end", "feast")
    assert (again.returncode, again.stderr) == (
        1,
        "segs-cloud: there is no rule feast for all; segs-cloud alerts rules list names them, and where they hold\n",
    )


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (
            ("under_voltage", "colour=red"),
            2,
            "'colour=red' says nothing of a rule; write KEY=VALUE, with one of metric",
        ),
        (("under_voltage", "raise_at"), 2, "'raise_at' says nothing of a rule"),
        (("under_voltage", "raise_at=95"), 1, "raise_at is between clear_at and worse_at"),
        (("under_voltage", "raise_at=high"), 2, "raise_at is a number, or null for none, and not 'high'"),
        (("under_voltage", "enabled=false", "--region", "north", "--meter", "M"), 2, "give --region or --meter"),
        (("under_voltage", "enabled=false", "--region", "nowhere"), 1, "there is no region nowhere; there is none yet"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(run: Run, arguments: tuple[str, ...], status: int, words: str) -> None:
    refused = run("rules", "set", *arguments)

    assert refused.returncode == status
    assert words in " ".join(refused.stderr.split())


def test_maintenance_is_told_and_ended(run: Run, alerts: list[int]) -> None:
    made = run("maintenance", "add", "--site", "mill", "--until", "2999-01-01T00:00Z", "--reason", "New roof")
    assert (made.stdout, made.stderr) == ("1\n", "Nobody is told until 2999-01-01T00:00:00Z.\n")
    [listed] = json.loads(run("maintenance", "list", "--json").stdout)
    assert (listed["site"], listed["until"], listed["reason"]) == ("mill", "2999-01-01T00:00:00Z", "New roof")
    assert "site mill" in run("maintenance", "list").stdout
    assert run("maintenance", "end", "1").stderr == "Maintenance window 1 ended.\n"
    assert json.loads(run("maintenance", "list", "--json").stdout) == []
    assert len(json.loads(run("maintenance", "list", "--history", "--json").stdout)) == 1
    assert run("maintenance", "end", "1").returncode == run("maintenance", "end", "2").returncode == 1
    both = run("maintenance", "add", "--site", "x", "--region", "y", "--until", "2999-01-01T00:00Z", "--reason", "z")
    assert both.returncode == 2
    unknown = run("maintenance", "add", "--site", "x", "--until", "2999-01-01T00:00Z", "--reason", "z")
    assert (unknown.returncode, unknown.stderr) == (1, "segs-cloud: there is no meter of site x; there is mill\n")


@pytest.mark.parametrize(
    "command",
    [
        ("maintenance", "add", "--until", "2999-01-01T00:00Z", "--reason", "x"),
        ("rules", "set", "overload", "raise_at=85"),
        ("rules", "end", "overload"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_who_names_no_region_or_meter_is_told_those_that_there_are(
    run: Run, alerts: list[int], command: tuple[str, ...]
) -> None:
    region, meter = run(*command, "--region", "nroth"), run(*command, "--meter", "MTR-9")

    assert (region.returncode, meter.returncode) == (1, 1)
    assert region.stderr == "segs-cloud: there is no region nroth; there are north, south\n"
    assert meter.stderr == "segs-cloud: there is no meter MTR-9; segs-cloud meter list names them\n"


def test_what_alerts_have_to_know_of_a_connection_is_said_of_the_meter(
    segs_cloud: SegsCloud, alerts: list[int]
) -> None:
    said = ("--phases", "1,3", "--nominal-voltage-v", "120", "--rated-power-w", "17250", "--exports", "--site", "barn")
    told = segs_cloud("meter", "connection", "MTR-00000001", *said)
    known = "nominal 120 V, phases 1,3, rated 17250 W, feeds in, site barn"
    assert (told.returncode, told.stderr) == (0, f"MTR-00000001: {known}.\n")
    assert segs_cloud("meter", "connection", "MTR-00000001", "--no-exports").returncode == 0

    shown = json.loads(segs_cloud("meter", "show", "MTR-00000001", "--json").stdout)
    assert [shown[name] for name in ("phases", "nominal_voltage_v", "rated_power_w", "exports", "site")] == [
        5,
        120,
        17250,
        False,
        "barn",
    ]
    assert "phases those that had voltage, of unknown rating" in segs_cloud("meter", "show", "MTR-00000002").stdout
    for arguments in (("--phases", "4"), ("--phases", "1,1"), ("--rated-power-w", "0"), ()):
        assert segs_cloud("meter", "connection", "MTR-00000001", *arguments).returncode == 2
    assert segs_cloud("meter", "connection", "MTR-00000009", "--exports").returncode == 1
