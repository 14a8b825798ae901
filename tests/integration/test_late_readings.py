"""Batches whose readings belong into compressed chunks: stored, completed and held against what is there as ever."""

import pytest

from tests.integration.conftest import NOW_US, Cloud, batch

_LATE_US = NOW_US - 4 * 86_400_000_000
pytestmark = pytest.mark.community

STORED = "SELECT power_w, energy_import_wh FROM raw_readings WHERE time > '2026-01-01' ORDER BY time"


@pytest.fixture
async def compressed(cloud: Cloud) -> Cloud:
    """Ten readings, the even seconds of twenty, compressed."""
    for n in range(10):
        await cloud.send(batch(n + 1, first_us=_LATE_US + 2_000_000 * n, power_w=[float(n)]))
    cloud.do("SELECT compress_chunk(chunk) FROM show_chunks('raw_readings') AS chunk")
    return cloud


async def test_late_readings_are_stored_between_compressed_ones(compressed: Cloud) -> None:
    answer = await compressed.send(batch(11, first_us=_LATE_US + 1_000_000, power_w=[50.0]))
    assert (answer.json()["stored"], answer.json()["duplicates"]) == (1, 0)
    assert compressed.rows(STORED)[:3] == [(0.0, None), (50.0, None), (1.0, None)]


async def test_readings_that_are_compressed_already_are_duplicates(compressed: Cloud) -> None:
    answer = await compressed.send(batch(11, first_us=_LATE_US, power_w=[0.0, 50.0, 1.0, 51.0, 2.0]))
    assert (answer.json()["stored"], answer.json()["duplicates"]) == (2, 3)
    assert answer.json()["quarantined"] == []
    assert [power_w for power_w, _ in compressed.rows(STORED)][:6] == [0.0, 50.0, 1.0, 51.0, 2.0, 3.0]


async def test_a_late_batch_completes_compressed_readings(compressed: Cloud) -> None:
    await compressed.send(batch(11, first_us=_LATE_US, energy_import_wh=list(range(100, 120))))
    assert compressed.rows(STORED)[:3] == [(0.0, 100), (None, 101), (1.0, 102)]


async def test_another_value_for_a_compressed_reading_waits_for_review(compressed: Cloud) -> None:
    answer = await compressed.send(batch(11, first_us=_LATE_US, power_w=[7.0]))
    assert answer.json()["quarantined"] == [{"device": "main", "reason": "conflict", "readings": 1}]
    assert compressed.rows(STORED)[0] == (0.0, None)
