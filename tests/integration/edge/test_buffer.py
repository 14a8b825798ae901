"""The buffer on a real file."""

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from contract.codec import MSGPACK, decode, decompress
from contract.receipt import Receipt
from edge.buffer.deliveries import RECENT_DELIVERIES
from edge.buffer.lock import BufferLock, held
from edge.buffer.queue import BufferQueue
from edge.buffer.rows import Loss
from edge.buffer.segments import CutBatch
from edge.buffer.store import Store
from edge.clock import Clock
from edge.drivers.mqtt.connection import RECEIVE_MAXIMUM
from edge.errors import BufferFormat, BufferInUse
from edge.reading import Delivery, Reading
from edge.status import stored_in
from tests.integration.edge.peers import eventually

_QUARTER_US = 900_000_000


def _reading(number: int, device: str = "meter") -> Reading:
    return Reading(device, 1_795_000_000_000_000 + number * 1_000_000, {"energy_import_wh": number}, 0, 1000)


@asynccontextmanager
async def _store(path: Path, *, max_bytes: int = 2**30) -> AsyncIterator[Store]:
    store = await Store.open(path / "buffer.sqlite", clock=Clock(), max_bytes=max_bytes)
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def _queue(
    store: Store, *, commit_interval_s: float = 0.05, memory_readings: int = 1000, commit_readings: int = 500
) -> AsyncIterator[BufferQueue]:
    stop = asyncio.Event()
    queue = BufferQueue(
        store=store,
        clock=Clock(),
        commit_interval_s=commit_interval_s,
        commit_readings=commit_readings,
        memory_readings=memory_readings,
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(queue.run(stop))
        yield queue
        stop.set()


def _receipt(batch: CutBatch, stream: object, **changes: object) -> Receipt:
    values = {"seq": batch.seq, "sha256": batch.sha256, "stream": stream} | changes
    return Receipt(version=1, readings=batch.readings, stored=batch.readings, duplicates=0, quarantined=[], **values)


def _registers(batch: CutBatch) -> list[int]:
    content = decode(decompress(batch.body, batch.encoding, 2**26), MSGPACK)
    return [int(value or 0) for block in content.devices for value in block.values["energy_import_wh"]]


def _files(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.glob(pattern))


def _peek(path: Path, sql: str) -> list[tuple[object, ...]]:
    """Another connection's view: only what is committed."""
    db = sqlite3.connect(path / "buffer.sqlite")
    try:
        return db.execute(sql).fetchall()
    finally:
        db.close()


async def test_the_commit_is_full_and_ahead_of_the_acknowledgement(tmp_path: Path) -> None:
    """E13, E18, E19"""
    async with _store(tmp_path) as store, _queue(store, commit_interval_s=0.2) as queue:
        future = queue.put([_reading(1)])
        await asyncio.sleep(0.05)
        assert not future.done()
        assert _peek(tmp_path, "SELECT count(*) FROM segment") == [(0,)]
        await future
        assert _peek(tmp_path, "SELECT readings FROM segment") == [(1,)]
        async with store._db.execute("PRAGMA synchronous") as cursor:
            assert await cursor.fetchone() == (2,)


async def test_many_readings_are_committed_before_the_interval_is_over(tmp_path: Path) -> None:
    async with _store(tmp_path) as store, _queue(store, commit_interval_s=60, commit_readings=10) as queue:
        await asyncio.wait_for(asyncio.gather(*(queue.put([_reading(n)]) for n in range(10))), 2)
    assert queue.state.commits == 1


async def test_a_group_is_one_commit_and_an_interval_of_zero_commits_at_once(tmp_path: Path) -> None:
    """E28"""
    async with _store(tmp_path) as store:
        async with _queue(store, commit_interval_s=0.1) as queue:
            await asyncio.gather(*(queue.put([_reading(n)]) for n in range(50)))
            assert queue.state.commits == 1
        async with _queue(store, commit_interval_s=0) as queue:
            await asyncio.wait_for(queue.put([_reading(99)]), 1)


async def test_a_batch_is_cut_once_and_never_changes(tmp_path: Path) -> None:
    """E22, E23"""
    async with _store(tmp_path) as store:
        await store.commit([_reading(1)])
        await store.commit([_reading(2)])
        first = await store.next_batch(5000)
        await store.commit([_reading(3)])
        again = await store.next_batch(5000)
    async with _store(tmp_path) as store:
        after_restart = await store.next_batch(5000)
        assert first == again == after_restart
        assert first is not None
        assert _registers(first) == [1, 2]
        assert await store.settle(_receipt(first, store.stream))
        second = await store.next_batch(5000)
    assert second is not None
    assert (second.seq, _registers(second)) == (2, [3])


async def test_batches_take_whole_segments_up_to_the_limit_with_dense_numbers(tmp_path: Path) -> None:
    """E22, E24"""
    rng = random.Random(3)
    numbers = iter(range(10_000))
    async with _store(tmp_path) as store:
        for _ in range(60):
            await store.commit([_reading(next(numbers)) for _ in range(rng.randint(1, 40))])
        total = next(numbers)
        seen: list[int] = []
        seqs: list[int] = []
        while (batch := await store.next_batch(100)) is not None:
            assert batch.readings <= 100
            seen += _registers(batch)
            seqs.append(batch.seq)
            assert await store.settle(_receipt(batch, store.stream))
    assert seen == list(range(total))
    assert seqs == list(range(1, len(seqs) + 1))


@pytest.mark.parametrize("change", [{"seq": 2}, {"sha256": "0" * 64}, {"stream": "another"}])
async def test_only_the_receipt_of_the_batch_deletes_it(tmp_path: Path, change: dict[str, object]) -> None:
    """E16"""
    async with _store(tmp_path) as store:
        await store.commit([_reading(1)])
        batch = await store.next_batch(5000)
        assert batch is not None
        assert not await store.settle(_receipt(batch, **{"stream": store.stream, **change}))
        assert await store.next_batch(5000) == batch


async def test_a_refused_batch_is_kept_and_the_next_one_goes(tmp_path: Path) -> None:
    """E26"""
    async with _store(tmp_path) as store:
        await store.commit([_reading(1)])
        await store.next_batch(5000)
        await store.refuse(1, status=422, reason="$.devices[0]: no")
        await store.commit([_reading(2)])
        batch = await store.next_batch(5000)
    assert batch is not None
    assert (batch.seq, _registers(batch)) == (2, [2])
    assert _peek(tmp_path, "SELECT seq, readings, status, reason FROM refused") == [(1, 1, 422, "$.devices[0]: no")]


@pytest.mark.parametrize("damage", ["garbage", "torn", "truncated-header", "foreign-table", "foreign-format"])
async def test_a_damaged_file_is_set_aside_and_a_new_stream_begins(tmp_path: Path, damage: str) -> None:
    """E21"""
    path = tmp_path / "buffer.sqlite"
    async with _store(tmp_path) as store:
        for number in range(300):
            await store.commit([_reading(number, f"meter-{number}")])
        before = store.stream
    content = bytearray(path.read_bytes())
    if damage == "garbage":
        content = bytearray(random.Random(1).randbytes(len(content)))
    elif damage == "torn":
        content[8192 : len(content) // 2] = bytes(len(content) // 2 - 8192)
    elif damage == "truncated-header":
        content = content[:57]
    path.write_bytes(content)
    if damage == "foreign-table":
        path.unlink()
        db = sqlite3.connect(path)
        db.execute("CREATE TABLE meta (something INTEGER)")
        db.close()
    elif damage == "foreign-format":
        db = sqlite3.connect(path)
        with db:
            db.execute("UPDATE meta SET value = 'two' WHERE key = 'format'")
        db.close()
        content = bytearray(path.read_bytes())
    async with _store(tmp_path) as store:
        assert store.stream != before
        await store.commit([_reading(1)])
        assert (await store.backlog()).readings == 1
    [aside] = _files(tmp_path, "buffer.sqlite.damaged-*")
    assert damage == "foreign-table" or aside.read_bytes() == content
    stored = stored_in(path)
    assert stored is not None
    assert stored.set_aside == str(aside)


async def test_a_buffer_of_another_release_is_left_alone(tmp_path: Path) -> None:
    """E17: after a downgrade, a store full of unsent readings is destroyed."""
    path = tmp_path / "buffer.sqlite"
    async with _store(tmp_path) as store:
        await store.commit([_reading(1)])
    db = sqlite3.connect(path)
    with db:
        db.execute("UPDATE meta SET value = 2 WHERE key = 'format'")
    db.close()
    before = path.read_bytes()

    with pytest.raises(BufferFormat, match="format 2, this release knows 1"):
        async with _store(tmp_path):
            pass

    assert path.read_bytes() == before
    assert _files(tmp_path, "buffer.sqlite.damaged-*") == []


_DAMAGES = {
    "cut": "substr(body, 1, length(body) - 3)",
    "not-zstd": "x'00'",
    # The frame stays well-formed: only its checksum tells that the values in it are others.
    "bits-of-a-value": "CAST(substr(body, 1, length(body) - 5) || x'7f' || substr(body, length(body) - 3) AS BLOB)",
}


def _damage(path: Path, how: str, where: str) -> None:
    db = sqlite3.connect(path / "buffer.sqlite")
    with db:
        assert db.execute(f"UPDATE segment SET body = {_DAMAGES[how]} WHERE {where}").rowcount > 0
    db.close()


@pytest.mark.parametrize("how", _DAMAGES)
async def test_a_damaged_segment_costs_itself_and_not_its_neighbours(tmp_path: Path, how: str) -> None:
    """E21: a worn card gives back other bytes in a file that is sound."""
    async with _store(tmp_path) as store:
        for number in range(1, 4):
            await store.commit([_reading(number)])
    _damage(tmp_path, how, "id = 2")
    async with _store(tmp_path) as store:
        batch = await store.next_batch(5000)
        assert batch is not None
        assert _registers(batch) == [1, 3]
        assert await store.settle(_receipt(batch, store.stream))
        assert await store.next_batch(5000) is None
    stored = stored_in(tmp_path / "buffer.sqlite")
    assert stored is not None
    time_us = _reading(2).time_us
    assert stored.losses == [Loss("damaged on the disk", 1, time_us, time_us)]
    assert stored.backlog.readings == 0


async def test_a_backlog_of_damaged_segments_alone_ends_as_a_loss_and_no_batch(tmp_path: Path) -> None:
    """E21"""
    async with _store(tmp_path) as store:
        await store.commit([_reading(1)])
        _damage(tmp_path, "not-zstd", "true")
        assert await store.next_batch(5000) is None
        await store.commit([_reading(2)])
        batch = await store.next_batch(5000)
    assert batch is not None
    assert (batch.seq, _registers(batch)) == (1, [2])


async def test_a_full_buffer_gives_up_a_damaged_segment_and_goes_on(tmp_path: Path) -> None:
    """E20, E21"""
    async with _store(tmp_path, max_bytes=1) as store:
        for number in range(1, 4):
            await store.commit([_reading(number)])
        _damage(tmp_path, "not-zstd", "id = 2")
        losses = await store.make_room()
        batch = await store.next_batch(5000)
    assert [loss.readings for loss in losses if loss.reason == "damaged on the disk"] == [1]
    assert batch is not None
    assert _registers(batch)[-1] == 3


async def test_a_torn_tail_of_the_log_costs_the_last_commit_at_most(tmp_path: Path) -> None:
    """E21"""
    async with _store(tmp_path) as store:
        for number in range(20):
            await store.commit([_reading(number)])
        copy = tmp_path / "copy"
        copy.mkdir()
        for part in _files(tmp_path, "buffer.sqlite*"):
            (copy / part.name).write_bytes(part.read_bytes())
        stream = store.stream
    log = copy / "buffer.sqlite-wal"
    log.write_bytes(log.read_bytes()[:-100])
    async with _store(copy) as store:
        assert store.stream == stream
        assert (await store.backlog()).readings == 19


async def test_a_full_buffer_keeps_energy_registers_longest_and_says_what_it_gave_up(tmp_path: Path) -> None:
    """E20: the newest is never refused, and what is gone is counted to the reading."""
    rng, total = random.Random(5), 0
    async with _store(tmp_path, max_bytes=2**20) as store:
        while len(_peek(tmp_path, "SELECT 1 FROM loss")) == 0 or total < 30_000:
            rows = []
            for _ in range(200):
                values = {f"power_l{phase}_w": round(rng.uniform(0, 9999), 1) for phase in (1, 2, 3)}
                rows.append(Reading("meter", total * 1_000_000, {**values, "energy_import_wh": total}, 0, 1000))
                total += 1
            await store.commit(rows)
            await store.make_room()
            assert total < 200_000
        kept = await store.backlog()
        used = await store.used_bytes()
        batch = await store.next_batch(10**6)
    losses = _peek(tmp_path, "SELECT reason, readings, first_us, last_us FROM loss")
    assert used < 1.1 * 2**20
    assert [reason for reason, *_ in losses] == ["thinned to quarter-hour energy registers: the buffer is full"]
    assert sum(int(str(row[1])) for row in losses) + kept.readings == total
    assert batch is not None
    registers = _registers(batch)
    assert registers[-1] == total - 1
    thinned_until = int(str(losses[0][3]))
    quarters = {n * 1_000_000 // _QUARTER_US for n in registers if n * 1_000_000 <= thinned_until}
    assert quarters == set(range(thinned_until // _QUARTER_US + 1))


async def test_once_only_energy_registers_are_left_the_oldest_go_and_the_newest_stay(tmp_path: Path) -> None:
    """E20: one register a quarter of an hour has nothing to thin; the bound holds all the same."""
    rng, quarter = random.Random(6), 0
    async with _store(tmp_path, max_bytes=2**20) as store:
        while not _peek(tmp_path, "SELECT 1 FROM loss WHERE reason LIKE 'dropped:%'"):
            readings = [
                Reading(f"meter-{n}", quarter * _QUARTER_US, {"energy_import_wh": rng.getrandbits(40)}, 0, 900_000)
                for n in range(500)
            ]
            await store.commit(readings)
            await store.make_room()
            quarter += 1
            assert quarter < 2_000
        kept = await store.backlog()
        assert await store.used_bytes() < 1.1 * 2**20
    rows = _peek(tmp_path, "SELECT reason, readings FROM loss")
    losses = dict(rows)
    assert len(rows) == len(losses)
    assert losses["dropped: the buffer is full of energy registers"] + kept.readings == quarter * 500
    assert _peek(tmp_path, "SELECT max(last_us) FROM segment") == [((quarter - 1) * _QUARTER_US,)]
    assert "thinned to quarter-hour energy registers: the buffer is full" not in losses


async def test_refused_batches_do_not_take_the_room_of_the_others(tmp_path: Path) -> None:
    """E20, E26"""
    rng = random.Random(7)
    async with _store(tmp_path, max_bytes=2**20) as store:
        for seq in range(1, 301):
            rows = [Reading(f"m-{rng.getrandbits(60)}", seq * 10**6, {"power_w": 1.5}, 0, 0) for _ in range(1_000)]
            await store.commit(rows)
            await store.next_batch(5_000)
            await store.refuse(seq, status=422, reason="no")
            await store.make_room()
        [(count, oldest)] = _peek(tmp_path, "SELECT count(*), min(seq) FROM refused")
    assert isinstance(count, int)
    assert _peek(tmp_path, "SELECT reason, readings FROM loss") == [
        ("refused batch dropped: the buffer is full", (300 - count) * 1_000)
    ]
    assert oldest == 301 - count


async def test_rejected_messages_are_bounded_and_the_newest_stay(tmp_path: Path) -> None:
    """E13"""
    async with _store(tmp_path) as store, _queue(store, commit_interval_s=0, memory_readings=100_000) as queue:
        futures = [queue.reject("t", f"{n}".encode(), "why") for n in range(1100)]
        await asyncio.gather(*futures)
    assert _peek(tmp_path, "SELECT count(*) FROM rejected") == [(1000,)]
    assert _peek(tmp_path, "SELECT CAST(payload AS TEXT) FROM rejected ORDER BY id DESC LIMIT 1") == [("1099",)]


async def test_deliveries_are_remembered_over_a_restart(tmp_path: Path) -> None:
    """E23"""
    delivery = Delivery.of("client", 65535, "topic", b"payload")
    async with _store(tmp_path) as store, _queue(store) as queue:
        assert not queue.committed(delivery)
        await queue.put([_reading(1)], deliveries=[delivery])
        assert queue.committed(delivery)
    async with _store(tmp_path) as store:
        assert await store.deliveries() == [delivery]


def _delivery(number: int, client: str = "client") -> Delivery:
    return Delivery.of(client, number % 65_535 + 1, "topic", b"%d" % number)


async def test_a_clients_deliveries_are_known_however_busy_the_others_are(tmp_path: Path) -> None:
    """E23: its link may have died between the commit and the acknowledgement."""
    quiet = _delivery(1, "quiet")
    async with _store(tmp_path) as store, _queue(store, commit_interval_s=0) as queue:
        await queue.put([_reading(1)], deliveries=[quiet])
        await queue.put([_reading(2)], deliveries=[_delivery(number) for number in range(2 * RECENT_DELIVERIES)])
        assert queue.committed(quiet)
    async with _store(tmp_path) as store:
        assert quiet in await store.deliveries()


@pytest.mark.parametrize("together", [1, 7, 64, 500, 4_000])
async def test_a_whole_window_is_known_after_a_crash_whatever_groups_it_was_committed_in(
    tmp_path: Path, together: int
) -> None:
    """E23: all the acknowledgements may have been lost, and the broker repeats all."""
    count = RECEIVE_MAXIMUM if together > 1 else 300
    window = [_delivery(number) for number in range(count)]
    async with _store(tmp_path) as store:
        for first in range(0, count, together):
            await store.commit([], deliveries=window[first : first + together])
    async with _store(tmp_path) as store:
        assert await store.deliveries() == window


async def test_what_is_kept_of_deliveries_is_a_window_and_not_much_more(tmp_path: Path) -> None:
    assert RECENT_DELIVERIES >= 4 * RECEIVE_MAXIMUM
    async with _store(tmp_path) as store, _queue(store, commit_interval_s=0) as queue:
        for first in range(0, 3 * RECENT_DELIVERIES, 1_000):
            await queue.put([], deliveries=[_delivery(number) for number in range(first, first + 1_000)])
        newest = [_delivery(number) for number in range(first + 1_000 - RECENT_DELIVERIES, first + 1_000)]
        assert all(queue.committed(delivery) for delivery in newest)
        assert not queue.committed(_delivery(0))
        known = await store.deliveries()
        assert known[-RECENT_DELIVERIES:] == newest
        assert len(known) < RECENT_DELIVERIES + 1_064  # The oldest group is whole.


async def test_a_delivery_that_is_committed_again_is_as_new_as_the_last(tmp_path: Path) -> None:
    """Brokers that give out the lowest free id say the same under the same id again and again."""
    again = _delivery(0)
    async with _store(tmp_path) as store, _queue(store, commit_interval_s=0) as queue:
        await queue.put([], deliveries=[again])
        await queue.put([], deliveries=[_delivery(number) for number in range(1, RECENT_DELIVERIES)])
        await queue.put([], deliveries=[again, _delivery(RECENT_DELIVERIES)])
        assert queue.committed(again)


async def test_deliveries_that_an_older_release_kept_are_taken_over(tmp_path: Path) -> None:
    """E23: the update of a gateway is a restart like any other."""
    async with _store(tmp_path):
        pass
    before = [_delivery(number) for number in range(100)]
    db = sqlite3.connect(tmp_path / "buffer.sqlite")
    db.execute("CREATE TABLE delivery (client TEXT PRIMARY KEY, recent BLOB NOT NULL) WITHOUT ROWID")
    db.execute("INSERT INTO delivery VALUES ('client', ?)", (b"".join(delivery.packed for delivery in before),))
    db.commit()
    db.close()
    async with _store(tmp_path) as store:
        await store.commit([], deliveries=[_delivery(100)])
    async with _store(tmp_path) as store:
        assert await store.deliveries() == [*before, _delivery(100)]


async def test_memory_overflow_gives_up_the_oldest_and_records_the_span(tmp_path: Path) -> None:
    """E20: while the disk refuses, memory is bounded; a broker's message waits at the broker instead."""
    async with _store(tmp_path) as store:
        queue = BufferQueue(store=store, clock=Clock(), commit_interval_s=1, commit_readings=500, memory_readings=100)
        held_back = queue.put([_reading(0, "plug")], deliveries=[Delivery.of("c", 1, "t", b"p")])
        futures = [queue.put([_reading(number)]) for number in range(150)]
        assert [future.cancelled() for future in futures] == [True] * 51 + [False] * 99
        assert await queue.commit()
        assert held_back.done()
        assert not held_back.cancelled()
        assert (await store.backlog()).readings == 100
        queue.put([_reading(150)])
        assert await queue.commit()
    # Once, however many commits follow.
    assert _peek(tmp_path, "SELECT readings, first_us, last_us FROM loss") == [
        (51, _reading(0).time_us, _reading(50).time_us)
    ]


async def test_two_daemons_on_one_buffer_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "buffer.lock"
    assert not held(path)
    with BufferLock(path):
        assert held(path)
        with pytest.raises(BufferInUse, match=r"in use by another segs-edge, pid \d+"), BufferLock(path):
            pass
    assert not held(path)


async def test_a_reading_of_the_backlog_is_shown_while_it_is_open(tmp_path: Path) -> None:
    await eventually(lambda: True)
    async with _store(tmp_path) as store:
        await store.commit([_reading(7), _reading(8)])
        await eventually(lambda: (found := stored_in(tmp_path / "buffer.sqlite")) is not None and found.next_seq == 1)
        found = stored_in(tmp_path / "buffer.sqlite")
    assert found is not None
    assert (found.backlog.readings, found.backlog.oldest_us) == (2, _reading(7).time_us)
