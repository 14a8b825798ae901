"""Which files are damaged, and what a power cut between the new names of a file and of its log leaves."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from edge.errors import BufferDamaged
from tests.integration.edge.buffer.buffers import copied, files, kept, opened, reading


@pytest.mark.parametrize("header", [True, False])
async def test_a_power_cut_between_the_file_and_its_log_costs_nothing(fast_path: Path, header: bool) -> None:
    """E21: the log was named already, and holds the newest commits."""
    first = fast_path / "first"
    first.mkdir()
    async with opened(first) as store:
        for number in range(40):
            await store.commit([reading(number)])
        await store._file.look(lambda db: db.execute("PRAGMA wal_checkpoint(RESTART)").fetchall())
        for number in range(40, 60):
            await store.commit([reading(number)])
        folder = copied(first, fast_path / "killed")
    path = folder / "buffer.sqlite"
    if not header:
        path.write_bytes(bytes(100) + path.read_bytes()[100:])
    path.with_name("buffer.sqlite-wal").rename(folder / "buffer.sqlite.unread-7-wal")
    async with opened(folder):
        numbers = sorted(int(str(one.values["energy_import_wh"])) for one in kept(folder))
    assert numbers == list(range(60))
    assert (folder / "buffer.sqlite.damaged-7").exists()


def _damage_index(path: Path, name: str, known: bytes) -> None:
    """Another key in the index's own page: every page is still one, and the index no longer that of its table."""
    with closing(sqlite3.connect(path)) as db:
        [[page]] = db.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,))
        [[size]] = db.execute("PRAGMA page_size")
    content = bytearray(path.read_bytes())
    at = content.index(known, (page - 1) * size, page * size)
    content[at] ^= 1
    path.write_bytes(content)


async def test_an_index_that_does_not_fit_its_table_is_damage(tmp_path: Path) -> None:
    """E21: found when the running boot was noted only, and again at each attempt, for ever."""
    async with opened(tmp_path, boot_id="the boot that runs") as store:
        await store.commit([reading(number) for number in range(20)])
    path = tmp_path / "buffer.sqlite"
    _damage_index(path, "sqlite_autoindex_boot_1", b"the boot that runs")
    async with opened(tmp_path, boot_id="the boot that runs") as store:
        await store.commit([reading(20)])
    assert sorted(int(str(one.values["energy_import_wh"])) for one in kept(tmp_path)) == list(range(21))
    assert len(files(tmp_path, "buffer.sqlite.damaged-*")) == 1


async def test_damage_that_comes_while_it_is_open_ends_with_the_next_opening(tmp_path: Path) -> None:
    """E21"""

    def change_the_index(db: sqlite3.Connection) -> None:
        db.execute("UPDATE boot SET boot_id = boot_id || '.'")

    async with opened(tmp_path, boot_id="the boot that runs") as store:
        await store.commit([reading(number) for number in range(20)])
        await store._file.look(lambda db: db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())
        await store._file.look(lambda db: db.execute("PRAGMA shrink_memory"))
        _damage_index(tmp_path / "buffer.sqlite", "sqlite_autoindex_boot_1", b"the boot that runs")
        with pytest.raises(BufferDamaged) as damage:
            await store._file.change(change_the_index)
        assert damage.value.reopen
        await store.open()
        await store._file.change(change_the_index)
        await store.commit([reading(20)])
    assert sorted(int(str(one.values["energy_import_wh"])) for one in kept(tmp_path)) == list(range(21))
    assert len(files(tmp_path, "buffer.sqlite.damaged-*")) == 1


async def test_what_was_set_aside_and_gives_nothing_now_holds_up_nobody(tmp_path: Path) -> None:
    """E21, E32: the disk may give it at a later opening; until then it is told, and stays."""
    aside = tmp_path / "buffer.sqlite.unread-7"
    aside.mkdir()
    (aside / "what a disk made of it").touch()
    async with opened(tmp_path) as store:
        await store.commit([reading(1)])
    assert [int(str(one.values["energy_import_wh"])) for one in kept(tmp_path)] == [1]
    assert aside.exists()
