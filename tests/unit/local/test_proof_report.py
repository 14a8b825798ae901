"""The proof against a real database: each fault put into it must be found."""

import json
from pathlib import Path

import psycopg
import pytest

from local.proof.errors import ProofError
from local.proof.report import Report, prove
from local.proof.stored import moment

# 2026-03-01T12:00:10Z
START_US = 1_772_366_410 * 10**6
S = 10**6
REGISTERS = [1000 + 7 * n for n in range(30)]


def _setup(dsn: str, tmp_path: Path) -> Path:
    """Thirty polls and thirty messages of two meters, 5 s apart: in the journal, in rows and in aggregates."""
    path = tmp_path / "journal.jsonl"
    with psycopg.connect(dsn) as db, path.open("w") as journal:
        db.execute("INSERT INTO gateway_registry VALUES (1, 'gw')")
        db.execute("INSERT INTO region_registry VALUES ('north', NULL)")
        for meter_id, name in ((1, "modbus-meter"), (2, "mqtt-meter")):
            db.execute(
                "INSERT INTO device_registry (gateway_id, device, meter_id, meter_code, region, timezone, interval_ms)"
                " VALUES (1, %s, %s, %s, 'north', 'UTC', 5000)",
                (name, meter_id, f"MTR-{meter_id:08}"),
            )
        for n, register_wh in enumerate(REGISTERS):
            t_us = START_US + 5 * S * n
            power_w = 1000.07 + n
            parts = [{"power_w": power_w}, {"energy_import_wh": register_wh + 0.25}]
            for late_us, values in zip((0, 900), parts, strict=True):
                line = {"t_us": t_us + late_us, "meter": "modbus-meter", "kind": "modbus", "values": values}
                journal.write(json.dumps(line) + "\n")
            message = {"t_us": t_us + 9, "meter": "mqtt-meter", "kind": "mqtt", "seq": n + 1, "device_time_us": t_us}
            journal.write(json.dumps(message | {"values": parts[0] | parts[1]}) + "\n")
            for meter_id, time_us, flags in ((1, t_us + 1_500, 0), (2, t_us, 1)):
                db.execute(
                    "INSERT INTO raw_readings (time, meter_id, flags, batch_id, power_w, energy_import_wh)"
                    " VALUES (%s, %s, %s, 1, %s, %s)",
                    (moment(time_us), meter_id, flags, round(power_w, 1), register_wh),
                )
        for table, shares in (("aggregates_1m", (70, 84, 49)), ("aggregates_15m", (203,))):
            for meter_id in (1, 2):
                for n, energy_wh in enumerate(shares):
                    db.execute(
                        f"INSERT INTO {table} (meter_id, bucket, samples, coverage, quality, energy_import_wh)"
                        " VALUES (%s, %s, 10, 100, 14, %s)",
                        (meter_id, moment(START_US - 10 * S + 60 * S * n), energy_wh),
                    )
    return path


@pytest.fixture
def journal(telemetry_db: str, tmp_path: Path) -> Path:
    return _setup(telemetry_db, tmp_path)


def _prove_after(journal: Path, dsn: str, *statements: str) -> Report:
    with psycopg.connect(dsn) as db:
        for statement in statements:
            assert db.execute(statement).rowcount == 1, statement
    return prove(journal=journal, dsn=dsn)


def test_an_untouched_database_is_proven(journal: Path, telemetry_db: str) -> None:
    report = prove(journal=journal, dsn=telemetry_db)
    assert report.proven
    assert (report.meters, report.readings_polled, report.readings_stored) == (2, 60, 60)
    assert (report.energy_wh, report.energy_error_wh, report.examples) == (2 * 203, 0, [])
    assert json.loads(json.dumps(report.as_dict()))["proven"] is True


@pytest.mark.parametrize("meter_id", [1, 2])
def test_a_lost_row_is_found(journal: Path, telemetry_db: str, meter_id: int) -> None:
    at = moment(START_US + 50 * S)
    report = _prove_after(
        journal,
        telemetry_db,
        "DELETE FROM raw_readings"
        f" WHERE meter_id = {meter_id} AND time >= '{at}' AND time < '{at}'::timestamptz + '1s'",
    )
    assert (report.lost, report.readings_stored, report.energy_error_wh, report.proven) == (1, 59, 0, False)


def test_a_lost_last_row_is_an_energy_error_too(journal: Path, telemetry_db: str) -> None:
    """C6: the end of a run is what a receiver that keeps windows in memory would lose."""
    report = _prove_after(
        journal, telemetry_db, f"DELETE FROM raw_readings WHERE meter_id = 1 AND time >= '{moment(START_US + 145 * S)}'"
    )
    assert (report.lost, report.energy_error_wh) == (1, 7)


@pytest.mark.parametrize("meter_id", [1, 2])
def test_a_doubled_row_is_found(journal: Path, telemetry_db: str, meter_id: int) -> None:
    """E23, C3."""
    at = moment(START_US + 50 * S)
    report = _prove_after(
        journal,
        telemetry_db,
        "INSERT INTO raw_readings (time, meter_id, flags, batch_id, power_w, energy_import_wh)"
        " SELECT time + '1 ms', meter_id, 0, 2, power_w, energy_import_wh FROM raw_readings"
        f" WHERE meter_id = {meter_id} AND time >= '{at}' AND time < '{at}'::timestamptz + '1s'",
    )
    assert (report.duplicated, report.lost, report.proven) == (1, 0, False)


@pytest.mark.parametrize("meter_id", [1, 2])
@pytest.mark.parametrize("astray", ["-14 hours", "-30 minutes", "30 minutes", "14 hours"])
def test_a_row_doubled_under_a_time_far_off_is_found(
    journal: Path, telemetry_db: str, meter_id: int, astray: str
) -> None:
    """E23, E27: a second row an hour away, as a wrong zone makes it, adds no energy and stands in nobody's way."""
    at = moment(START_US + (0 if astray.startswith("-") else 145) * S)
    report = _prove_after(
        journal,
        telemetry_db,
        "INSERT INTO raw_readings (time, meter_id, flags, batch_id, power_w, energy_import_wh)"
        f" SELECT time + '{astray}', meter_id, flags, 2, power_w, energy_import_wh FROM raw_readings"
        f" WHERE meter_id = {meter_id} AND time >= '{at}' AND time < '{at}'::timestamptz + '1s'",
    )
    assert (report.duplicated + report.foreign, report.lost, report.proven) == (1, 0, False)


def test_a_quantity_that_is_never_stored_is_no_matter_of_profiles(journal: Path, telemetry_db: str) -> None:
    """C1: everything else about the rows is right."""
    with psycopg.connect(telemetry_db) as db:
        db.execute("UPDATE raw_readings SET power_w = NULL WHERE time > '2026-01-01'")
    report = prove(journal=journal, dsn=telemetry_db)
    assert report.unmapped == {"modbus-meter": ["power_w"], "mqtt-meter": ["power_w"]}
    assert (report.lost, report.altered, report.energy_error_wh) == (0, 0, 0)
    assert not report.proven


@pytest.mark.parametrize(
    "change",
    ["power_w = power_w + 0.1", "power_w = NULL", "energy_import_wh = energy_import_wh + 1", "voltage_l1_v = 0"],
)
def test_an_altered_value_is_found(journal: Path, telemetry_db: str, change: str) -> None:
    """C5, E6: the smallest step of a value, a missing one and an invented zero."""
    at = moment(START_US + 50 * S)
    where = f"meter_id = 1 AND time >= '{at}' AND time < '{at}'::timestamptz + '1s'"
    report = _prove_after(journal, telemetry_db, f"UPDATE raw_readings SET {change} WHERE {where}")
    assert (report.altered, report.lost, report.readings_stored, report.proven) == (1, 0, 60, False)


@pytest.mark.parametrize("table", ["aggregates_1m", "aggregates_15m"])
def test_a_watt_hour_too_many_in_the_intervals_is_found(journal: Path, telemetry_db: str, table: str) -> None:
    """C7, C9."""
    bucket = moment(START_US - 10 * S)
    change = f"UPDATE {table} SET energy_import_wh = energy_import_wh + 1 WHERE meter_id = 2 AND bucket = '{bucket}'"
    report = _prove_after(journal, telemetry_db, change)
    assert (report.energy_error_wh, report.lost, report.proven) == (1, 0, False)
    assert report.examples[0]["meter"] == "mqtt-meter"


def test_an_energy_register_that_is_never_stored_is_an_error_and_not_a_matter_of_profiles(
    journal: Path, telemetry_db: str
) -> None:
    """C1: a schema that strips the register makes every energy 0."""
    with psycopg.connect(telemetry_db) as db:
        db.execute("UPDATE raw_readings SET energy_import_wh = NULL WHERE meter_id = 1 AND time > '2026-01-01'")
        db.execute("UPDATE aggregates_1m SET energy_import_wh = NULL WHERE meter_id = 1 AND bucket > '2026-01-01'")
        db.execute("UPDATE aggregates_15m SET energy_import_wh = NULL WHERE meter_id = 1 AND bucket > '2026-01-01'")
    report = prove(journal=journal, dsn=telemetry_db)
    assert (report.energy_error_wh, report.proven) == (203, False)
    assert report.unmapped == {"modbus-meter": ["energy_import_wh"]}


def test_a_meter_that_is_not_registered_has_lost_everything(journal: Path, telemetry_db: str) -> None:
    report = _prove_after(journal, telemetry_db, "DELETE FROM device_registry WHERE device = 'mqtt-meter'")
    assert (report.unregistered, report.lost) == (["mqtt-meter"], 30)


def test_two_gateways_with_a_device_of_that_name_need_to_be_told_apart(journal: Path, telemetry_db: str) -> None:
    with psycopg.connect(telemetry_db) as db:
        db.execute("INSERT INTO gateway_registry VALUES (2, 'other')")
        db.execute(
            "INSERT INTO device_registry (gateway_id, device, meter_id, meter_code, region, timezone, interval_ms)"
            " VALUES (2, 'mqtt-meter', 3, 'MTR-00000003', 'north', 'UTC', 5000)"
        )
    with pytest.raises(ProofError, match="several gateways"):
        prove(journal=journal, dsn=telemetry_db)
    assert prove(journal=journal, dsn=telemetry_db, gateway="gw").proven


def test_an_empty_journal_proves_nothing(telemetry_db: str, tmp_path: Path) -> None:
    (tmp_path / "journal").touch()
    assert not prove(journal=tmp_path / "journal", dsn=telemetry_db).proven
