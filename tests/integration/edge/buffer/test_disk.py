"""A disk that is full, or not there, and a file that is taken away under an open buffer."""

import asyncio
import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from contract.notes import Note, NoteKind
from edge.buffer.limits import pages
from edge.buffer.queue import BufferQueue
from edge.buffer.store import Store
from edge.clock import Clock
from edge.errors import BufferUnwritable
from edge.reading import Reading
from tests.integration.edge.buffer.buffers import (
    Time,
    alter,
    copied,
    cut_all,
    files,
    kept,
    losses,
    opened,
    peek,
    queued,
    reading,
    receipt,
    registers,
    settle_all,
    store_at,
    waiting,
)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")


@contextmanager
def _disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    folder.mkdir(exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _fill(folder: Path, leave: int = 0) -> None:
    with (folder / "others").open("ab") as file:
        disk = os.statvfs(folder)
        file.write(bytes(max(0, disk.f_bavail * disk.f_frsize - leave)))


def _empty(folder: Path) -> None:
    (folder / "others").unlink()


def _noise(number: int, rng: random.Random) -> list[Reading]:
    return [reading(number * 100 + n, f"m-{rng.getrandbits(100):x}") for n in range(100)]


@needs_root
async def test_what_a_full_disk_refuses_did_not_happen_and_is_done_when_there_is_room(tmp_path: Path) -> None:
    """E20: commit, cut, receipt, confirmation, refusal and new numbers, each all or nothing."""
    rng, time = random.Random(3), Time()
    with _disk(tmp_path / "disk", 2_000) as folder:
        async with opened(folder, clock=time.clock, live_readings=150) as store:
            committed = 0
            for committed in range(8):
                await store.commit(_noise(committed, rng))
            batches = await cut_all(store, 150)
            assert await store.settle(receipt(batches[0]))
            time.forward(10)
            await store.confirm([(1, 1)], keep_s=0, asked_us=time.now_us)
            _fill(folder)
            before, refused = await _state(store), 0
            for what in (
                lambda: store.commit(_noise(99, rng), notes=[Note(NoteKind.SILENT, 1, 2)]),
                lambda: store.cut_live(150),
                lambda: store.cut_backlog(150, 5),
                lambda: store.refuse(batches[1].seq, status=422, reason="no"),
                lambda: store.renumber("no"),
            ):
                # The last bytes may still do for some of it.
                for _ in range(30):
                    store.want_live = True
                    try:
                        await what()
                        before = await _state(store)
                    except BufferUnwritable:
                        refused += 1
                        assert await _state(store) == before
            assert refused
            _empty(folder)
            held = {one.values["energy_import_wh"] for one in kept(folder)}
            arrived = registers(await settle_all(store))
            assert len(arrived) == len(set(arrived))
            assert peek(folder, "SELECT time_us FROM refused") == []
            assert held - set(registers(batches[0])) <= set(arrived)


@needs_root
async def test_what_a_full_disk_refused_is_not_counted_as_damaged_later(tmp_path: Path) -> None:
    """Ids of segments count readings, so that a commit that did not happen must leave no hole in them."""
    rng = random.Random(3)
    with _disk(tmp_path / "disk", 2_000) as folder:
        async with opened(folder) as store:
            await store.commit(_noise(0, rng))
            _fill(folder)
            with suppress(BufferUnwritable):
                # The last bytes may still do for some.
                for number in range(1, 30):
                    await store.commit(_noise(number, rng))
            _empty(folder)
            await store.commit(_noise(30, rng))
        before = len(kept(folder))
        alter(folder, "UPDATE meta SET value = 'two' WHERE key = 'format'")
        async with opened(folder):
            assert len(kept(folder)) == before
            assert losses(folder) == []


async def _state(store: Store) -> object:
    """What the store says, and what the file does."""
    batches = [(one.seq, one.sha256) for one in await waiting(store)]
    backlog = await store.backlog()
    cuts = store._ledger.outbox.cuts.values()
    outbox = [(cut.seq, cut.first_id, cut.last_id, cut.readings, cut.receipt_us) for cut in cuts]
    folder = store._path.parent
    rows = peek(
        folder,
        "SELECT seq, first_id, last_id, readings, receipt_us FROM batch WHERE confirmed_us IS NULL ORDER BY seq",
    )
    assert sorted(outbox) == rows
    readings, size = peek(folder, "SELECT coalesce(sum(readings), 0), coalesce(sum(length(body)), 0) FROM segment")[0]
    delivered = [cut for cut in cuts if store._receipts.got(cut)]
    assert backlog.readings == int(str(readings)) - sum(cut.kept for cut in delivered)
    assert backlog.bytes == int(str(size)) - sum(cut.size for cut in delivered)
    return store.stream, store.next_seq, batches, backlog, outbox, readings


@needs_root
async def test_while_the_disk_is_full_readings_wait_and_are_committed_afterwards(tmp_path: Path) -> None:
    """E20"""
    rng = random.Random(4)
    with _disk(tmp_path / "disk", 1_000) as folder:
        async with opened(folder) as store, queued(store, commit_interval_s=0) as queue:
            await queue.put([reading(0)], offset_us=0)
            _fill(folder)
            futures, number = [], 1
            while queue.state.unwritable is None:
                futures.append(queue.put(_noise(number, rng), offset_us=0))
                number += 1
                await asyncio.sleep(0.01)
            assert not futures[-1].done()
            _empty(folder)
            await asyncio.wait_for(asyncio.gather(*futures), 10)
            assert queue.state.unwritable is None
        found = [one.values["energy_import_wh"] for one in kept(folder)]
    assert sorted(found) == [0, *range(100, number * 100)]


@needs_root
async def test_a_disk_that_is_full_at_the_start_is_waited_for(tmp_path: Path) -> None:
    """E20"""
    with _disk(tmp_path / "disk", 400) as folder:
        _fill(folder)
        store = store_at(folder)
        queue = BufferQueue(store=store, clock=Clock(), commit_interval_s=0, commit_readings=50, memory_readings=1000)
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(queue.run(stop))
            future = queue.put([reading(1)], offset_us=0)
            await asyncio.sleep(0.2)
            assert (queue.opened.is_set(), future.done()) == (False, False)
            assert queue.state.unwritable is not None
            _empty(folder)
            await asyncio.wait_for(future, 10)
            stop.set()
        await store.close()
        assert kept(folder) == [reading(1)]


@pytest.mark.long
@needs_root
async def test_the_room_that_others_need_is_left_to_them(tmp_path: Path) -> None:
    """E20: the oldest goes before the disk is full, though the buffer's own bound is far."""
    rng = random.Random(5)
    with _disk(tmp_path / "disk", 4_500) as folder:
        async with opened(folder, min_free_bytes=3 * 2**20) as store:
            for quarter in range(80):
                group = [
                    Reading(f"m-{n}", quarter * 900_000_000, {"energy_import_wh": rng.getrandbits(60)}, 0, 900_000)
                    for n in range(1_500)
                ]
                await store.commit(group)
                await store.make_room()
            disk = os.statvfs(folder)
            _, empty = await store._file.look(pages)
            assert disk.f_bavail * disk.f_frsize + empty > 2 * 2**20
            held = (await store.backlog()).readings
        [(gone,)] = peek(folder, "SELECT sum(readings) FROM loss WHERE kind = 'thinned'")
        assert gone == 80 * 1_500 - held
        assert peek(folder, "SELECT max(last_us) FROM segment") == [(79 * 900_000_000,)]


@needs_root
async def test_without_its_mount_nothing_is_written_and_it_is_taken_up_when_it_is_back(tmp_path: Path) -> None:
    """E20: the folder under a mount is on the system's disk."""
    folder = tmp_path / "disk"
    folder.mkdir()
    store = store_at(folder, mount=folder)
    with _disk(tmp_path / "card", 1_000) as card:
        with pytest.raises(BufferUnwritable, match="nothing is mounted"):
            await store.open()
        with _bound(card, folder):
            await store.open()
            await store.commit([reading(1)])
            await store.check()
        with pytest.raises(BufferUnwritable, match="nothing is mounted") as caught:
            await store.check()
        assert caught.value.reopen
        with pytest.raises(BufferUnwritable, match="nothing is mounted"):
            await store.open()
        assert files(folder, "*") == []
        with _bound(card, folder):
            await store.open()
            await store.commit([reading(2)])
            await store.close()
            assert kept(folder) == [reading(1), reading(2)]


@contextmanager
def _bound(source: Path, target: Path) -> Iterator[None]:
    subprocess.run(["mount", "--bind", str(source), str(target)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(target)], check=True)


@pytest.mark.parametrize("which", ["all", "file", "log"])
async def test_what_a_file_held_that_was_deleted_goes_into_a_new_one(tmp_path: Path, which: str) -> None:
    """E17, E21: somebody tidies up; the open file still has it all."""
    async with opened(tmp_path) as store:
        await store.commit([reading(1)])
        await store.check()
        for part in files(tmp_path, {"all": "buffer.sqlite*", "file": "buffer.sqlite", "log": "*-wal"}[which]):
            part.unlink()
        await store.commit([reading(2)])
        with pytest.raises(BufferUnwritable, match="taken away") as caught:
            await store.check()
        assert caught.value.reopen
        await store.open()
        await store.check()
        await store.commit([reading(3)])
        assert (await store.backlog()).readings == 3
    async with opened(tmp_path) as store:
        assert sorted(registers(await settle_all(store))) == [1, 2, 3]
    assert files(tmp_path, "*.rescued-*") == []
    assert peek(tmp_path, "SELECT value FROM meta WHERE key = 'set_aside'") == []


async def test_a_file_that_was_replaced_by_another_buffer_gets_what_the_open_one_held(tmp_path: Path) -> None:
    """E21: a backup is put back while the daemon runs; the log beside it is the other file's."""
    other = tmp_path / "other"
    other.mkdir()
    async with opened(other) as store:
        for number in range(100, 200):
            await store.commit([reading(number)])
    async with opened(tmp_path) as store:
        for number in range(20):
            await store.commit([reading(number)])
        (other / "buffer.sqlite").rename(tmp_path / "buffer.sqlite")
        with pytest.raises(BufferUnwritable, match="replaced"):
            await store.check()
        await store.open()
        assert (await store.backlog()).readings == 120
        assert sorted(registers(await settle_all(store))) == [*range(20), *range(100, 200)]
    assert files(tmp_path, "*.damaged-*") == []


async def test_a_file_that_was_replaced_together_with_its_log_keeps_what_is_in_that(tmp_path: Path) -> None:
    """E21: a folder is put back as a crash had left it; the newest is in the log alone."""
    async with opened(tmp_path / "other") as store:
        for number in range(100, 120):
            await store.commit([reading(number)])
        crashed = copied(tmp_path / "other", tmp_path / "crashed")
    async with opened(tmp_path) as store:
        for number in range(20):
            await store.commit([reading(number)])
        for part in files(crashed, "buffer.sqlite*"):
            part.rename(tmp_path / part.name)
        with pytest.raises(BufferUnwritable, match="replaced"):
            await store.check()
        await store.open()
        assert sorted(registers(await settle_all(store))) == [*range(20), *range(100, 120)]
    assert files(tmp_path, "*.damaged-*") == []


async def test_the_queue_notices_that_the_file_is_gone_and_goes_on(tmp_path: Path) -> None:
    """E21"""
    time = Time()
    async with opened(tmp_path, clock=time.clock) as store:
        queue = BufferQueue(
            store=store, clock=time.clock, commit_interval_s=0, commit_readings=50, memory_readings=1000
        )
        queue.put([reading(1)], offset_us=0)
        assert await queue.commit()
        for part in files(tmp_path, "buffer.sqlite*"):
            part.unlink()
        for number in (2, 3):
            time.forward(20)
            queue.put([reading(number)], offset_us=0)
            assert await queue.commit()
        assert kept(tmp_path) == [reading(1), reading(2), reading(3)]


async def test_a_store_that_is_not_open_says_so(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    with pytest.raises(BufferUnwritable, match="not open") as caught:
        await store.commit([reading(1)])
    assert (caught.value.reopen, store._file._db) == (True, None)
    await store.close()
