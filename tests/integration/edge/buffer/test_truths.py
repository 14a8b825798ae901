"""A truth that is known better later moves no reading that may have arrived already."""

from pathlib import Path

import pytest

from contract.batch import Flag
from edge.buffer.store import Store
from edge.reading import Reading
from tests.integration.edge.buffer.buffers import START_US, alter, cut_all, peek, rows_of, store_at

_S = 1_000_000
_TRUE_US = START_US - 3_600 * _S
_CORRECTED = int(Flag.TIME_CORRECTED)


class _Gateway:
    """A store of one boot whose truth may become another."""

    def __init__(self, folder: Path) -> None:
        self.true_us = _TRUE_US
        self.store = store_at(folder, boot_id="boot", truth=lambda: self.true_us)

    async def read(self, true_s: int, *, wrong_by_s: float = 0) -> None:
        reading = Reading("meter", START_US + round((true_s + wrong_by_s) * _S), {"energy_import_wh": true_s}, 0, 1000)
        await self.store.commit([reading], offset_us=_TRUE_US + round(wrong_by_s * _S))

    async def times(self) -> list[tuple[float, int]]:
        """Seconds after the start, and flags, of all that can be sent."""
        return await _times(self.store)


async def _times(store: Store) -> list[tuple[float, int]]:
    rows = [row for batch in await cut_all(store) for row in rows_of(batch)]
    return sorted(((time_us - START_US) / _S, flags) for _, time_us, _, flags in rows)


@pytest.mark.parametrize("wrong_by_s", [0.0, 100.0])
async def test_what_was_cut_with_one_truth_keeps_its_times_under_another_number(
    tmp_path: Path, wrong_by_s: float
) -> None:
    """E23, E27: it may have arrived, and the receiver knows it by its time."""
    gateway = _Gateway(tmp_path)
    gateway.true_us += 3 * _S
    await gateway.store.open()
    await gateway.read(1, wrong_by_s=wrong_by_s)
    before = await gateway.times()
    assert before == [(4, _CORRECTED)]
    gateway.true_us = _TRUE_US
    await gateway.read(2)
    for _ in range(2):
        await gateway.store.renumber("the receiver has another batch of this number")
        assert await gateway.times() == [(2, 0), *before]
    await gateway.store.close()


async def test_what_was_right_when_it_was_cut_is_not_set_right_under_another_number(tmp_path: Path) -> None:
    """E23, E27"""
    gateway = _Gateway(tmp_path)
    await gateway.store.open()
    await gateway.read(1)
    assert await gateway.times() == [(1, 0)]
    gateway.true_us += 10 * _S
    await gateway.store.renumber("the receiver has another batch of this number")
    await gateway.read(2)
    assert await gateway.times() == [(1, 0), (12, _CORRECTED)]
    await gateway.store.close()


async def test_what_is_left_of_a_damaged_batch_keeps_its_times(tmp_path: Path) -> None:
    """E23, E27: it may have arrived before it was damaged."""
    gateway = _Gateway(tmp_path)
    gateway.true_us += 3 * _S
    await gateway.store.open()
    await gateway.read(1)
    await gateway.read(2)
    await gateway.store.cut_live(100)
    await gateway.store.close()
    alter(tmp_path, "UPDATE segment SET body = zeroblob(10) WHERE id = (SELECT max(id) FROM segment)")
    again = _Gateway(tmp_path)
    await again.store.open()
    await again.read(3)
    assert await again.times() == [(3, 0)]
    assert await again.times() == [(3, 0), (4, _CORRECTED)]
    await again.store.close()


async def test_a_truth_that_becomes_another_after_the_new_number_moves_nothing_either(tmp_path: Path) -> None:
    """E23, E27"""
    gateway = _Gateway(tmp_path)
    gateway.true_us += 3 * _S
    await gateway.store.open()
    await gateway.read(1)
    before = await gateway.times()
    await gateway.store.renumber("the receiver has another batch of this number")
    gateway.true_us = _TRUE_US
    await gateway.read(2)
    assert await gateway.times() == [(2, 0), *before]
    await gateway.store.close()


async def test_the_halves_of_a_batch_that_was_refused_have_its_times(tmp_path: Path) -> None:
    """E26, E27: split once, the readings of a clock of 1970 went as they had been stamped."""
    gateway = _Gateway(tmp_path)
    await gateway.store.open()
    for second in range(4):
        await gateway.read(second, wrong_by_s=-START_US / _S)
    before = await gateway.times()
    await gateway.store.refuse(1, status=422, reason="too much")
    assert await gateway.times() == before == [(second, _CORRECTED) for second in range(4)]
    gateway.true_us += 3 * _S
    await gateway.store.refuse(2, status=422, reason="too much")
    assert await gateway.times() == before
    await gateway.store.close()


async def test_a_truth_that_was_held_goes_with_its_readings(tmp_path: Path) -> None:
    gateway = _Gateway(tmp_path)
    await gateway.store.open()
    await gateway.read(1)
    await gateway.times()
    await gateway.store.renumber("the receiver has another batch of this number")
    names = peek(tmp_path, "SELECT boot_id FROM boot ORDER BY boot_id")
    assert names == [("boot",), (f"boot={_TRUE_US}",), (f"boot@={_TRUE_US}",)]
    await gateway.store.close()
    alter(tmp_path, "DELETE FROM segment")
    again = _Gateway(tmp_path)
    await again.store.open()
    assert peek(tmp_path, "SELECT boot_id FROM boot") == [("boot",)]
    await again.store.close()


async def test_what_a_damaged_file_gives_back_has_the_times_that_its_batch_had(tmp_path: Path) -> None:
    """E21, E23, E27: it may have arrived with these, whatever was known later; what was in no batch has the last."""
    gateway = _Gateway(tmp_path)
    gateway.true_us += 3 * _S
    await gateway.store.open()
    await gateway.read(1)
    await gateway.times()
    gateway.true_us += 10 * _S
    await gateway.read(2)
    await gateway.store.close()
    with (tmp_path / "buffer.sqlite").open("r+b") as file:
        file.write(b"no header at all")
    again = _Gateway(tmp_path)
    again.true_us += 13 * _S
    await again.store.open()
    assert await again.times() == [(4, _CORRECTED), (15, _CORRECTED)]
    await again.store.close()
