"""What people read off two displays is held against the readings around it."""

from datetime import timedelta
from typing import Any

import pytest

from tests.sql.conftest import START, Telemetry

AT = START + timedelta(seconds=100)


def _faults(
    telemetry: Telemetry, meter_id: int, final: int | None, first: int | None, at_s: float = 100
) -> list[tuple[Any, ...]]:
    found = telemetry.rows(
        "SELECT * FROM exchange_reads(%s, %s, ARRAY[%s]::bigint[], ARRAY[%s]::bigint[])",
        *(meter_id, START + timedelta(seconds=at_s), final, first),
    )
    return [(row["read"], row["near_value"], row["fault"]) for row in found if row["register"] == 1]


def _meter(telemetry: Telemetry, **settings: Any) -> int:
    meter_id = telemetry.meter(**{"interval_s": 60, "max_power_w": 3600} | settings)
    telemetry.registers(meter_id, [(0, 5000), (60, 5020), (120, 220), (180, 240)])
    return meter_id


@pytest.mark.parametrize(
    ("final", "first", "faults"),
    [
        (5030, 200, [None, None]),
        (5020, 220, [None, None]),
        (5019, 200, ["backwards", None]),
        (5030, 221, [None, "backwards"]),
        # 40 s at 3600 W are 40 Wh, and a register may count whole kWh.
        (6060, 200, [None, None]),
        (6061, 200, ["beyond", None]),
        (None, 221, [None, "backwards"]),
        (None, None, [None, None]),
    ],
)
def test_a_read_between_its_neighbours_is_believed_and_no_other(
    telemetry: Telemetry, final: int | None, first: int | None, faults: list[str | None]
) -> None:
    assert _faults(telemetry, _meter(telemetry), final, first) == [
        ("final", 5020, faults[0]),
        ("first", 220, faults[1]),
    ]


def test_a_first_read_that_the_new_meter_cannot_have_left_so_far_behind_is_found(telemetry: Telemetry) -> None:
    meter_id = telemetry.meter(interval_s=60, max_power_w=3600)
    telemetry.registers(meter_id, [(60, 5020), (120, 2000)])
    assert _faults(telemetry, meter_id, 5020, 900) == [("final", 5020, None), ("first", 2000, "beyond")]


def test_a_register_may_wrap_between_a_reading_and_the_exchange(telemetry: Telemetry) -> None:
    meter_id = _meter(telemetry, modulus_wh=5025)
    assert _faults(telemetry, meter_id, 3, 5024) == [("final", 5020, None), ("first", 220, None)]
    assert _faults(telemetry, _meter(telemetry, modulus_wh=9000), 3, 5024)[0][2] == "backwards"


def test_a_reading_at_the_instant_of_the_exchange_is_one_of_the_new_meter(telemetry: Telemetry) -> None:
    assert _faults(telemetry, _meter(telemetry), 5030, 221, at_s=120) == [
        ("final", 5020, None),
        ("first", 220, "backwards"),
    ]


def test_a_reading_beyond_another_exchange_says_nothing(telemetry: Telemetry) -> None:
    meter_id = _meter(telemetry)
    for at_s in (90, 110):
        telemetry.do("INSERT INTO register_epochs VALUES (%s, 1, %s)", meter_id, START + timedelta(seconds=at_s))
    assert _faults(telemetry, meter_id, 1, 1) == [("final", None, None), ("first", None, None)]


def test_where_readings_are_gone_minutes_still_know_where_registers_stood(telemetry: Telemetry) -> None:
    """Not the minutes next to the fall, which no register is believed in."""
    meter_id = telemetry.meter(interval_s=30, max_power_w=3600)
    telemetry.registers(meter_id, [(s, 5000 + s) for s in range(0, 300, 30)] + [(s, s) for s in range(330, 600, 30)])
    telemetry.aggregate()
    telemetry.do("DELETE FROM raw_readings WHERE time >= %s", START)
    assert _faults(telemetry, meter_id, 4000, 500, at_s=310) == [
        ("final", 5180, "backwards"),
        ("first", 420, "backwards"),
    ]
    assert _faults(telemetry, meter_id, 5300, 320, at_s=310) == [("final", 5180, None), ("first", 420, None)]


def test_services_that_only_look_may_ask(telemetry: Telemetry) -> None:
    meter_id = _meter(telemetry)
    for role in ("segs_worker", "segs_readonly"):
        telemetry.do(f"SET ROLE {role}")
        assert len(_faults(telemetry, meter_id, 5030, 200)) == 2
