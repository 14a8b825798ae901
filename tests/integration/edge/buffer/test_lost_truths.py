"""What became of a batch is damaged with its row; its readings come with the times that they may have arrived with."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from contract.batch import Flag
from edge.buffer.batches import Lane
from edge.buffer.store import Store
from edge.reading import Reading
from tests.integration.edge.buffer.buffers import (
    START_US,
    Time,
    cut_all,
    files,
    peek,
    rows_of,
    settle_all,
    store_at,
)

_S = 1_000_000
_TRUE_US = START_US - 3_600 * _S
_CORRECTED = int(Flag.TIME_CORRECTED)
_LATER_S = [(3,), (40, 0.005)]
"""By how much other truths are known until the file is damaged: another answer of the receiver, a time service."""


class _Gateway:
    """A store of one boot whose truth may become another, and which may not be known yet."""

    def __init__(self, folder: Path, *, boot_id: str = "boot", true_us: int | None = _TRUE_US) -> None:
        self.true_us, self.time = true_us, Time()
        self.store: Store = store_at(folder, clock=self.time.clock, boot_id=boot_id, truth=lambda: self.true_us)

    async def read(self, true_s: int, *, wrong_by_s: float = 0) -> None:
        reading = Reading("meter", START_US + round((true_s + wrong_by_s) * _S), {"energy_import_wh": true_s}, 0, 1000)
        await self.store.commit([reading], offset_us=_TRUE_US + round(wrong_by_s * _S))

    async def know_better(self, later_s: tuple[float, ...]) -> None:
        for seconds in later_s:
            self.true_us = _TRUE_US + round(seconds * _S)
            await self.store.commit([])

    async def times(self) -> dict[int, tuple[float, int]]:
        """Seconds after the start, and flags, by reading, of all that can be sent."""
        rows = [row for batch in await cut_all(self.store) for row in rows_of(batch)]
        return {
            int(str(values["energy_import_wh"])): ((time_us - START_US) / _S, flags)
            for _, time_us, values, flags in rows
        }


def _damage(folder: Path, *statements: str) -> None:
    """Rows are gone as if their pages were overwritten, and then the header is."""
    with closing(sqlite3.connect(folder / "buffer.sqlite")) as db, db:
        db.execute("PRAGMA secure_delete = ON")
        for statement in statements:
            assert db.execute(statement).rowcount > 0
    with (folder / "buffer.sqlite").open("r+b") as file:
        file.write(bytes(100))


@pytest.mark.parametrize("later_s", _LATER_S)
@pytest.mark.parametrize("wrong_by_s", [0.0, 14_165.0])
@pytest.mark.parametrize("lost", ["batch", "batch and boot"])
async def test_readings_whose_batch_is_lost_keep_the_truth_that_was_known_when_they_were_read(
    tmp_path: Path, lost: str, wrong_by_s: float, later_s: tuple[float, ...]
) -> None:
    """E21, E23, E27: set right by another truth, what had arrived was stored twice, milliseconds or hours apart."""
    gateway = _Gateway(tmp_path)
    await gateway.store.open()
    await gateway.read(1, wrong_by_s=wrong_by_s)
    before = await gateway.times()
    assert before == {1: (1, _CORRECTED if wrong_by_s else 0)}
    await gateway.know_better(later_s)
    await gateway.store.close()
    _damage(tmp_path, *(f"DELETE FROM {table}" for table in lost.split(" and ")))

    again = _Gateway(tmp_path, true_us=gateway.true_us)
    await again.store.open()
    assert await again.times() == before
    await again.store.close()
    assert files(tmp_path, "buffer.sqlite.damaged-*")


@pytest.mark.parametrize("damaged_us", [2**62, -(2**62), _TRUE_US + 100 * _S, None])
@pytest.mark.parametrize("known_at_first", [True, False])
async def test_a_truth_that_is_damaged_in_the_row_of_its_batch_neither_ends_the_gateway_nor_moves_readings(
    tmp_path: Path, damaged_us: int | None, known_at_first: bool
) -> None:
    """E21, E23, E27: the batch cannot be made as it was cut, and what is left of it is cut anew with its truth."""
    gateway = _Gateway(tmp_path, true_us=_TRUE_US if known_at_first else None)
    await gateway.store.open()
    await gateway.read(1, wrong_by_s=88.0)
    gateway.true_us = _TRUE_US
    before = await gateway.times()
    await gateway.store.close()
    with closing(sqlite3.connect(tmp_path / "buffer.sqlite")) as db, db:
        db.execute("UPDATE batch SET true_us = ?", (damaged_us,))

    again = _Gateway(tmp_path)
    await again.store.open()
    assert [batch.readings for batch in await again.store.outstanding(Lane.LIVE)] == [0]
    if known_at_first or abs(damaged_us or 0) > 2**60:
        assert await again.times() == before == {1: (1, _CORRECTED)}
    else:
        # Nothing tells which of the two is damaged: the readings are there, whatever their time.
        assert (await again.times()).keys() == before.keys()
    await again.store.close()


async def test_readings_that_were_deleted_and_come_back_of_free_pages_have_the_times_that_they_had(
    fast_path: Path,
) -> None:
    """E21, E23, E27: nothing tells that they were confirmed, and the start of the machine is forgotten too."""
    gateway = _Gateway(fast_path)
    await gateway.store.open()
    for second in range(60):
        await gateway.read(second, wrong_by_s=88.0 if second % 7 else -START_US / _S)
    before = await gateway.times()
    await settle_all(gateway.store)
    gateway.time.forward(100)
    await gateway.store.confirm([(1, 1_000)], keep_s=60, asked_us=gateway.time.now_us)
    await gateway.store.commit([])
    await gateway.store.close()
    other = _Gateway(fast_path, boot_id="the next boot")
    await other.store.open()
    assert peek(fast_path, "SELECT count(*) FROM segment") == [(0,)]
    await other.store.close()
    _damage(fast_path, "DELETE FROM batch")

    again = _Gateway(fast_path, boot_id="the next boot")
    await again.store.open()
    back = await again.times()
    await again.store.close()
    assert back
    assert back.items() <= before.items()


@pytest.mark.parametrize("later_s", _LATER_S)
async def test_a_truth_that_is_held_is_not_lost_with_what_is_known_of_the_boot(
    tmp_path: Path, later_s: tuple[float, ...]
) -> None:
    """E21, E23, E27: read before anybody knew the time, cut, and given another number; then the file is damaged."""
    gateway = _Gateway(tmp_path, true_us=None)
    await gateway.store.open()
    await gateway.read(1, wrong_by_s=-START_US / _S)
    gateway.true_us = _TRUE_US
    before = await gateway.times()
    assert before == {1: (1, _CORRECTED)}
    await gateway.store.renumber("the receiver has another batch of this number")
    await gateway.know_better(later_s)
    assert await gateway.times() == before
    await gateway.store.close()
    _damage(tmp_path, "DELETE FROM batch", "DELETE FROM boot")

    again = _Gateway(tmp_path, true_us=gateway.true_us)
    await again.store.open()
    assert await again.times() == before
    await again.store.close()


@pytest.mark.parametrize("boot_too", [False, True])
@pytest.mark.parametrize("later_s", _LATER_S)
async def test_what_was_read_before_the_time_was_known_has_the_truth_of_the_batches_beside_its_lost_one(
    tmp_path: Path, later_s: tuple[float, ...], boot_too: bool
) -> None:
    """E21, E23, E27: batches are cut one after another, and mostly with one truth."""
    gateway = _Gateway(tmp_path, true_us=None)
    await gateway.store.open()
    for second in range(5):
        await gateway.read(second, wrong_by_s=-START_US / _S)
    gateway.true_us = _TRUE_US
    await gateway.store.cut_live(1)
    assert await gateway.store.cut_backlog(1, 10) == 4
    before = await gateway.times()
    assert before == {second: (second, _CORRECTED) for second in range(5)}
    await gateway.know_better(later_s)
    await gateway.store.close()
    lost = "DELETE FROM batch WHERE seq IN (1, 3)"
    _damage(tmp_path, lost, *(["DELETE FROM boot"] if boot_too else []))

    again = _Gateway(tmp_path, true_us=gateway.true_us)
    await again.store.open()
    assert await again.times() == before
    await again.store.close()


async def test_readings_that_were_set_right_are_told_once_though_their_truth_is_settled(tmp_path: Path) -> None:
    """E27: with the first batch that they are in, and with no other."""
    gateway = _Gateway(tmp_path)
    await gateway.store.open()
    for second in range(3):
        await gateway.read(second, wrong_by_s=7_200)
    await gateway.times()
    await gateway.store.renumber("the receiver has another batch of this number")
    await gateway.times()
    corrected = "SELECT value FROM meta WHERE key = 'corrected_readings'"
    assert peek(tmp_path, corrected) == [(3,)]
    await gateway.store.close()
    with (tmp_path / "buffer.sqlite").open("r+b") as file:
        file.write(bytes(100))
    again = _Gateway(tmp_path)
    await again.store.open()
    assert len(await again.times()) == 3
    assert peek(tmp_path, corrected) == []
    await again.store.close()
