"""Times of a clock that was wrong: set right when the truth is known, and said so."""

from pathlib import Path

import pytest

from contract.batch import Flag
from contract.codec import MSGPACK
from contract.notes import NoteKind
from edge.buffer.store import Store
from edge.reading import Reading
from tests.integration.edge.buffer.buffers import (
    START_US,
    alter,
    content,
    cut_all,
    opened,
    peek,
    reading,
    rows_of,
    store_at,
)

_S = 1_000_000
_HOUR_US = 3_600 * _S
# The truth: monotonic zero was then.
_TRUE_US = START_US - _HOUR_US


class _Boot:
    """A start of the machine: a wall clock that may be wrong, and what is known of the true time."""

    def __init__(self, folder: Path, boot_id: str = "boot") -> None:
        self.true_us: int | None = None
        self.store: Store = store_at(folder, boot_id=boot_id, truth=lambda: self.true_us)

    async def read(self, true_s: int, *, wrong_by_s: float = 0, flags: int = 0) -> None:
        """One reading at `true_s` after the start of the hour, by a clock that is ahead by so much."""
        ahead_us = round(wrong_by_s * _S)
        time_us = START_US + true_s * _S + (0 if flags & Flag.TIME_FROM_DEVICE else ahead_us)
        stamped = Reading("meter", time_us, {"energy_import_wh": true_s}, flags, 1000)
        await self.store.commit([stamped], offset_us=_TRUE_US + ahead_us)

    async def times(self) -> list[tuple[float, int]]:
        """Seconds after the start, and flags, of all that can be cut, in order."""
        return sorted(
            ((time_us - START_US) / _S, flags)
            for batch in await cut_all(self.store)
            for _, time_us, _, flags in rows_of(batch)
        )


async def test_times_of_a_wrong_clock_are_set_right_and_flagged_once_the_truth_is_known(tmp_path: Path) -> None:
    """E27: after a start without a network it was 1970, then it jumped."""
    boot = _Boot(tmp_path)
    await boot.store.open()
    await boot.read(1, wrong_by_s=-START_US / _S)
    await boot.read(2, wrong_by_s=7_200)
    await boot.read(3)
    assert await boot.times() == []
    boot.true_us = _TRUE_US
    corrected = int(Flag.TIME_CORRECTED)
    assert await boot.times() == [(1, corrected), (2, corrected), (3, 0)]
    await boot.store.close()


@pytest.mark.parametrize("wrong_by_s", [-0.5, 0.4, 0.5])
async def test_a_clock_that_is_slowly_set_right_is_no_wrong_clock(tmp_path: Path, wrong_by_s: float) -> None:
    """E27"""
    boot = _Boot(tmp_path)
    boot.true_us = _TRUE_US
    await boot.store.open()
    await boot.read(1, wrong_by_s=wrong_by_s)
    assert await boot.times() == [(1 + wrong_by_s, 0)]
    await boot.store.close()


async def test_times_of_the_meters_own_clock_stay_as_they_are(tmp_path: Path) -> None:
    """E12, E27"""
    boot = _Boot(tmp_path)
    boot.true_us = _TRUE_US
    await boot.store.open()
    own = int(Flag.TIME_FROM_DEVICE)
    await boot.read(1, wrong_by_s=900, flags=own)
    await boot.read(2, wrong_by_s=900)
    await boot.store.commit(
        [Reading("a", START_US + 900 * _S, {"power_w": 1.0}), Reading("a", START_US, {"power_w": 2.0}, own)],
        offset_us=_TRUE_US + 900 * _S,
    )
    corrected = int(Flag.TIME_CORRECTED)
    assert await boot.times() == [(0, own), (0, corrected), (1, own), (2, corrected)]
    await boot.store.close()


async def test_a_corrected_batch_is_the_same_after_a_restart_whatever_is_known_then(tmp_path: Path) -> None:
    """E22, E27"""
    boot = _Boot(tmp_path, "first")
    boot.true_us = _TRUE_US
    await boot.store.open()
    await boot.read(1, wrong_by_s=100)
    await boot.read(2)
    before = await cut_all(boot.store)
    await boot.store.close()
    for boot_id, true_us in (("first", _TRUE_US + _HOUR_US), ("second", None)):
        again = _Boot(tmp_path, boot_id)
        again.true_us = true_us
        await again.store.open()
        assert await cut_all(again.store) == before
        await again.store.close()


async def test_an_earlier_start_is_set_right_if_its_clock_was_vouched_for_and_sent_as_it_is_if_not(
    tmp_path: Path,
) -> None:
    """E27"""
    vouched = _Boot(tmp_path, "vouched")
    await vouched.store.open()
    await vouched.read(1, wrong_by_s=100)
    vouched.true_us = _TRUE_US
    await vouched.read(2)
    await vouched.store.close()
    unknown = _Boot(tmp_path, "unknown")
    await unknown.store.open()
    await unknown.read(3, wrong_by_s=100)
    await unknown.store.close()
    now = _Boot(tmp_path, "now")
    now.true_us = _TRUE_US
    await now.store.open()
    await now.read(4)
    assert await now.times() == [(1, int(Flag.TIME_CORRECTED)), (2, 0), (4, 0), (103, 0)]
    await now.store.close()


async def test_a_truth_that_is_known_better_later_is_taken_for_what_is_cut_later(tmp_path: Path) -> None:
    """E27"""
    boot = _Boot(tmp_path)
    boot.true_us = _TRUE_US + 10 * _S
    await boot.store.open()
    await boot.read(1)
    assert await boot.times() == [(11, int(Flag.TIME_CORRECTED))]
    boot.true_us = _TRUE_US
    await boot.read(2)
    assert await boot.times() == [(2, 0), (11, int(Flag.TIME_CORRECTED))]
    await boot.store.close()


async def test_while_nobody_vouches_for_the_clock_the_readings_wait_and_nothing_else_does(tmp_path: Path) -> None:
    """E27"""
    before = _Boot(tmp_path, "before")
    before.true_us = _TRUE_US
    await before.store.open()
    for number in range(3):
        await before.read(number)
    await before.store.close()
    now = _Boot(tmp_path, "now")
    await now.store.open()
    assert await now.times() == [(0, 0), (1, 0), (2, 0)]
    now.store.want_live = True
    await now.read(10)
    assert now.store.want_live
    assert len(await now.times()) == 3
    now.true_us = _TRUE_US
    await now.read(11)
    assert len(await now.times()) == 5
    await now.store.close()


async def test_readings_of_before_the_start_go_though_the_clock_of_now_is_not_known(tmp_path: Path) -> None:
    """E27: the backlog of a gateway without a clock is sent while it looks for the time."""
    before = _Boot(tmp_path, "before")
    before.true_us = _TRUE_US
    await before.store.open()
    await before.read(1)
    await before.store.close()
    now = _Boot(tmp_path, "now")
    await now.store.open()
    await now.read(10)
    assert await now.times() == [(1, 0)]
    await now.store.close()


async def test_version_1_gets_corrected_times_too(tmp_path: Path) -> None:
    """E27"""
    boot = _Boot(tmp_path)
    boot.true_us = _TRUE_US
    await boot.store.open()
    boot.store.media_type = MSGPACK
    await boot.read(1, wrong_by_s=-50)
    assert await boot.times() == [(1, int(Flag.TIME_CORRECTED))]
    await boot.store.close()


async def test_starts_of_which_nothing_is_left_are_forgotten(tmp_path: Path) -> None:
    """E29"""
    for number in range(5):
        async with opened(tmp_path, boot_id=f"boot-{number}", truth=lambda: None) as store:
            if number == 2:
                await store.commit([reading(1)])
    assert peek(tmp_path, "SELECT boot_id FROM boot ORDER BY id") == [("boot-2",), ("boot-4",)]


async def test_readings_that_were_set_right_are_counted_and_told(tmp_path: Path) -> None:
    """E27"""
    boot = _Boot(tmp_path)
    await boot.store.open()
    await boot.read(1, wrong_by_s=7_200)
    await boot.read(2, wrong_by_s=7_200, flags=int(Flag.TIME_FROM_DEVICE))
    await boot.read(3)
    boot.true_us = _TRUE_US
    [batch] = await cut_all(boot.store)
    [note] = content(batch).notes
    assert (note.kind, note.readings) == (NoteKind.CORRECTED, 1)
    assert (note.first_us, note.last_us) == (START_US + 1 * _S, START_US + 3 * _S)
    assert peek(tmp_path, "SELECT value FROM meta WHERE key = 'corrected_readings'") == [(1,)]
    await boot.store.close()


async def test_what_a_damaged_file_gives_back_has_the_times_that_were_delivered(tmp_path: Path) -> None:
    """E21, E23, E27: by another time it would be a second reading."""
    boot = _Boot(tmp_path)
    await boot.store.open()
    boot.true_us = _TRUE_US
    await boot.read(1, wrong_by_s=7_200)
    delivered = await boot.times()
    await boot.store.close()
    with (tmp_path / "buffer.sqlite").open("r+b") as file:
        file.write(b"no header at all")
    later = _Boot(tmp_path, "the next boot")
    await later.store.open()
    assert later.store.stream != boot.store.stream
    assert await later.times() == delivered == [(1, int(Flag.TIME_CORRECTED))]
    await later.store.close()


async def test_what_a_damaged_file_gives_back_keeps_its_times_though_another_truth_is_known_by_now(
    tmp_path: Path,
) -> None:
    """E21, E23, E27: cut while the receiver's clock was believed, salvaged when a better one is."""
    boot = _Boot(tmp_path)
    await boot.store.open()
    boot.true_us = _TRUE_US + 40 * _S
    await boot.read(1, wrong_by_s=7_200)
    delivered = await boot.times()
    boot.true_us = _TRUE_US
    await boot.read(2, wrong_by_s=7_200)
    await boot.store.close()
    with (tmp_path / "buffer.sqlite").open("r+b") as file:
        file.write(b"no header at all")
    later = _Boot(tmp_path, "the next boot")
    await later.store.open()
    corrected = int(Flag.TIME_CORRECTED)
    assert await later.times() == [(2, corrected), (41, corrected)]
    assert delivered == [(41, corrected)]
    await later.store.close()


async def test_readings_that_were_set_right_are_counted_once_however_often_they_are_cut(tmp_path: Path) -> None:
    """E27, E28: new numbers, a batch that cannot be made any more, one that is refused."""
    boot = _Boot(tmp_path)
    await boot.store.open()
    for second in (1, 2, 3):
        await boot.read(second, wrong_by_s=7_200)
    boot.true_us = _TRUE_US
    await cut_all(boot.store)
    for _ in range(3):
        await boot.store.renumber("asked to")
        [batch] = await cut_all(boot.store)
    await boot.store.refuse(batch.seq, status=422, reason="no")
    alter(tmp_path, "UPDATE batch SET sha256 = zeroblob(32) WHERE seq = ?", batch.seq + 1)
    await boot.store.close()
    later = _Boot(tmp_path)
    await later.store.open()
    await cut_all(later.store)
    assert [second for second, _ in await later.times()] == [1, 2, 3]
    assert peek(tmp_path, "SELECT value FROM meta WHERE key = 'corrected_readings'") == [(3,)]
    await later.store.close()
