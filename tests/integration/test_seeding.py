"""A seeded data folder: the month is right to the watt-hour, there once, and whole after a kill in the middle of it."""

import asyncio
import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from cloud.db.queries import Queries
from cloud.identity.passwords import Passwords
from local import demo
from local.databases import Databases
from local.seeding.curve import QUARTER
from local.seeding.errors import SeedingError
from local.seeding.folder import GATEWAY, SeedFolder
from local.seeding.history import days
from local.seeding.plan import PEOPLE, meters
from local.seeding.seed import end, hand_out, seed, take_back
from local.servers import segs_home

pytestmark = pytest.mark.xdist_group("seeding")
DAYS = 2


def _home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("seeding")
    (home / "cache").symlink_to(segs_home() / "cache")
    return home


@pytest.fixture
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder of this test's own."""
    home = _home(tmp_path_factory)
    yield home
    Databases(home=home).server.stop()


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Databases]]:
    """A data folder that was seeded once."""
    home = _home(tmp_path_factory)
    databases = Databases(home=home)
    databases.start()
    try:
        books = seed(home=home, databases=databases, days=DAYS, say=print)
        assert books is not None
        yield home, databases
    finally:
        databases.server.stop()


def _state(databases: Databases) -> dict[str, object]:
    """How much there is of everything."""
    tables = {
        "domain": (
            "users",
            "meters",
            "devices",
            "meter_owners",
            "meter_exchanges",
            "region_capacities",
            "gateway_keys",
        ),
        "telemetry": ("ingest_batches", "raw_readings", "aggregates_1m", "aggregates_15m", "regional_15m"),
    }
    found: dict[str, object] = {}
    for database, names in tables.items():
        with psycopg.connect(databases.dsn(database)) as connection:
            for name in names:
                found[name] = connection.execute(f"SELECT count(*) FROM {name}").fetchone()  # type: ignore[arg-type]
    return found


def _ask(databases: Databases, database: str, query: str, *parameters: object) -> list[tuple[object, ...]]:
    with psycopg.connect(databases.dsn(database)) as connection:
        return connection.execute(query, parameters).fetchall()  # type: ignore[arg-type]


def test_registers_are_the_sum_of_intervals_for_each_meter(seeded: tuple[Path, Databases]) -> None:
    """By statements of this test's own: the meter's registers as they were told, days as the API sums them."""
    home, databases = seeded
    note = SeedFolder(home).note
    assert note is not None
    made_up = meters(begin=note.begin, quarters=note.quarters, seed=note.seed)
    for meter in made_up:
        found = _ask(
            databases,
            "telemetry",
            "SELECT sum(i.energy_import_wh)::bigint, coalesce(sum(i.energy_export_wh), 0)::bigint, max(i.quality),"
            " sum(i.missing)"
            " FROM device_registry AS d JOIN gateway_registry AS g USING (gateway_id)"
            " CROSS JOIN LATERAL intervals(ARRAY[d.meter_id], %s, %s, '1h') AS i WHERE g.name = %s AND d.device = %s",
            note.begin,
            note.begin + note.quarters * QUARTER,
            GATEWAY,
            meter.device,
        )
        assert found == [(*meter.moved_wh, 14, 0)], meter.device
        assert meter.moved_wh[0] > 1000


def test_nothing_is_seeded_twice(seeded: tuple[Path, Databases]) -> None:
    home, databases = seeded
    before, people = _state(databases), SeedFolder(home).people.read_text()
    assert seed(home=home, databases=databases, days=DAYS, say=print) is None
    assert (_state(databases), SeedFolder(home).people.read_text()) == (before, people)


def test_without_its_file_of_passwords_nothing_is_seeded_either(seeded: tuple[Path, Databases]) -> None:
    home, databases = seeded
    before, said = _state(databases), list[str]()
    (home / "seed").rename(home / "elsewhere")
    try:
        assert seed(home=home, databases=databases, days=DAYS, say=said.append) is None
    finally:
        (home / "elsewhere").rename(home / "seed")
    assert _state(databases) == before
    assert "which is gone" in said[0]


def test_everybody_can_log_in_with_the_password_of_the_file_and_with_no_other(seeded: tuple[Path, Databases]) -> None:
    home, databases = seeded
    found = dict(_ask(databases, "domain", "SELECT email, password_hash FROM users"))
    with SeedFolder(home).people.open(newline="") as file:
        told = {row["email"]: row["password"] for row in csv.DictReader(file)}
    assert told.keys() == found.keys() == {one.email for one in PEOPLE}

    async def verdicts() -> list[bool]:
        with Passwords() as passwords:
            right = [(await passwords.verify(told[email], str(hashed))).right for email, hashed in found.items()]
            crossed = await passwords.verify(told["user1@example.org"], str(found["admin@example.org"]))
            return [*right, not crossed.right]

    assert all(asyncio.run(verdicts()))


def test_an_operator_has_one_region_and_a_tenant_sees_nothing_of_the_one_before(
    seeded: tuple[Path, Databases],
) -> None:
    _, databases = seeded
    regions = (
        "SELECT u.email, array_agg(r.region) FROM users AS u JOIN operator_regions AS r USING (user_id) GROUP BY 1"
    )
    assert _ask(databases, "domain", regions) == [("operator@example.org", ["south"])]
    [(spans, touching)] = _ask(
        databases,
        "domain",
        "SELECT count(*), min(upper(valid)) = max(lower(valid)) FROM meter_owners"
        " WHERE meter_id IN (SELECT meter_id FROM meter_owners GROUP BY 1 HAVING count(DISTINCT user_id) > 1)",
    )
    assert (spans, touching) == (2, True)


def test_nothing_is_left_to_do_and_nothing_more_expected_of_the_history(seeded: tuple[Path, Databases]) -> None:
    _, databases = seeded
    for table in ("dirty_meters", "failed_marks", "quarantine"):
        assert _ask(databases, "telemetry", f"SELECT count(*) FROM {table}") == [(0,)], table
    live = "SELECT count(*) FROM device_registry WHERE upper(valid) = 'infinity'"
    assert _ask(databases, "telemetry", live) == [(0,)]
    regions = (
        "SELECT count(DISTINCT region), bool_and(meters = 8) FROM regional_15m WHERE meters > 0 AND coverage = 100"
    )
    assert _ask(databases, "telemetry", regions) == [(3, True)]


def test_live_meters_are_the_peoples_while_they_are_read(seeded: tuple[Path, Databases]) -> None:
    _, databases = seeded
    held = (
        "SELECT u.email FROM meter_owners AS o JOIN users AS u USING (user_id) JOIN devices AS d USING (meter_id)"
        " JOIN gateways AS g USING (gateway_id) WHERE g.name = 'live' AND upper(o.valid) = 'infinity' ORDER BY 1"
    )
    with psycopg.connect(databases.dsn("domain")) as domain:
        domain.execute("SELECT gateway_add('live', sha256('live'), now())")
        for number in range(7):
            domain.execute(
                "SELECT device_register('live', %s, 'north', NULL, NULL, NULL, 1000, NULL, now())", [f"m{number}"]
            )

    hand_out(databases, "live")
    assert [email for (email,) in _ask(databases, "domain", held)] == sorted(
        ["user1@example.org", *(one.email for one in PEOPLE if one.role == "USER")]
    )

    take_back(databases, "live")
    assert _ask(databases, "domain", held) == []


def test_what_earlier_demos_have_left_is_read_by_nothing_any_more(seeded: tuple[Path, Databases]) -> None:
    _, databases = seeded
    with psycopg.connect(databases.dsn("domain")) as domain:
        for name in ("demo-20260601-120000", "demo-20260602-120000", "demo-roof"):
            domain.execute("SELECT gateway_add(%s, sha256(%s::bytea), now())", [name, name])
            domain.execute("SELECT device_register(%s, 'm', 'north', NULL, NULL, NULL, 1000, NULL, now())", [name])
    hand_out(databases, "demo-20260602-120000")

    end(databases, demo._GATEWAYS)

    reads = (
        "SELECT g.name, o.user_id FROM gateways AS g JOIN devices AS d USING (gateway_id)"
        " LEFT JOIN meter_owners AS o ON o.meter_id = d.meter_id AND upper(o.valid) = 'infinity'"
        " WHERE d.device = 'm' AND upper({}.valid) = 'infinity'"
    )
    assert _ask(databases, "domain", reads.format("d")) == [("demo-roof", None)]
    assert _ask(databases, "domain", reads.format("o")) == []


@pytest.mark.long
@pytest.mark.timeout(240)
def test_a_kill_in_the_middle_of_the_month_costs_nothing(fresh: Path) -> None:
    """Nothing is delivered twice, nobody has another password, and the books are right."""
    databases = Databases(home=fresh)
    databases.start()
    command = [sys.executable, "-m", "local", "seed", "--days", "4"]
    first = subprocess.Popen(command, env=os.environ | {"SEGS_HOME": str(fresh)}, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while _ask(databases, "telemetry", "SELECT count(*) FROM ingest_batches") < [(2,)]:
        assert first.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=60)
    people = SeedFolder(fresh).people.read_text()

    done = subprocess.run(
        command, env=os.environ | {"SEGS_HOME": str(fresh)}, capture_output=True, text=True, check=False, timeout=180
    )

    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    note = SeedFolder(fresh).note
    assert note is not None
    assert (said["seeded"], said["meters"], said["energy_error_wh"], said["quarantined"]) == (True, 24, 0, 0)
    assert SeedFolder(fresh).people.read_text() == people
    readings = "SELECT count(*), sum(stored)::bigint, sum(duplicates)::bigint FROM ingest_batches"
    assert _ask(databases, "telemetry", readings) == [(len([*days(note)]), 24 * (note.quarters + 1), 0)]


def test_beside_a_worker_of_the_present_nothing_is_begun(fresh: Path) -> None:
    databases = Databases(home=fresh)
    databases.start()
    before = _state(databases)
    with (
        psycopg.connect(databases.dsn("telemetry"), application_name="segs-worker"),
        pytest.raises(SeedingError, match="segs stop"),
    ):
        seed(home=fresh, databases=databases, days=1, say=print)
    assert _state(databases) == before
    assert not (fresh / "seed").exists()


def test_of_other_meters_rules_go_on_to_look_at_what_was_marked(telemetry_db: str) -> None:
    with psycopg.connect(telemetry_db) as telemetry:
        telemetry.execute("INSERT INTO gateway_registry (gateway_id, name) VALUES (1, %s), (2, 'other')", [GATEWAY])
        telemetry.execute("INSERT INTO region_registry (region) VALUES ('north')")
        telemetry.execute(
            "INSERT INTO device_registry (gateway_id, device, meter_id, meter_code, region, timezone, interval_ms)"
            " SELECT 1 + n / 3, 'd' || n, n, 'MTR-0000000' || n, 'north', 'UTC', 60000 FROM generate_series(1, 4) AS n"
        )
        telemetry.execute(
            "INSERT INTO dirty_alerts (step_min, block, meters, first_bucket, last_bucket, due_at)"
            " SELECT 1, 0, m::integer[], now(), now(), now() FROM unnest(ARRAY['{1,2}', '{2,3}', '{3,4}', '{2}']) AS m"
        )

        telemetry.execute(Queries("seeding")["forget_alerts"], {"gateway": GATEWAY})

        left = telemetry.execute("SELECT meters FROM dirty_alerts ORDER BY dirty_id").fetchall()
        assert left == [([3],), ([3, 4],)]
