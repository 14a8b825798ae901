"""`segs-cloud tariff regional`, `override` and `prices`."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from cloud.cli import app
from cloud.tariffs.load import parse
from cloud.tariffs.normal import settled
from tests.integration.conftest import SegsCloud

Segs = Callable[..., Any]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
QUARTER = timedelta(minutes=15)


@pytest.fixture
def segs(domain_db: str, monkeypatch: pytest.MonkeyPatch) -> Segs:
    """A command and what it says, on a database with the region north."""
    monkeypatch.setenv("SEGS_DOMAIN_DSN", domain_db)
    with psycopg.connect(domain_db, autocommit=True) as connection:
        connection.execute("INSERT INTO regions (region, name, timezone) VALUES ('north', 'North', 'UTC')")

    def run(*arguments: str, exits: int = 0) -> Any:
        result = CliRunner().invoke(app, ["tariff", *arguments])
        assert result.exit_code == exits, (result.output, result.exception)
        return result

    return run


def _quarter(number: int) -> str:
    at = _EPOCH + ((datetime.now(UTC) - _EPOCH) // QUARTER + number) * QUARTER
    return at.strftime("%Y-%m-%dT%H:%MZ")


def _rules(segs: Segs) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(segs("regional", "north", "--json").stdout)
    return found


def test_a_region_gets_a_price_and_its_rules_one_by_one(segs: Segs) -> None:
    segs("regional", "north", exits=1)
    segs("regional", "north", "--price", "0.40", exits=1)
    segs("regional", "north", "--price", "0.40", "--currency", "EUR")
    first = _rules(segs)
    segs("regional", "north", "--hysteresis", "2.5")
    segs("regional", "north", "--thresholds", "40,80", "--factors", "0.9,1,1.5", "--price", "0.50")
    changed = _rules(segs)
    segs("regional", "north", "--defaults")

    assert (first["base_price"], first["thresholds"]) == ("0.40000000", ["25", "50", "75", "90"])
    assert [one["price"] for one in first["prices"]] == ["0.40000000"]
    assert (changed["hysteresis"], changed["thresholds"], changed["currency"]) == ("2.50", ["40", "80"], "EUR")
    again = _rules(segs)
    assert (again["thresholds"], again["base_price"]) == (["25", "50", "75", "90"], "0.50000000")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--thresholds", "80,40", "--factors", "1,2,3"], "thresholds rise"),
        (["--thresholds", "80"], "one factor more"),
        (["--price", "0"], "a base price is above 0"),
        (["--price", "x"], "give a decimal number"),
        (["--currency", "euro"], "ISO 4217"),
    ],
)
def test_rules_that_cannot_be_are_refused_with_what_to_do(
    segs_cloud: SegsCloud, arguments: list[str], told: str
) -> None:
    segs_cloud("region", "set", "north")
    assert segs_cloud("tariff", "regional", "north", "--price", "0.40", "--currency", "EUR").returncode == 0

    refused = segs_cloud("tariff", "regional", "north", *arguments)

    assert refused.returncode != 0
    assert told in " ".join(refused.stderr.split())


def test_an_override_is_added_listed_and_ended(segs: Segs) -> None:
    segs("regional", "north", "--price", "0.40", "--currency", "EUR")
    number = segs(
        *("override", "add", "--region", "north", "--factor", "2", "--from", _quarter(4), "--until", _quarter(8)),
        *("--reason", "Storm"),
    ).stdout.strip()
    assert [one["price"] for one in _rules(segs)["prices"]] == ["0.40000000", "0.80000000", "0.40000000"]

    taken = ("override", "add", "--region", "north", "--price", "1", "--until", _quarter(8), "--reason", "x")
    segs(*taken, exits=1)
    segs("override", "end", number, "--region", "north", "--reason", "It is over")
    segs("override", "end", number, "--region", "north", "--reason", "x", exits=1)
    segs(*taken)

    last, first = json.loads(segs("override", "list", "--region", "north", "--json").stdout)
    assert (first["factor"], first["end_reason"], first["reason"]) == ("2", "It is over", "Storm")
    assert (last["price_per_kwh"], last["from"]) >= ("1", _quarter(0))
    assert "It is over" not in segs("override", "list", "--region", "north").stdout.split("Storm")[0]


@pytest.mark.parametrize("said", [[], ["--factor", "2", "--price", "1"]])
def test_an_override_has_a_factor_or_a_price(segs: Segs, said: list[str]) -> None:
    segs("override", "add", "--region", "north", *said, "--until", _quarter(8), "--reason", "x", exits=2)


def test_prices_of_intervals_come_from_a_file_and_once(segs: Segs, domain_db: str, tmp_path: Path) -> None:
    spot = {"name": "Spot", "currency": "EUR", "timezone": "Europe/Berlin", "interval_s": 3600, "price_series": True}
    (tmp_path / "spot.json").write_text(json.dumps(spot))
    assert settled(parse(json.dumps(spot)))["price_series"]
    segs("add", "spot", "--tariff", str(tmp_path / "spot.json"), "--from", "2026-01-01T00:00Z")
    file = tmp_path / "prices.csv"
    file.write_text("interval_start_utc,buy_per_kwh\n2026-03-01T00:00:00Z,0.31\n2026-03-01T01:00:00Z,-0.02\n")
    told = [segs("prices", "spot", "--file", str(file)).output for _ in range(2)]
    assert ["2 prices are new, 0 were there" in told[0], "0 prices are new, 2 were there" in told[1]] == [True, True]

    for row in (
        "2026-03-01T01:00:00Z,0.5",
        "2026-03-01T02:30:00Z,x",
        "2019-03-01T00:00:00Z,1",
        "2026-03-01T00:05:00Z,1",
    ):
        file.write_text(f"interval_start_utc,buy_per_kwh\n{row}\n")
        segs("prices", "spot", "--file", str(file), exits=1)
    with psycopg.connect(domain_db) as connection:
        assert connection.execute("SELECT count(*) FROM tariff_prices").fetchone() == (2,)
