"""`segs-cloud gateway`: keys are shown once, registrations reach the receivers, mistakes are told with their place."""

import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from psycopg.types.json import Jsonb

from cloud.db.queries import Queries
from cloud.gateways.key import Key
from cloud.registry_copy import copy_registry
from contract.report import BacklogReport, BufferReport, ClockReport, GivenUp, Report
from tests.integration.conftest import SegsCloud

Run = Callable[..., subprocess.CompletedProcess[str]]
HEADING = "device,model,region,interval_ms\n"


@pytest.fixture
def run(segs_cloud: SegsCloud) -> Run:
    """Runs segs-cloud gateway."""
    return lambda *arguments: segs_cloud("gateway", *arguments)


def rows(dsn: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        return connection.execute(query).fetchall()


def test_a_key_is_shown_once_and_only_its_hash_is_stored(run: Run, domain_db: str, telemetry_db: str) -> None:
    """D10: secrets stored in plain text."""
    key = Key(run("add", "attic").stdout.strip())

    assert key.text.startswith("segs_")
    assert len(key.text) == 48
    assert rows(telemetry_db, "SELECT name, key_hashes FROM gateway_registry") == [("attic", [key.digest])]
    for dsn in (domain_db, telemetry_db):
        tables = rows(dsn, "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
        for (table,) in tables:
            assert key.text not in str(rows(dsn, f'SELECT to_jsonb(t) FROM "{table}" AS t'))


def test_a_key_file_is_private_and_never_overwritten(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "gateway.key"
    assert run("add", "attic", "--key-file", str(file)).returncode == 0

    again = run("key-add", "attic", "--key-file", str(file))

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert again.returncode == 1
    assert "gateway.key" in again.stderr
    assert "Traceback" not in again.stderr


def test_a_failed_add_leaves_no_key_file(run: Run, tmp_path: Path) -> None:
    run("add", "attic")

    again = run("add", "attic", "--key-file", str(tmp_path / "second.key"))

    assert again.returncode == 1
    assert "there is a gateway attic already" in again.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_key_is_not_lost_when_the_telemetry_database_is_away(
    run: Run, domain_db: str, telemetry_db: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway is there, and its key works as soon as a worker has copied it."""
    file = tmp_path / "gateway.key"
    with psycopg.connect(telemetry_db) as blocker:
        blocker.execute("LOCK TABLE gateway_registry")
        monkeypatch.setenv("PGOPTIONS", "-c lock_timeout=100")
        shown, kept = run("add", "attic"), run("add", "cellar", "--key-file", str(file))

    assert [shown.returncode, kept.returncode] == [1, 1]
    keys = [Key(shown.stdout.strip()), Key(file.read_text().strip())]
    with psycopg.connect(domain_db) as domain, psycopg.connect(telemetry_db) as telemetry:
        copy_registry(domain, telemetry)
    query = "SELECT key_hashes FROM gateway_registry ORDER BY name"
    assert rows(telemetry_db, query) == [([key.digest],) for key in keys]


def test_rotation_has_no_gap(run: Run, telemetry_db: str) -> None:
    first = Key(run("add", "attic").stdout.strip())
    second = Key(run("key-add", "attic").stdout.strip())
    assert rows(telemetry_db, "SELECT key_hashes FROM gateway_registry") == [([first.digest, second.digest],)]

    (listed,) = json.loads(run("list", "--json").stdout)
    revoked = run("key-revoke", "attic", str(listed["keys"][0]))

    assert revoked.returncode == 0
    assert rows(telemetry_db, "SELECT key_hashes FROM gateway_registry") == [([second.digest],)]
    assert run("key-revoke", "attic", str(listed["keys"][0])).returncode == 1


def test_a_file_of_devices_is_registered_once(run: Run, telemetry_db: str, tmp_path: Path) -> None:
    run("add", "attic")
    file = tmp_path / "devices.csv"
    file.write_text("device,model,interval_ms\nmain,eastron-sdm630,1000\nplug/2,tasmota,10000\n")

    first = run("device", "import", "attic", str(file), "--region", "north", "--timezone", "Europe/Berlin")
    second = run("device", "import", "attic", str(file), "--region", "north")

    assert first.stdout.splitlines() == ["main MTR-00000001", "plug/2 MTR-00000002"]
    assert (second.stdout, second.stderr.strip()) == ("", "0 registered, 2 were registered already")
    query = "SELECT device, meter_id, region, timezone, interval_ms FROM device_registry ORDER BY meter_id"
    assert rows(telemetry_db, query) == [
        ("main", 1, "north", "Europe/Berlin", 1000),
        ("plug/2", 2, "north", "Europe/Berlin", 10000),
    ]


def test_a_region_that_a_registration_makes_is_told_unless_it_is_the_first(run: Run, tmp_path: Path) -> None:
    """A misspelt region is one more, and its meters are missing from the sums of the other."""
    run("add", "attic")
    add = ("device", "add", "attic")
    rest = ("--model", "tasmota", "--interval-ms", "1000")
    file = tmp_path / "devices.csv"
    file.write_text(HEADING + "a,tasmota,north,1000\nb,tasmota,norht,1000\nc,tasmota,norht,1000\n")

    first = run(*add, "x", "--region", "north", *rest)
    misspelt = run(*add, "y", "--region", "nroth", *rest)
    known = run(*add, "z", "--region", "nroth", *rest)
    imported = run("device", "import", "attic", str(file))

    assert [first.stderr, known.stderr] == ["", ""]
    assert misspelt.stdout == "MTR-00000002\n"
    assert misspelt.stderr == "The region nroth is new; besides it there are: north.\n"
    assert imported.stderr.splitlines() == [
        "The region norht is new; besides it there are: north, nroth.",
        "3 registered, 0 were registered already",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("device;model;interval_ms\nmain;x;1\n", ":1: no column 'device' in 'device;model;interval_ms'"),
        ("device,model\nmain,x\n", ":1: no column 'interval_ms'"),
        ("device,model,interval_ms,colour\nmain,x,1,red\n", ":1: unknown column 'colour'"),
        ("device,model,interval_ms\nmain,x,1000\n", ":2: region: no region"),
        (HEADING + "main,x,north,soon\n", ":2: interval_ms: 'soon'"),
        (HEADING + "main,x,north,-5\n", ":2: interval_ms: '-5'"),
        (HEADING + "main,,north,1000\n", ":2: model: an empty cell"),
        (HEADING + "main,x,north\n", ":2: another number of cells"),
        (HEADING + "main,x,north,1\nmain,x,north,1\n", ":3: device: 'main' is in line 2 too"),
    ],
)
def test_a_mistake_in_the_file_is_told_with_its_place(run: Run, tmp_path: Path, text: str, said: str) -> None:
    """Nothing of such a file is registered."""
    file = tmp_path / "devices.csv"
    file.write_text(text)
    run("add", "attic")

    done = run("device", "import", "attic", str(file))

    assert done.returncode == 2
    assert f"devices.csv{said}" in done.stderr
    assert json.loads(run("list", "--json").stdout)[0]["devices"] == 0


def test_a_row_that_the_database_refuses_undoes_the_file(run: Run, tmp_path: Path, domain_db: str) -> None:
    file = tmp_path / "devices.csv"
    file.write_text(HEADING + "main,x,north,1000\nbad name,x,north,1000\n")
    run("add", "attic")

    done = run("device", "import", "attic", str(file))

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert rows(domain_db, "SELECT count(*) FROM meters") == [(0,)]


def test_an_end_of_registration_keeps_what_was_read_before(run: Run, telemetry_db: str, tmp_path: Path) -> None:
    run("add", "attic")
    run("device", "add", "attic", "main", "--region", "north", "--model", "x", "--interval-ms", "1000")

    assert run("device", "remove", "attic", "main").returncode == 0

    query = "SELECT meter_code, lower(valid) = '-infinity', upper(valid) <= now() FROM device_registry"
    assert rows(telemetry_db, query) == [("MTR-00000001", True, True)]


def test_a_copy_of_an_unchanged_registry_touches_nothing(run: Run, domain_db: str, telemetry_db: str) -> None:
    """Else every receiver would load the whole registry again and again."""
    run("add", "attic")
    run("device", "add", "attic", "main", "--region", "north", "--model", "x", "--interval-ms", "1000")
    before = rows(telemetry_db, "SELECT version FROM registry_version")

    with psycopg.connect(domain_db) as domain, psycopg.connect(telemetry_db) as telemetry:
        telemetry.execute("SET timezone = 'Asia/Kathmandu'")
        assert not copy_registry(domain, telemetry)

    assert rows(telemetry_db, "SELECT version FROM registry_version") == before


def test_a_registry_that_somebody_changed_in_telemetry_is_put_right(
    run: Run, domain_db: str, telemetry_db: str
) -> None:
    """The domain's state is the one that was copied, and telemetry's is not."""
    run("add", "attic")
    run("device", "add", "attic", "main", "--region", "north", "--model", "x", "--interval-ms", "1000")
    with psycopg.connect(telemetry_db) as telemetry:
        telemetry.execute("UPDATE device_registry SET interval_ms = 7")

    with psycopg.connect(domain_db) as domain, psycopg.connect(telemetry_db) as telemetry:
        assert copy_registry(domain, telemetry)
        assert not copy_registry(domain, telemetry)

    assert rows(telemetry_db, "SELECT interval_ms FROM device_registry") == [(1000,)]


@pytest.mark.parametrize("setting", ["datestyle = 'SQL, DMY'", "bytea_output = 'escape'", "extra_float_digits = -6"])
def test_a_copy_does_not_depend_on_how_a_database_writes_values(
    run: Run, domain_db: str, telemetry_db: str, setting: str
) -> None:
    """D16: the third of February becomes the second of March. And what never compares equal is copied for ever."""
    run("add", "attic")
    command = ("device", "add", "attic", "main", "--region", "north", "--model", "x", "--interval-ms", "1000")
    run(*command, "--max-power-w", "12345.678901")
    with psycopg.connect(domain_db, autocommit=True) as domain:
        domain.execute(f'ALTER DATABASE "{domain.info.dbname}" SET {setting}'.encode())
        domain.execute("SELECT device_unregister('attic', 'main', '2027-02-03 00:00+00')")

    with psycopg.connect(domain_db) as domain, psycopg.connect(telemetry_db) as telemetry:
        assert copy_registry(domain, telemetry)
        assert not copy_registry(domain, telemetry)

    query = "SELECT extract(epoch FROM upper(valid))::bigint, max_power_w FROM device_registry"
    assert rows(telemetry_db, query) == [(1_801_612_800, 12345.678901)]


def test_gateways_may_take_one_another_s_names(run: Run, domain_db: str, telemetry_db: str) -> None:
    """One name that was free in the domain database stopped the copy of all that came after."""
    for name in ("attic", "cellar", "yard"):
        run("add", name)
    with psycopg.connect(domain_db, autocommit=True) as domain:
        for before, after in (("attic", "x"), ("cellar", "attic"), ("x", "cellar")):
            domain.execute("UPDATE gateways SET name = %s WHERE name = %s", [after, before])
        domain.execute("DELETE FROM gateway_keys WHERE gateway_id = 3")
        domain.execute("DELETE FROM gateways WHERE gateway_id = 3")

    key = Key(run("add", "yard").stdout.strip())

    found = rows(telemetry_db, "SELECT gateway_id, name FROM gateway_registry ORDER BY gateway_id")
    assert found == [(1, "cellar"), (2, "attic"), (3, "yard#3"), (4, "yard")]
    query = "SELECT key_hashes FROM gateway_registry WHERE gateway_id IN (3, 4) ORDER BY gateway_id"
    assert rows(telemetry_db, query) == [([],), ([key.digest],)]
    with psycopg.connect(domain_db) as domain, psycopg.connect(telemetry_db) as telemetry:
        assert not copy_registry(domain, telemetry)


def test_an_interval_beyond_measure_is_refused_in_words(run: Run) -> None:
    run("add", "attic")

    done = run("device", "add", "attic", "main", "--region", "north", "--model", "x", "--interval-ms", str(2**40))

    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def register(run: Run, device: str = "main") -> None:
    run("device", "add", "attic", device, "--region", "north", "--model", "x", "--interval-ms", "1000")


STREAM = "0b9d3f0e-6a52-4e0c-9c39-3f1f7f6f2a11"


def report(**said: Any) -> Report:
    now_us = int(datetime.now(UTC).timestamp() * 1e6)
    return Report(
        **{
            "software": "segs-edge 0.2.0",
            "boot_id": "b",
            "started_us": now_us - 3_600_000_000,
            "sent_us": now_us,
            "stream": STREAM,
            "next_seq": 8,
            "loss_window_s": 1.0,
            "backlog": BacklogReport(readings=1200, bytes=2**20, oldest_us=now_us - 120_000_000),
            "buffer": BufferReport(used_bytes=2**21, max_bytes=2**30, set_aside=["buffer.sqlite.damaged-1"]),
            "clock": ClockReport(offset_s=2.0, synchronized=True),
            "given_up": GivenUp(thinned=7),
            "lost_notes": 3,
            "last_receipt_us": now_us - 1_000_000,
            "meters": 5,
            "silent_meters": 2,
            "troubles": ["meter [m1] has been silent since 12:00", "the disk is full"],
        }
        | said
    )


def heard(dsn: str, *, batch_ago: timedelta | None = None, report_ago: timedelta | None = None, **said: Any) -> None:
    """What the gateway with the number 1 sent, and how long ago."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        if batch_ago is not None:
            connection.execute(
                "INSERT INTO ingest_batches"
                " (gateway_id, stream, seq, sha256, received_at, readings, stored, duplicates)"
                " SELECT 1, %s, n, sha256('x'), %s, 10, 10, 0 FROM generate_series(1, 7) AS n",
                [STREAM, datetime.now(UTC) - batch_ago],
            )
        if report_ago is not None:
            at = datetime.now(UTC) - report_ago
            connection.execute(
                "INSERT INTO gateway_reports VALUES (1, %s, %s, 2.0, 'x', %s)",
                [at, at, Jsonb(msgspec.to_builtins(report(**said)))],
            )


@pytest.mark.parametrize(
    ("sent", "health"),
    [
        ({}, "never"),
        ({"batch_ago": timedelta(seconds=10)}, "ok"),
        ({"batch_ago": timedelta(minutes=6)}, "silent"),
        ({"batch_ago": timedelta(minutes=6), "report_ago": timedelta(minutes=1), "troubles": []}, "ok"),
        ({"report_ago": timedelta(minutes=1)}, "troubled"),
        ({"batch_ago": timedelta(seconds=10), "report_ago": timedelta(hours=1), "troubles": []}, "ok"),
        ({"report_ago": timedelta(minutes=6)}, "silent"),
    ],
)
def test_a_gateway_s_health_is_what_was_heard_of_it(
    run: Run, telemetry_db: str, sent: dict[str, Any], health: str
) -> None:
    """C10: who is silent is forgotten, and nobody is told."""
    run("add", "attic")
    register(run)
    heard(telemetry_db, **sent)

    (listed,) = json.loads(run("list", "--json").stdout)

    assert listed["health"] == health


def test_of_a_gateway_without_devices_nothing_is_expected(run: Run, telemetry_db: str) -> None:
    """A demo's gateway that was over stood among the troubled and the silent for ever."""
    run("add", "attic")
    register(run)
    heard(telemetry_db, batch_ago=timedelta(minutes=6), report_ago=timedelta(minutes=1))
    assert json.loads(run("list", "--json").stdout)[0]["health"] == "troubled"

    run("device", "remove", "attic", "main")

    assert json.loads(run("list", "--json").stdout)[0]["health"] == "unused"


def test_the_list_for_machines_has_all_that_a_gateway_said(run: Run, telemetry_db: str) -> None:
    run("add", "attic")
    heard(telemetry_db, batch_ago=timedelta(seconds=10), report_ago=timedelta(seconds=5))

    (listed,) = json.loads(run("list", "--json").stdout)

    assert (listed["name"], listed["keys"], listed["devices"]) == ("attic", [1], 0)
    assert (listed["batches"], listed["readings"]) == (7, 70)
    assert listed["last_batch"] == {"stream": STREAM, "seq": 7, "at": listed["last_batch_at"]}
    assert listed["software"] == "segs-edge 0.2.0"
    assert {name: listed["backlog"][name] for name in ("readings", "bytes")} == {"readings": 1200, "bytes": 2**20}
    assert listed["backlog"]["age_s"] == pytest.approx(120, abs=30)
    assert (listed["loss_window_s"], listed["meters"], listed["silent_meters"]) == (1.0, 5, 2)
    assert listed["clock"] == {"ahead_s": 2.0, "offset_s": 2.0, "synchronized": True, "corrected": 0}
    assert listed["given_up"] == {"thinned": 7, "reduced": 0, "overflowed": 0, "damaged": 0, "refused": 0}
    assert listed["lost_notes"] == 3
    assert listed["set_aside_files"] == ["buffer.sqlite.damaged-1"]
    assert listed["troubles"] == ["meter [m1] has been silent since 12:00", "the disk is full"]
    now = datetime.now(UTC)
    for name, ago_s in (("last_receipt_at", 1), ("last_report_at", 5), ("started_at", 3600)):
        assert (now - datetime.fromisoformat(listed[name])).total_seconds() == pytest.approx(ago_s, abs=30)


def test_a_gateway_that_never_reported_has_the_same_keys(run: Run, telemetry_db: str) -> None:
    run("add", "attic")
    (silent,) = json.loads(run("list", "--json").stdout)
    heard(telemetry_db, report_ago=timedelta(0))
    (heard_of,) = json.loads(run("list", "--json").stdout)

    assert silent.keys() == heard_of.keys()
    assert (silent["software"], silent["backlog"], silent["batches"]) == (None, None, 0)


def test_a_pipe_cuts_no_name_of_the_list(run: Run, telemetry_db: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    run("add", "demo-20261128-080913")
    heard(telemetry_db, batch_ago=timedelta(days=1), report_ago=timedelta(seconds=5))

    listed = run("list").stdout

    assert "demo-20261128-080913" in listed
    assert "…" not in listed


def test_a_file_that_is_not_there_is_said_to_be_so(run: Run) -> None:
    said = run("device", "import", "attic", "nowhere.csv")
    assert said.stderr == "segs-cloud: nowhere.csv: No such file or directory; name a file that can be read\n"
    assert said.returncode == 2


def test_the_list_for_people_fits_into_100_columns(
    run: Run, telemetry_db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    run("add", "north-substation-12")
    run("key-add", "north-substation-12")
    run("device", "add", "north-substation-12", "m", "--region", "n", "--model", "x", "--interval-ms", "1000")
    heard(telemetry_db, batch_ago=timedelta(days=1), report_ago=timedelta(seconds=5))

    lines = run("list").stdout.splitlines()

    assert max(map(len, lines)) <= 100
    assert "…" not in "".join(lines)
    for text in ("north-substation-12", "troubled", "meter [m1]", "1, 2", "1 d 0 h ago", "1200", "2 min"):
        assert any(text in line for line in lines), text


def test_one_gateway_is_shown_with_everything(run: Run, telemetry_db: str) -> None:
    run("add", "attic")
    register(run)
    assert "last report: none" in run("show", "attic").stdout.splitlines()
    heard(telemetry_db, batch_ago=timedelta(seconds=70), report_ago=timedelta(seconds=5))

    lines = run("show", "attic").stdout.splitlines()

    assert lines[0] == "attic: troubled"
    assert "delivered: 70 readings in 7 batches" in lines
    assert any(re.fullmatch(rf"last batch: 1 min \d+ s ago, number 7 of stream {STREAM}", line) for line in lines)
    assert "key ids: 1" in lines
    assert "running when it reported: for 1 h 0 min" in lines
    assert any(re.fullmatch(r"backlog: 1200 readings, 1\.0 MiB, the oldest 2 min \d+ s old", line) for line in lines)
    [clock] = [line for line in lines if line.startswith("clock")]
    assert (
        clock == "clock: 2.000 s ahead of the receiver's when it reported; the gateway's kernel calls it synchronized"
    )
    assert "given up: thinned 7, reduced 0, overflowed 0, damaged 0, refused 0" in lines
    assert "damaged file that was kept: buffer.sqlite.damaged-1" in lines
    assert lines[-2:] == ["trouble: meter [m1] has been silent since 12:00", "trouble: the disk is full"]


def test_what_a_gateway_says_reaches_no_terminal_as_it_is(run: Run, telemetry_db: str) -> None:
    """Whoever holds one gateway's key would else write on the operator's screen."""
    run("add", "attic")
    wild = "\x1b[2J\x9b31mall is well\r\nhealth: ok"
    heard(
        telemetry_db,
        report_ago=timedelta(seconds=5),
        troubles=[wild],
        software=wild,
        buffer=BufferReport(used_bytes=1, max_bytes=2, set_aside=[wild]),
    )
    for said in (run("show", "attic"), run("list")):
        assert said.returncode == 0
        assert not {"\x1b", "\x9b", "\r"} & set(said.stdout)
        assert "\\x1b[2J" in said.stdout
    assert "\nhealth: ok" not in run("show", "attic").stdout


def test_where_nothing_waits_nothing_is_old(run: Run, telemetry_db: str) -> None:
    run("add", "attic")
    heard(telemetry_db, report_ago=timedelta(seconds=5), backlog=BacklogReport())

    assert "backlog: 0 readings, 0.0 MiB" in run("show", "attic").stdout.splitlines()


def test_a_gateway_that_nobody_has_cannot_be_shown(run: Run) -> None:
    done = run("show", "attic")

    assert done.returncode == 1
    assert "there is no gateway attic" in done.stderr


def test_a_clock_without_measure_is_shown_all_the_same(run: Run, telemetry_db: str) -> None:
    """E27"""
    run("add", "attic")
    wild = {
        "started_us": -(2**62),
        "sent_us": 2**62,
        "last_receipt_us": 2**62,
        "backlog": BacklogReport(oldest_us=2**62),
    }
    heard(telemetry_db, report_ago=timedelta(0), **wild)

    assert [run(*command).returncode for command in (("list",), ("list", "--json"), ("show", "attic"))] == [0, 0, 0]


def test_the_list_does_not_read_the_ledger(telemetry_db: str) -> None:
    """It grows by a row a batch for good."""
    with psycopg.connect(telemetry_db) as connection:
        plan = connection.execute("EXPLAIN " + Queries("gateway")["heard"]).fetchall()

    assert "ingest_batches" not in str(plan)


def test_without_a_database_the_message_says_so() -> None:
    environment = os.environ | {
        "SEGS_DOMAIN_DSN": "postgresql://x@127.0.0.1:1/x",
        "SEGS_TELEMETRY_DSN": "postgresql://x@127.0.0.1:1/x",
    }
    command = [sys.executable, "-m", "cloud", "gateway", "list"]

    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert done.stderr.startswith("segs-cloud: no connection to the domain database: ")
    assert "SEGS_DOMAIN_DSN" in done.stderr
    assert "Traceback" not in done.stderr
