"""What a torture says that a fault destroyed is what the gateway cannot bring back, and hardly more."""

import random
import shutil
from pathlib import Path

import pytest

from edge.buffer.store import Store
from edge.reading import Reading
from tests.integration.edge.buffer.buffers import copied, opened, reading, registers, settle_all
from tests.torture.destruction import Buffer

_PAGE = 512
_FRAME = _PAGE + 24
_GROUPS, _MOST = 60, 12
_DELIVERED = 20


def _group(number: int) -> list[Reading]:
    """Alike from one to the next, as a fleet's are; some need more than one page."""
    return [reading(number * 100 + n, f"schneider-iem3155-{n:02}") for n in range(1 + number * 7 % _MOST)]


_WAITING = {one.values["energy_import_wh"] for number in range(_DELIVERED, _GROUPS) for one in _group(number)}


@pytest.fixture
async def whole(fast_path: Path) -> Path:
    """The folder of a buffer of which a part has its receipts."""
    async with opened(fast_path / "whole") as store:
        await _fill(store)
    return fast_path / "whole"


@pytest.fixture
async def killed(fast_path: Path) -> Path:
    """The same as a kill would leave it: half of what waits is in the log alone."""
    async with opened(fast_path / "running") as store:
        await _fill(store)
        return copied(fast_path / "running", fast_path / "whole")


async def _fill(store: Store) -> None:
    for number in range(_GROUPS):
        if number == (_GROUPS + _DELIVERED) // 2:
            await store._file.look(lambda db: db.execute("PRAGMA wal_checkpoint(RESTART)").fetchall())
        await store.commit(_group(number))
        if number == _DELIVERED - 1:
            await settle_all(store)


async def _damaged(whole: Path, start: int, noise: bytes, part: str = "buffer.sqlite") -> tuple[int, int]:
    """Readings that are destroyed, and that do not come back, where `part` of a copy has `noise` from `start` on."""
    folder = shutil.copytree(whole, whole.parent / f"{part}-{start}")
    buffer = Buffer(folder / "buffer.sqlite")
    with (folder / part).open("r+b") as file:
        file.seek(start)
        file.write(noise)
    destroyed = buffer.destroyed()
    async with opened(folder) as store:
        back = set(registers(await settle_all(store)))
    return destroyed, len(_WAITING - back)


async def _everywhere(whole: Path, part: str, step: int) -> list[tuple[int, int]]:
    """The same for a place in each `step` bytes of it."""
    chance = random.Random(1)
    found = []
    for start in range(0, (whole / part).stat().st_size - step + 1, step):
        size = chance.choice((1, 4, 64))
        found.append(await _damaged(whole, start + chance.randrange(step - size), chance.randbytes(size), part))
    assert [(place, one) for place, one in enumerate(found) if one[1] > one[0]] == []
    return found


async def test_no_reading_is_gone_that_is_not_destroyed_whatever_page_is_damaged(whole: Path) -> None:
    """E21"""
    found = await _everywhere(whole, "buffer.sqlite", _PAGE)
    destroyed, gone = (sum(numbers) for numbers in zip(*found, strict=True))
    assert 0 < gone <= destroyed < 2 * len(_WAITING)


@pytest.mark.long
async def test_no_reading_is_gone_that_is_not_destroyed_whatever_frame_of_the_log_is_damaged(killed: Path) -> None:
    """E21"""
    found = await _everywhere(killed, "buffer.sqlite-wal", _FRAME)
    destroyed, gone = (sum(numbers) for numbers in zip(*found, strict=True))
    assert 0 < gone <= destroyed < 2 * len(_WAITING)


async def test_what_is_whole_or_has_its_receipt_is_not_destroyed(whole: Path) -> None:
    assert await _damaged(whole, 0, b"") == (0, 0)
    content = (whole / "buffer.sqlite").read_bytes()
    first = _group(0)[0].device.encode()
    assert await _damaged(whole, content.index(first), bytes(8)) == (0, 0)
