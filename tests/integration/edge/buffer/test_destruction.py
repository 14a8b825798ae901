"""What a torture says that a fault destroyed is what the gateway cannot bring back, and hardly more."""

import random
import shutil
from pathlib import Path

import pytest

from edge.reading import Reading
from tests.integration.edge.buffer.buffers import opened, reading, registers, settle_all
from tests.torture.destruction import Buffer

_PAGE = 512
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
        for number in range(_GROUPS):
            await store.commit(_group(number))
            if number == _DELIVERED - 1:
                await settle_all(store)
    return fast_path / "whole"


async def _damaged(whole: Path, start: int, noise: bytes) -> tuple[int, int]:
    """Readings that are destroyed, and that do not come back, where a copy has `noise` from byte `start` on."""
    folder = shutil.copytree(whole, whole.parent / f"damaged-{start}")
    buffer = Buffer(folder / "buffer.sqlite")
    with (folder / "buffer.sqlite").open("r+b") as file:
        file.seek(start)
        file.write(noise)
    destroyed = buffer.destroyed()
    async with opened(folder) as store:
        back = set(registers(await settle_all(store)))
    return destroyed, len(_WAITING - back)


async def test_no_reading_is_gone_that_is_not_destroyed_whatever_page_is_damaged(whole: Path) -> None:
    """E21"""
    chance = random.Random(1)
    every = (whole / "buffer.sqlite").stat().st_size // _PAGE
    found = []
    for page in range(every):
        size = chance.choice((1, 4, 64))
        at = page * _PAGE + chance.randrange(_PAGE - size)
        found.append(await _damaged(whole, at, chance.randbytes(size)))
    assert [(page, one) for page, one in enumerate(found) if one[1] > one[0]] == []
    destroyed, gone = (sum(numbers) for numbers in zip(*found, strict=True))
    assert 0 < gone <= destroyed < 2 * len(_WAITING)


async def test_what_is_whole_or_has_its_receipt_is_not_destroyed(whole: Path) -> None:
    assert await _damaged(whole, 0, b"") == (0, 0)
    content = (whole / "buffer.sqlite").read_bytes()
    first = _group(0)[0].device.encode()
    assert await _damaged(whole, content.index(first), bytes(8)) == (0, 0)
