"""Regions: silence has a row, a move marks both sides, and load is judged by the capacity of its time."""

import json
from datetime import datetime, timedelta

import pytest

from cloud.db.queries import Queries
from tests.sql.conftest import Telemetry
from tests.sql.quarters import QUARTER, SUNDAY, put

HOUR = timedelta(hours=1)
ROW = "SELECT * FROM regional_15m WHERE region = %s AND bucket = %s"


def _sum(telemetry: Telemetry) -> None:
    while telemetry.rows("SELECT * FROM aggregate_regions()")[0]["marks"]:
        pass


def _device(meter_id: int, region: str, since: datetime | None, until: datetime | None) -> dict[str, object]:
    valid = f'["{since or "-infinity"}","{until or "infinity"}")'
    code = f"MTR-{meter_id:08}"
    return {
        "gateway_id": 1,
        "device": f"d{meter_id}",
        "meter_id": meter_id,
        "meter_code": code,
        "region": region,
        "valid": valid,
    }


def _mark_moved(telemetry: Telemetry, devices: list[dict[str, object]], capacities: list[dict[str, object]]) -> None:
    with telemetry.connection.transaction():
        telemetry.do(Queries("registry")["stage"])
        for table, rows in (("wanted_devices", devices), ("wanted_capacities", capacities)):
            telemetry.do(
                f"INSERT INTO {table} SELECT * FROM jsonb_populate_recordset(NULL::{table}, %s)", json.dumps(rows)
            )
        telemetry.do("SELECT mark_moved(%s)", SUNDAY + 3 * HOUR)


def _marks(telemetry: Telemetry) -> list[tuple[object, float]]:
    rows = telemetry.rows("SELECT region, bucket FROM dirty_regions ORDER BY region, bucket")
    return [(row["region"], (row["bucket"] - SUNDAY) / QUARTER) for row in rows]


def test_a_region_of_which_nothing_is_heard_has_rows_that_say_so(telemetry: Telemetry) -> None:
    """C10: a blackout is a row of no meters; and a dead meter is expected for as long as it is registered."""
    telemetry.do("INSERT INTO region_registry (region) VALUES ('empty')")
    telemetry.meter()
    telemetry.rows("SELECT mark_silent_regions(%s, %s)", SUNDAY, SUNDAY + 2 * HOUR)
    _sum(telemetry)
    rows = telemetry.rows("SELECT * FROM regional_15m WHERE bucket >= %s ORDER BY bucket", SUNDAY)
    assert [row["bucket"] for row in rows] == [SUNDAY + n * QUARTER for n in range(8)]
    assert {(row["region"], row["meters"], row["meters_expected"], row["coverage"]) for row in rows} == {
        ("north", 0, 1, 0)
    }
    assert {(row["power_w_mean"], row["load_percent"], row["quality"]) for row in rows} == {(None, None, 10)}


def test_only_quarter_hours_that_ended_and_have_no_row_are_marked(telemetry: Telemetry) -> None:
    put(telemetry, telemetry.meter(), SUNDAY, [1, 1])
    telemetry.do("INSERT INTO dirty_regions (region, bucket) VALUES ('north', %s)", SUNDAY)
    _sum(telemetry)
    telemetry.rows("SELECT mark_silent_regions(%s, %s)", SUNDAY + timedelta(minutes=7), SUNDAY + timedelta(minutes=59))
    assert _marks(telemetry) == [("north", 1), ("north", 2)]


def test_zero_watts_is_a_load(telemetry: Telemetry) -> None:
    """C5"""
    put(telemetry, telemetry.meter(), SUNDAY, [0], power_w_count=[9], power_w_sum=[0.0])
    telemetry.do("INSERT INTO dirty_regions (region, bucket) VALUES ('north', %s)", SUNDAY)
    _sum(telemetry)
    [row] = telemetry.rows(ROW, "north", SUNDAY)
    assert (row["meters"], row["power_w_mean"], row["load_percent"]) == (1, 0, 0)


def test_a_meter_that_tells_no_power_loads_its_region_by_its_register(telemetry: Telemetry) -> None:
    put(telemetry, telemetry.meter(), SUNDAY, [250], energy_export_wh=[50])
    telemetry.do("INSERT INTO dirty_regions (region, bucket) VALUES ('north', %s)", SUNDAY)
    _sum(telemetry)
    [row] = telemetry.rows(ROW, "north", SUNDAY)
    assert (row["power_w_mean"], row["load_percent"]) == (800, pytest.approx(0.8))


def test_a_move_marks_the_quarter_hours_of_both_regions_since_then(telemetry: Telemetry) -> None:
    telemetry.do("INSERT INTO region_registry (region) VALUES ('south'), ('west')")
    moves, stays = telemetry.meter(), telemetry.meter()
    since = SUNDAY + 2 * HOUR + timedelta(minutes=20)
    wanted = [
        _device(moves, "north", None, since),
        _device(moves, "south", since, None),
        _device(stays, "north", None, None),
    ]
    _mark_moved(telemetry, [*wanted, _device(3, "west", None, None)], [])
    assert _marks(telemetry) == [(region, n) for region in ("north", "south") for n in (9, 10, 11, 12)]


def test_what_changes_nothing_marks_nothing(telemetry: Telemetry) -> None:
    meter_id = telemetry.meter()
    _mark_moved(telemetry, [_device(meter_id, "north", None, SUNDAY), _device(meter_id, "north", SUNDAY, None)], [])
    assert _marks(telemetry) == []


def test_after_a_move_of_the_past_both_regions_are_summed_as_it_was(telemetry: Telemetry) -> None:
    telemetry.do("INSERT INTO region_registry (region) VALUES ('south')")
    meter_id = telemetry.meter()
    put(telemetry, meter_id, SUNDAY, [100] * 8)
    telemetry.do(
        "INSERT INTO dirty_regions (region, bucket) SELECT 'north', bucket FROM aggregates_15m WHERE bucket >= %s",
        SUNDAY,
    )
    _sum(telemetry)
    _mark_moved(
        telemetry,
        [_device(meter_id, "north", None, SUNDAY + HOUR), _device(meter_id, "south", SUNDAY + HOUR, None)],
        [],
    )
    telemetry.do("UPDATE device_registry SET valid = tstzrange('-infinity', %s)", SUNDAY + HOUR)
    telemetry.do(
        "INSERT INTO device_registry (gateway_id, device, meter_id, meter_code, region, timezone, interval_ms, valid)"
        " VALUES (1, 'd1', %s, 'MTR-00000001', 'south', 'UTC', 1000, tstzrange(%s, 'infinity'))",
        *(meter_id, SUNDAY + HOUR),
    )
    _sum(telemetry)
    rows = telemetry.rows(
        "SELECT * FROM regional_15m WHERE bucket >= %s AND bucket < %s ORDER BY bucket, region",
        SUNDAY + HOUR - QUARTER,
        SUNDAY + HOUR + QUARTER,
    )
    shown = [(row["region"], row["meters"], row["meters_expected"], row["energy_import_wh"]) for row in rows]
    assert shown == [("north", 1, 1, 100), ("north", 0, 0, None), ("south", 1, 1, 100)]


def test_load_is_in_percent_of_the_capacity_of_its_time(telemetry: Telemetry) -> None:
    put(telemetry, telemetry.meter(), SUNDAY, [1] * 8, power_w_count=[1] * 8, power_w_sum=[500.0] * 8)
    telemetry.do(
        "INSERT INTO capacity_registry (region, capacity_w, valid) VALUES"
        " ('north', 1000, tstzrange('-infinity', %s)), ('north', 2000, tstzrange(%s, 'infinity'))",
        *(SUNDAY + HOUR, SUNDAY + HOUR),
    )
    telemetry.do(
        "INSERT INTO dirty_regions (region, bucket) SELECT 'north', bucket FROM aggregates_15m WHERE bucket >= %s",
        SUNDAY,
    )
    _sum(telemetry)
    rows = telemetry.rows("SELECT load_percent FROM regional_15m WHERE bucket >= %s ORDER BY bucket", SUNDAY)
    assert [row["load_percent"] for row in rows] == [50] * 4 + [25] * 4


def test_another_capacity_marks_the_time_for_which_it_holds(telemetry: Telemetry) -> None:
    meter_id = telemetry.meter()
    telemetry.do(
        "INSERT INTO capacity_registry (region, capacity_w, valid)"
        " VALUES ('north', 9, tstzrange('-infinity', 'infinity'))"
    )
    since = SUNDAY + 2.5 * HOUR
    capacities = [
        {"region": "north", "capacity_w": 9, "valid": f'[-infinity,"{since}")'},
        {"region": "north", "capacity_w": 10, "valid": f'["{since}",infinity)'},
    ]
    _mark_moved(telemetry, [_device(meter_id, "north", None, None)], capacities)
    assert _marks(telemetry) == [("north", 10), ("north", 11), ("north", 12)]
