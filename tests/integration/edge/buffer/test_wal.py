"""A write-ahead log with a byte that is not what was written: SQLite reads up to there and drops the rest, unasked."""

import asyncio
import os
import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from contract.notes import NoteKind
from edge.buffer.pages import on_disk
from tests.integration.edge.buffer.buffers import copied, files, kept, losses, opened, reading

_COUNT, _IN_FILE = 60, 20
_HEAD, _FRAME = 32, 24 + 512


def _numbers(folder: Path) -> list[int]:
    return [int(str(one.values["energy_import_wh"])) for one in kept(folder)]


async def _killed(folder: Path) -> Path:
    """A buffer whose first commits are in the file and in an older log, and the rest in the log of now."""
    first = folder / "first"
    first.mkdir()
    async with opened(first) as store:
        for number in range(_COUNT):
            if number == _IN_FILE:
                await store._file.look(lambda db: db.execute("PRAGMA wal_checkpoint(RESTART)").fetchall())
            await store.commit([reading(number)])
        return copied(first, folder / "killed")


def _log(folder: Path) -> Path:
    return folder / "buffer.sqlite-wal"


def _alter(folder: Path, at: int) -> None:
    content = bytearray(_log(folder).read_bytes())
    content[at] ^= 0x10
    _log(folder).write_bytes(content)


def _commits(log: bytes) -> list[int]:
    """Where the frames begin that end a commit of the newest generation."""
    starts = range(_HEAD, len(log) - _FRAME + 1, _FRAME)
    return [at for at in starts if log[at + 8 : at + 16] == log[16:24] and any(log[at + 4 : at + 8])]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return asyncio.run(_killed(tmp_path_factory.mktemp("wal")))


async def test_sqlite_itself_drops_what_follows(killed: Path, tmp_path: Path) -> None:
    """E21: why the log is looked through at all."""
    folder = copied(killed, tmp_path / "damaged")
    _alter(folder, _HEAD + 3 * _FRAME)
    with closing(sqlite3.connect(folder / "buffer.sqlite")) as db:
        [[found]] = db.execute("SELECT count(*) FROM segment").fetchall()
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert found < _COUNT


@pytest.mark.long
async def test_a_byte_anywhere_in_the_log_costs_no_commit_behind_it(killed: Path, tmp_path: Path) -> None:
    """E21: each commit is there again, or told as lost."""
    log = _log(killed).read_bytes()
    end = _commits(log)[-2] + _FRAME
    places = sorted({*range(_HEAD), *random.Random(3).sample(range(_HEAD, end), 200)})
    for at in places:
        folder = copied(killed, tmp_path / str(at))
        _alter(folder, at)
        async with opened(folder) as store:
            told = sum(int(str(readings)) for kind, readings, *_ in losses(folder) if kind == NoteKind.DAMAGED)
            numbers = _numbers(folder)
            assert numbers == sorted(set(numbers)), at
            assert len(numbers) + told == _COUNT, at
            assert told <= 1, at
            await store.commit([reading(_COUNT)])
        assert files(folder, "buffer.sqlite.damaged-*-wal"), at


async def test_a_byte_in_the_newest_commit_costs_no_other(killed: Path, tmp_path: Path) -> None:
    """E21, E23: it may as well have been torn by a power cut, and then a broker repeats what was in it."""
    log = _log(killed).read_bytes()
    begin = _commits(log)[-2] + _FRAME
    for at in range(begin, _commits(log)[-1] + _FRAME, 3):
        folder = copied(killed, tmp_path / str(at))
        _alter(folder, at)
        async with opened(folder) as store:
            assert _numbers(folder) == list(range(_COUNT - 1)), at
            await store.commit([reading(_COUNT)])
        assert not files(folder, "buffer.sqlite.*-*"), at


async def test_what_is_left_of_a_commit_that_failed_is_no_damage(killed: Path, tmp_path: Path) -> None:
    """E19: its frames are in the log, behind those that were written over them when it was made again."""
    folder = copied(killed, tmp_path / "damaged")
    content = _log(folder).read_bytes()
    newest = _commits(content)[-2] + _FRAME
    end = _commits(content)[-1] + _FRAME
    _log(folder).write_bytes(content[:end] + content[newest:end])
    async with opened(folder):
        assert _numbers(folder) == list(range(_COUNT))
    assert not files(folder, "buffer.sqlite.*-*")


def test_a_log_that_gives_no_more_is_no_end_of_the_process(killed: Path, tmp_path: Path) -> None:
    """E21: of a file that is mapped, a page that is not there ends it by a signal."""
    log = _log(copied(killed, tmp_path / "damaged"))
    with on_disk(log) as content:
        size = len(content)
        os.truncate(log, 0)
        assert content[size - 512 :] == b""


async def test_a_log_whose_file_is_gone_is_damage(killed: Path, tmp_path: Path) -> None:
    """E21: SQLite would delete the log, and all commits that are in it alone."""
    folder = copied(killed, tmp_path / "damaged")
    (folder / "buffer.sqlite").unlink()
    async with opened(folder):
        assert set(_numbers(folder)) >= set(range(_IN_FILE, _COUNT))


async def test_transactions_that_end_without_a_word_are_no_damage(tmp_path: Path) -> None:
    """E21: a kill between two frames, and what is left of older logs, set nothing aside."""
    first = tmp_path / "first"
    first.mkdir()
    async with opened(first) as store:
        for number in range(_COUNT):
            if number % 13 == 12:
                await store._file.look(lambda db: db.execute("PRAGMA wal_checkpoint(RESTART)").fetchall())
            await store.commit([reading(number)])
            if number % 7:
                continue
            log = _log(first).read_bytes()
            whole = copied(first, tmp_path / f"{number}")
            cut = copied(first, tmp_path / f"{number}-cut")
            end = _commits(log)[-1] + _FRAME
            _log(cut).write_bytes(log[: end - _FRAME // 2])
            for folder in (whole, cut):
                async with opened(folder):
                    expected = number + 1 if folder is whole or len(_commits(log)) == 0 else number
                    assert _numbers(folder) == list(range(expected)), folder
                assert not files(folder, "buffer.sqlite.*-*")
