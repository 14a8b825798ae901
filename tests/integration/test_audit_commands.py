"""`segs-cloud audit`: what was done is found, what was tampered with is named, ends are kept elsewhere."""

import json
from pathlib import Path

import psycopg
import pytest

from tests.integration.conftest import SegsCloud


@pytest.fixture
def dsn(domain_db: str) -> str:
    """A log of five rows: a region, and two changes of it by each of two users."""
    with psycopg.connect(domain_db, autocommit=True) as connection:
        connection.execute("INSERT INTO regions (region, name, timezone) VALUES ('north', 'North', 'UTC')")
        for turn, user in enumerate((7, 8, 7, 8)):
            with connection.transaction():
                connection.execute(
                    "SELECT set_config('segs.actor', %s, true), set_config('segs.request_id', %s, true)",
                    [f"user:{user}", f"request-{turn}"],
                )
                connection.execute("UPDATE regions SET name = %s", [f"North [red]{turn}"])
    return domain_db


def tamper(dsn: str, statement: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as superuser:
        superuser.execute("SET session_replication_role = replica")
        superuser.execute(statement)


def listed(segs_cloud: SegsCloud, *arguments: str) -> list[int]:
    return [row["audit_id"] for row in json.loads(segs_cloud("audit", "list", "--json", *arguments).stdout)]


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ([], [5, 4, 3, 2, 1]),
        (["--actor", "user:7"], [4, 2]),
        (["--action", "INSERT"], [1]),
        (["--table", "regions", "--row", "north", "--actor", "user:8"], [5, 3]),
        (["--table", "meters"], []),
        (["--request", "request-2"], [4]),
        (["--subject", "7"], []),
        (["--meter", "7"], []),
        (["--to", "2026-01-01T00:00Z"], []),
        (["--from", "2026-01-01T00:00Z", "--to", "9999-01-01T00:00Z"], [5, 4, 3, 2, 1]),
    ],
)
def test_the_log_is_searched_by_each_of_its_keys(
    dsn: str, segs_cloud: SegsCloud, arguments: list[str], found: list[int]
) -> None:
    """D13, D16: each filter narrows."""
    assert listed(segs_cloud, *arguments) == found


def test_pages_go_on_where_the_last_one_ended(dsn: str, segs_cloud: SegsCloud) -> None:
    first = segs_cloud("audit", "list", "--json", "--limit", "2")

    assert first.stderr == "There is more: --before 4\n"
    assert listed(segs_cloud, "--limit", "2", "--before", "4") == [3, 2]
    assert segs_cloud("audit", "list", "--limit", "2", "--before", "2").stderr == ""


def test_people_see_what_changed(dsn: str, segs_cloud: SegsCloud) -> None:
    shown = segs_cloud("audit", "list", "--request", "request-1").stdout

    assert 'name "North [red]0" > "North [red]1"' in shown
    assert "user:8" in shown


def test_a_whole_log_is_said_to_be_whole(dsn: str, segs_cloud: SegsCloud) -> None:
    told = segs_cloud("audit", "verify")

    assert (told.returncode, told.stdout) == (0, "")
    assert told.stderr == "The audit log is whole: 5 rows of 5 transactions.\n"


def test_a_broken_log_is_exit_1_and_names_the_row(dsn: str, segs_cloud: SegsCloud) -> None:
    """D13."""
    tamper(dsn, "UPDATE audit_logs SET actor = 'user:9' WHERE audit_id IN (3, 4)")

    told = segs_cloud("audit", "verify", "--json")

    assert told.returncode == 1
    assert told.stderr == (
        "segs-cloud: the audit log is not what was written: row 3 is not what was written: altered\n"
    )
    document = json.loads(told.stdout)
    assert (document["whole"], document["rows"], document["transactions"]) == (False, 5, 5)
    assert (document["fault"]["kind"], document["fault"]["audit_id"]) == ("altered", 3)


def test_heads_that_were_kept_prove_that_an_end_was_cut_off(dsn: str, segs_cloud: SegsCloud, tmp_path: Path) -> None:
    """D13."""
    file = tmp_path / "heads"
    file.write_text(segs_cloud("audit", "head").stdout)
    before = segs_cloud("audit", "verify", "--heads", str(file))
    tamper(dsn, "DELETE FROM audit_logs WHERE audit_id = 5")
    tamper(dsn, "DELETE FROM audit_links WHERE block = 5")
    tamper(
        dsn,
        "UPDATE audit_heads SET link_id = 4, hash = (SELECT hash FROM audit_links WHERE block = 4) WHERE lane = 1",
    )

    assert before.returncode == 0
    assert segs_cloud("audit", "verify").returncode == 0
    after = segs_cloud("audit", "verify", "--heads", str(file))
    assert after.returncode == 1
    assert (
        "link 5 of lane 1 was exported and is gone: the end of the log was cut off after that of row 4" in after.stderr
    )


@pytest.mark.parametrize("line", ["1 2", "1 2 " + "g" * 64, "one 2 " + "a" * 64])
def test_a_file_that_is_no_export_is_named_with_its_line(
    dsn: str, segs_cloud: SegsCloud, tmp_path: Path, line: str
) -> None:
    file = tmp_path / "heads"
    file.write_text(f"# 2026\n\n{line}\n")

    told = segs_cloud("audit", "verify", "--heads", str(file))

    assert told.returncode == 2
    assert "heads:3: " in told.stderr
