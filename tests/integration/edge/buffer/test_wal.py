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
from edge.reading import Delivery
from tests.integration.edge.buffer.buffers import copied, cut_all, files, kept, losses, opened, reading

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
    """E21: that one may have been torn by a power cut as well; what of it can be read is taken over, in place."""
    log = _log(killed).read_bytes()
    begin = _commits(log)[-2] + _FRAME
    untold = []
    for at in range(begin, _commits(log)[-1] + _FRAME):
        folder = copied(killed, tmp_path / str(at))
        _alter(folder, at)
        async with opened(folder) as store:
            numbers = _numbers(folder)
            told = sum(int(str(readings)) for _, readings, *_ in losses(folder))
            await store.commit([reading(_COUNT)])
        assert numbers in (list(range(_COUNT)), list(range(_COUNT - 1))), at
        assert told in (0, _COUNT - len(numbers)), at
        assert not files(folder, "buffer.sqlite.*-*"), at
        if len(numbers) + told < _COUNT:
            untold.append(at - begin)
    # What says where a row is and how long its parts are: without that there is no row to tell of.
    assert len(untold) < 30
    assert max(untold) < 110


async def test_what_is_torn_and_cannot_be_read_is_told(killed: Path, tmp_path: Path) -> None:
    """E21: the row is there, and what it is about is not."""
    folder = copied(killed, tmp_path / "damaged")
    log = _log(folder).read_bytes()
    # The body is the last thing in a row, and the newest row is first of those in its page.
    body = log.index(b"\x28\xb5\x2f\xfd", _commits(log)[-2] + _FRAME)
    _alter(folder, body + 12)
    async with opened(folder):
        assert _numbers(folder) == list(range(_COUNT - 1))
        assert [(kind, readings) for kind, readings, *_ in losses(folder)] == [(NoteKind.DAMAGED, 1)]


async def test_a_torn_commit_that_was_made_again_is_not_taken_twice(killed: Path, tmp_path: Path) -> None:
    """E19: of a commit that failed at the disk frames are left in the log, behind those that were written over them."""
    folder = copied(killed, tmp_path / "damaged")
    content = _log(folder).read_bytes()
    newest = _commits(content)[-2] + _FRAME
    end = _commits(content)[-1] + _FRAME
    _log(folder).write_bytes(content[:end] + content[newest:end])
    async with opened(folder):
        assert _numbers(folder) == list(range(_COUNT))


async def test_what_follows_readings_that_were_refused_is_taken_over(tmp_path: Path) -> None:
    """E21: their numbers are in no row any more, and those of the next commit come behind them."""
    first = tmp_path / "first"
    first.mkdir()
    async with opened(first) as store:
        await store.commit([reading(number) for number in range(4)])
        while batches := [batch for batch in await cut_all(store) if batch.readings]:
            for batch in batches:
                await store.refuse(batch.seq, status=422, reason="no")
        await store.commit([reading(4)])
        folder = copied(first, tmp_path / "killed")
    _alter(folder, _commits(_log(folder).read_bytes())[-1] + 16)
    async with opened(folder):
        assert _numbers(folder) == [4]


async def test_what_ends_the_commit_before_the_newest_costs_neither(killed: Path, tmp_path: Path) -> None:
    """E21: without it they look like one, as a power cut leaves it."""
    folder = copied(killed, tmp_path / "damaged")
    content = bytearray(_log(folder).read_bytes())
    at = _commits(content)[-2]
    content[at + 4 : at + 8] = bytes(4)
    _log(folder).write_bytes(content)
    async with opened(folder):
        assert _numbers(folder) == list(range(_COUNT))


async def test_what_a_broker_may_repeat_is_known_of_a_torn_commit(tmp_path: Path) -> None:
    """E23: its readings are here; stamped anew, they would be others."""
    first = tmp_path / "first"
    first.mkdir()
    sent = [Delivery("meters", number, bytes(8)) for number in range(3)]
    async with opened(first) as store:
        for number, delivery in enumerate(sent):
            await store.commit([reading(number)], deliveries=[delivery])
        folder = copied(first, tmp_path / "killed")
    _alter(folder, _commits(_log(folder).read_bytes())[-1] + 16)
    async with opened(folder) as store:
        assert _numbers(folder) == [0, 1, 2]
        assert await store.deliveries() == sent


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
