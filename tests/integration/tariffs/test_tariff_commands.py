"""`segs-cloud tariff`: tariffs that are kept, meters that are billed by them, and files that are only priced."""

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.integration.conftest import SegsCloud

METER = "MTR-00000001"
JANUARY, MARCH = "2026-01-01T00:00Z", "2026-03-01T00:00Z"
FLAT: dict[str, Any] = {
    "name": "House",
    "currency": "EUR",
    "timezone": "Europe/Berlin",
    "energyratestructure": [[{"max": 100, "rate": "0.30", "adj": "0.02"}, {"rate": "0.35", "sell": "0.08"}]],
}


@pytest.fixture
def tariff(tmp_path: Path) -> Any:
    def write(**more: Any) -> str:
        path = tmp_path / "tariff.json"
        path.write_text(json.dumps({key: value for key, value in (FLAT | more).items() if value is not None}))
        return str(path)

    return write


@pytest.fixture
def load(tmp_path: Path) -> str:
    path = tmp_path / "load.csv"
    path.write_text("interval_start_utc,import_wh\n2026-01-10T10:00Z,1500\n2026-01-10T11:00Z,500\n")
    return str(path)


@pytest.fixture
def meter(segs_cloud: SegsCloud) -> str:
    assert segs_cloud("gateway", "add", "attic").returncode == 0
    device = ("--region", "north", "--timezone", "Europe/Berlin", "--model", "x", "--interval-ms", "1000")
    assert segs_cloud("gateway", "device", "add", "attic", "main", *device).returncode == 0
    return METER


def _add(run: SegsCloud, path: str, since: str, *more: str) -> Any:
    return run("tariff", "add", "house", "--tariff", path, "--from", since, *more)


def test_prices_from_a_later_time_on_end_those_before_and_both_stay(segs_cloud: SegsCloud, tariff: Any) -> None:
    """D9: history is never deleted."""
    assert _add(segs_cloud, tariff(), JANUARY).returncode == 0
    done = _add(segs_cloud, tariff(name="Dearer", energyratestructure=[[{"rate": "0.50"}]]), MARCH)

    assert done.stderr.splitlines() == [
        "house: House, from 2026-01-01T00:00:00Z to 2026-03-01T00:00:00Z.",
        "house: Dearer, from 2026-03-01T00:00:00Z on.",
    ]
    shown = json.loads(segs_cloud("tariff", "show", "house", "--at", "2026-02-28T23:59Z", "--json").stdout)
    assert shown["document"]["energyratestructure"][0][0]["rate"] == "0.3"
    assert [one["name"] for one in shown["tables"]] == ["House", "Dearer"]
    [listed] = json.loads(segs_cloud("tariff", "list", "--json").stdout)
    assert (listed["code"], listed["name"], listed["meters"]) == ("house", "Dearer", 0)
    table = segs_cloud("tariff", "show", "house", "--at", JANUARY).stdout
    assert "100 kWh  0.32" in table


def test_prices_before_those_that_are_there_and_a_nameless_tariff_are_refused(
    segs_cloud: SegsCloud, tariff: Any
) -> None:
    assert _add(segs_cloud, tariff(), MARCH).returncode == 0
    refused = _add(segs_cloud, tariff(), JANUARY)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "tariff house has prices from 2026-03-01 00:00:00+00 on already" in refused.stderr
    nameless = _add(segs_cloud, tariff(name=None), MARCH)
    assert nameless.returncode == 2
    assert nameless.stderr == "segs-cloud: tariff.json: name: is missing; give the tariff's name for people\n"
    assert segs_cloud("tariff", "show", "barn").returncode == 1


def test_a_meter_has_one_tariff_at_a_time_and_none_that_is_not_there(
    segs_cloud: SegsCloud, tariff: Any, meter: str
) -> None:
    assert _add(segs_cloud, tariff(), JANUARY).returncode == 0
    assert segs_cloud("tariff", "assign", meter, "house", "--from", JANUARY).returncode == 0
    ended = segs_cloud("tariff", "assign", meter, "--from", MARCH)
    assert ended.stderr == f"{meter}: tariff house, from 2026-01-01T00:00:00Z to 2026-03-01T00:00:00Z.\n"
    for code, since, told in (
        ("barn", MARCH, "there is no tariff barn at 2026-03-01 00:00:00+00; segs-cloud tariff list"),
        ("house", "2025-01-01T00:00Z", "there is no tariff house at 2025-01-01"),
        ("house", JANUARY, f"meter {meter} gets tariff house at 2026-01-01 00:00:00+00 already"),
    ):
        refused = segs_cloud("tariff", "assign", meter, code, "--from", since)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert told in refused.stderr


def test_a_tariff_with_days_of_another_zone_is_refused_where_it_is_assigned(
    segs_cloud: SegsCloud, tariff: Any, meter: str, domain_db: str
) -> None:
    """The run could bill none of its days."""
    assert _add(segs_cloud, tariff(timezone="Europe/Berlin"), JANUARY).returncode == 0
    assert segs_cloud("tariff", "add", "zero", "--tariff", tariff(timezone="UTC"), "--from", JANUARY).returncode == 0
    with psycopg.connect(domain_db) as connection:
        connection.execute("UPDATE meter_locations SET timezone = 'Africa/Abidjan'")
    refused = segs_cloud("tariff", "assign", meter, "house", "--from", JANUARY)

    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == (
        f"segs-cloud: tariff house has days of Europe/Berlin, and meter {meter} those of Africa/Abidjan; assign a "
        "tariff whose document says timezone Africa/Abidjan, or move the meter to where Europe/Berlin is\n"
    )
    # A zone of another name that has the same days.
    assert segs_cloud("tariff", "assign", meter, "zero", "--from", JANUARY).returncode == 0


def test_what_was_billed_stays_as_it_is(segs_cloud: SegsCloud, tariff: Any, meter: str, domain_db: str) -> None:
    """D9, D4: neither prices nor holidays nor assignment of a time that was billed change."""
    assert _add(segs_cloud, tariff(), JANUARY).returncode == 0
    assert segs_cloud("tariff", "assign", meter, "house", "--from", JANUARY).returncode == 0
    with psycopg.connect(domain_db) as connection:
        connection.execute(
            """INSERT INTO users (email, name, role) VALUES ('ada@example.org', 'Ada', 'USER');
            INSERT INTO invoices (meter_id, user_id, period_start, period_end, timezone, span, currency, net_amount,
                tax_amount)
            VALUES (1, 1, '2026-02-01', '2026-03-01', 'UTC', '[2026-02-01Z, 2026-03-01Z)', 'EUR', 1, 0);
            INSERT INTO invoice_line_items (invoice_id, position, component, description, tariff_id, quantity, unit,
                unit_price, amount) VALUES (1, 1, 'fixed', 'Basic charge', 1, 1, 'month', 1, 1);
            SELECT bill_finalise(1, now())"""
        )

    for command in (
        ("tariff", "add", "house", "--tariff", tariff(), "--from", "2026-02-15T00:00Z"),
        ("tariff", "holiday", "house", "2026-02-17", "--name", "Carnival"),
        ("tariff", "assign", meter, "--from", "2026-02-15T00:00Z"),
    ):
        refused = segs_cloud(*command)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "2026-03-01" in refused.stderr
    with psycopg.connect(domain_db) as connection, pytest.raises(psycopg.DatabaseError, match="cannot change"):
        connection.execute("UPDATE tariffs SET document = jsonb_set(document, '{currency}', '\"USD\"')")
    assert _add(segs_cloud, tariff(), MARCH).returncode == 0
    assert segs_cloud("tariff", "holiday", "house", "2026-05-01", "--name", "May Day").returncode == 0
    document = json.loads(segs_cloud("tariff", "show", "house", "--json").stdout)["document"]
    assert document["holidays"] == ["2026-05-01"]


def test_a_file_is_priced_and_nothing_is_kept(segs_cloud: SegsCloud, tariff: Any, load: str, domain_db: str) -> None:
    done = segs_cloud("tariff", "rate", "--tariff", tariff(interval_s=3600), "--intervals", load)
    assert done.returncode == 0, done.stderr
    head, *lines = done.stdout.splitlines()
    assert head == "1 months, EUR"
    assert [line.split() for line in lines][1] == ["2026-01", "2.000", "1.500", "1.500", "0.64", "0.64"]
    with psycopg.connect(domain_db) as connection:
        assert connection.execute("SELECT count(*) FROM tariffs").fetchone() == (0,)


def test_files_that_make_no_sense_are_told_by_key_row_and_column(segs_cloud: SegsCloud, tariff: Any, load: str) -> None:
    refused = segs_cloud("tariff", "rate", "--tariff", tariff(currency="EURO"), "--intervals", load)
    told = "segs-cloud: tariff.json: currency: 'EURO'; give an ISO 4217 code such as EUR\n"
    assert (refused.returncode, refused.stdout, refused.stderr) == (2, "", told)
    Path(load).write_text("interval_start_utc,import_wh\n2026-01-10T10:00Z,1500\n2026-01-10T11:00Z,much\n")
    refused = segs_cloud("tariff", "rate", "--tariff", tariff(), "--intervals", load)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == "segs-cloud: row 3: import_wh 'much'; give Wh, 0 to 10000000000000\n"


def test_an_interval_in_which_the_price_changes_is_refused_by_its_row(
    segs_cloud: SegsCloud, tariff: Any, load: str
) -> None:
    """India's clocks are half an hour off: a whole hour of UTC has two prices there."""
    day = [0] * 16 + [1] * 8
    two = {
        "timezone": "Asia/Kolkata",
        "interval_s": 3600,
        "energyratestructure": [[{"rate": 1}], [{"rate": 2}]],
        "energyweekdayschedule": [day] * 12,
        "energyweekendschedule": [day] * 12,
    }
    refused = segs_cloud("tariff", "rate", "--tariff", tariff(**two), "--intervals", load)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("segs-cloud: row 2: interval_start_utc 2026-01-10T10:00:00Z: in this interval")
