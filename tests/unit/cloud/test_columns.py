"""Sorting a batch out: what can be stored is stored, the rest is set aside with its reason, nothing is dropped."""

import asyncio
import math

import numpy as np
import pytest

from cloud.ingest.acceptance import Window
from cloud.ingest.columns import sort_out
from cloud.ingest.portion import contents, portions
from cloud.ingest.registry import Assignment, Registry
from cloud.ingest.transaction import Delivery, sorted_out
from contract.batch import Batch, DeviceBlock, Number

MINUTE_US = 60_000_000
WINDOW = Window(oldest_us=0, newest_us=100 * MINUTE_US)
ALWAYS = Assignment(-(2**63), 2**63 - 1, 7)
REGISTRY = Registry(version=1, gateway_of_key={}, assignments={(1, "main"): (ALWAYS,)})


def block(values: dict[str, list[Number]], *, device: str = "main", time_us: list[int] | None = None) -> DeviceBlock:
    rows = len(next(iter(values.values())))
    return DeviceBlock(device=device, time_us=time_us or list(range(1, rows + 1)), values=values)


def test_a_clean_block_becomes_rows_of_its_meter() -> None:
    found = sort_out(portions([block({"power_w": [1.5, -2.0], "energy_import_wh": [10, 11]})]), 1, REGISTRY, WINDOW)

    assert found.set_aside == []
    assert found.rows.meter_id.tolist() == [7, 7]
    assert found.rows.values["power_w"].tolist() == [1.5, -2.0]


def test_zero_is_a_value_and_null_is_none() -> None:
    """C5: 0 kW dropped as if nothing had been measured."""
    found = sort_out(portions([block({"power_w": [0, None, 0.0]})]), 1, REGISTRY, WINDOW)

    assert len(found.rows) == 3
    assert found.rows.values["power_w"][[0, 2]].tolist() == [0, 0]
    assert math.isnan(found.rows.values["power_w"][1])


def test_negative_power_is_export_and_is_stored() -> None:
    """C2: export power refused as negative."""
    found = sort_out(portions([block({"power_w": [-18.017]})]), 1, REGISTRY, WINDOW)

    assert found.set_aside == []


@pytest.mark.parametrize(
    ("name", "bad", "reason"),
    [
        ("power_w", math.nan, "not_a_number"),
        ("power_w", math.inf, "out_of_range"),
        ("power_w", 10**400, "out_of_range"),
        ("voltage_l1_v", -1, "out_of_range"),
        ("frequency_hz", 198, "out_of_range"),
        ("energy_import_wh", 10**14, "out_of_range"),
        ("energy_import_wh", -1, "out_of_range"),
        ("energy_import_wh", 2.5, "not_an_integer"),
        ("warp_factor", 9, "unknown_quantity"),
    ],
)
def test_a_bad_value_is_set_aside_alone(name: str, bad: Number, reason: str) -> None:
    """C4, E26: one bad value refuses the whole batch."""
    good: Number = None if name == "warp_factor" else 50
    found = sort_out(portions([block({name: [good, bad, None], "current_l1_a": [1, 2, 3]})]), 1, REGISTRY, WINDOW)

    (part,) = found.set_aside
    assert (part.reason, part.block.time_us, list(part.block.values)) == (reason, [2], [name])
    assert part.block.values[name] == [bad] or math.isnan(bad or 0)
    assert found.rows.values["current_l1_a"].tolist() == [1, 2, 3]
    assert name not in found.rows.values or np.isnan(found.rows.values[name]).tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("time_us", "reason"), [(101 * MINUTE_US, "future"), (-1, "too_old"), (2**62, "future"), (-(2**62), "too_old")]
)
def test_a_reading_outside_the_window_is_set_aside_whole(time_us: int, reason: str) -> None:
    found = sort_out(portions([block({"power_w": [1, 2]}, time_us=[5, time_us])]), 1, REGISTRY, WINDOW)

    (part,) = found.set_aside
    assert (part.reason, part.block.time_us, part.block.values) == (reason, [time_us], {"power_w": [2]})
    assert found.rows.time_us.tolist() == [5]


@pytest.mark.parametrize("beside", [1.5, None, math.nan])
def test_a_reading_at_either_end_of_the_window_is_stored(beside: Number) -> None:
    """C4: whatever else is in its block."""
    ends = block({"power_w": [1.5, beside, 2.5]}, time_us=[WINDOW.oldest_us, MINUTE_US, WINDOW.newest_us])

    found = sort_out(portions([ends]), 1, REGISTRY, WINDOW)

    assert found.rows.time_us.tolist() == [WINDOW.oldest_us, MINUTE_US, WINDOW.newest_us]
    assert {one.reason for one in found.set_aside} <= {"not_a_number"}


def test_a_bad_value_of_a_reading_that_waits_is_kept_with_it() -> None:
    found = sort_out(portions([block({"power_w": [math.inf]}, device="stranger")]), 1, REGISTRY, WINDOW)

    (part,) = found.set_aside
    assert part.reason == "unknown_device"
    assert part.block.values == {"power_w": [math.inf]}


def test_a_device_is_the_meter_that_it_was_at_the_time_of_the_reading() -> None:
    """D12: readings booked on somebody else's meter."""
    exchange_us = 10
    registry = Registry(
        1, {}, {(1, "main"): (Assignment(-(2**63), exchange_us, 7), Assignment(exchange_us, 2**63 - 1, 8))}
    )

    found = sort_out(portions([block({"power_w": [1, 2, 3]}, time_us=[9, 10, 11])]), 1, registry, WINDOW)

    assert found.rows.meter_id.tolist() == [7, 8, 8]


def test_a_reading_of_the_instant_at_which_a_registration_ends_is_of_nobody() -> None:
    """C2: spans are half-open, whether another meter follows or not."""
    ended = Registry(version=1, gateway_of_key={}, assignments={(1, "main"): (Assignment(0, MINUTE_US, 7),)})

    found = sort_out(portions([block({"power_w": [1, 2]}, time_us=[MINUTE_US - 1, MINUTE_US])]), 1, ended, WINDOW)

    assert found.rows.time_us.tolist() == [MINUTE_US - 1]
    assert [(one.reason, one.block.time_us) for one in found.set_aside] == [("unknown_device", [MINUTE_US])]


def test_another_gateway_cannot_speak_for_the_device() -> None:
    found = sort_out(portions([block({"power_w": [1]})]), 2, REGISTRY, WINDOW)

    assert [part.reason for part in found.set_aside] == ["unknown_device"]
    assert len(found.rows) == 0


def test_every_reading_is_either_a_row_or_set_aside_whole() -> None:
    blocks = [
        block({"power_w": [1, math.nan, 3]}, time_us=[1, 2, 2**60]),
        block({"power_w": [1, 2]}, device="stranger"),
        DeviceBlock(device="main", time_us=[], values={}),
    ]

    found = sort_out(portions(blocks), 1, REGISTRY, WINDOW)

    whole = sum(part.readings for part in found.set_aside if part.reason in ("future", "too_old", "unknown_device"))
    assert len(found.rows) + whole == sum(len(one.time_us) for one in blocks)


async def test_a_batch_of_many_devices_leaves_room_for_others() -> None:
    """E26: sorting such a batch out, where every device has something doubtful, held up every other gateway."""
    blocks = [block({"power_w": [math.inf]}, time_us=[n]) for n in range(4000)]
    delivery = Delivery(1, contents(Batch(1, "00000000-0000-0000-0000-000000000001", 1, blocks)), "")

    sorting = asyncio.create_task(sorted_out(delivery, REGISTRY, WINDOW))
    await asyncio.sleep(0)

    assert not sorting.done()
    assert len((await sorting).set_aside) == 4000


def test_doubtful_blocks_leave_the_others_of_their_kind_as_they_are() -> None:
    blocks = [block({"power_w": [n, n]}, time_us=[2 * n + 1, 2 * n + 2]) for n in range(5)]
    blocks[1].values["power_w"][0] = math.nan
    blocks[3].values["power_w"][1] = None

    found = sort_out(portions(blocks), 1, REGISTRY, WINDOW)

    rows = dict(zip(found.rows.time_us.tolist(), found.rows.values["power_w"].tolist(), strict=True))
    assert [part.reason for part in found.set_aside] == ["not_a_number"]
    assert sorted(rows) == list(range(1, 11))
    assert sorted(time for time, value in rows.items() if math.isnan(value)) == [3, 8]
    assert all(value == (time - 1) // 2 for time, value in rows.items() if not math.isnan(value))
