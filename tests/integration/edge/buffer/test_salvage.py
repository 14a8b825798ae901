"""A damaged file: it is kept, all that can be read of it goes on, and nothing in it keeps the daemon from starting."""

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from contract.notes import Note, NoteKind
from edge.buffer.rows import Loss
from edge.buffer.segments import unpack
from edge.buffer.store import Store
from edge.errors import BufferDamaged, BufferFormat
from edge.reading import Delivery, Reading
from edge.status import stored
from edge.status.stored import Unreadable
from tests.integration.edge.buffer.buffers import (
    ID_STEP,
    Time,
    alter,
    copied,
    cut_all,
    files,
    kept,
    losses,
    opened,
    peek,
    reading,
    registers,
    settle_all,
)
from tests.integration.edge.buffer.buffers import (
    content as content_of,
)

_PAGE = 512
_COUNT = 300


def _set_aside(folder: Path) -> list[str]:
    [(text,)] = peek(folder, "SELECT value FROM meta WHERE key = 'set_aside'")
    return msgspec.json.decode(str(text), type=list[str])


def _group(number: int) -> list[Reading]:
    """Every third is long, and has pages of its own."""
    many = 40 if number % 3 == 0 else 1
    return [reading(number * 1_000 + n, f"meter-{n * 7919 % 1000}-{number}") for n in range(many)]


async def _filled(folder: Path) -> str:
    """A buffer of some hundred segments, some of it in the log alone; its stream."""
    async with opened(folder) as store:
        for number in range(_COUNT):
            await store.commit(_group(number))
        return store.stream


_WRITTEN = {one for number in range(_COUNT) for one in map(repr, _group(number))}


@pytest.mark.parametrize("damage", ["garbage", "torn", "truncated-header", "foreign-table", "foreign-format"])
async def test_a_damaged_file_is_set_aside_and_a_new_stream_begins(tmp_path: Path, damage: str) -> None:
    """E21"""
    path = tmp_path / "buffer.sqlite"
    before = await _filled(tmp_path)
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
        with closing(sqlite3.connect(path)) as db:
            db.execute("CREATE TABLE meta (something INTEGER)")
    elif damage == "foreign-format":
        alter(tmp_path, "UPDATE meta SET value = 'two' WHERE key = 'format'")
        content = bytearray(path.read_bytes())
    async with opened(tmp_path) as store:
        assert store.stream != before
        held = (await store.backlog()).readings
        assert held == len(kept(tmp_path)) == {"foreign-format": len(_WRITTEN)}.get(damage, held)
        await store.commit([reading(1)])
        assert (await store.backlog()).readings == held + 1
        assert await settle_all(store)
    [aside] = files(tmp_path, "buffer.sqlite.damaged-*")
    assert damage == "foreign-table" or aside.read_bytes() == content
    assert _set_aside(tmp_path) == [str(aside)]
    assert not files(tmp_path, "*.unread-*")
    assert {one for one in map(repr, kept(tmp_path)) if one != repr(reading(1))} <= _WRITTEN


async def _check(folder: Path, touched: set[int] | None) -> int:
    """Open what is left; nothing is altered, and every segment with no page in `touched` is there. How many are."""
    expected = set() if touched is None else _segments_outside(folder, touched)
    async with opened(folder) as store:
        found = [repr(one) for one in kept(folder)]
        assert set(found) <= _WRITTEN
        assert len(found) == len(set(found))
        missing = expected - set(found)
        assert not missing, f"{len(missing)} of {len(expected)} are gone with their pages whole"
        assert (await store.backlog()).readings == len(found)
        await store.commit([reading(7)])
        batches = await settle_all(store)
        assert sum(batch.readings for batch in batches) == len(found) + 1
    return len(found)


def _segments_outside(folder: Path, touched: set[int]) -> set[str]:
    """Readings in segments whose pages SQLite's own table of pages says are others than `touched`."""
    whole = folder / "whole"
    with closing(sqlite3.connect(whole / "buffer.sqlite")) as db:
        rows = db.execute("SELECT id, body FROM segment ORDER BY id").fetchall()
    pages = _pages_of(whole / "buffer.sqlite", [body for _, body in rows])
    return {repr(one) for (_, body), of in zip(rows, pages, strict=True) if not of & touched for one in unpack(body)}


def _pages_of(path: Path, bodies: list[bytes]) -> list[set[int]]:
    """The pages that bytes of each body are in; bodies are unlike one another after their first bytes."""
    content = path.read_bytes()
    found = []
    for body in bodies:
        pages = set()
        for start in range(0, max(1, len(body) - 16), 16):
            at = content.find(body[start : start + 16])
            if at >= 0:
                pages.add(at // _PAGE + 1)
        found.append(pages)
    return found


async def _closed_buffer(folder: Path) -> Path:
    """A whole copy is kept beside."""
    await _filled(folder)
    copied(folder, folder / "whole")
    return folder / "buffer.sqlite"


@pytest.mark.parametrize("seed", range(6))
async def test_of_pages_that_are_overwritten_only_what_was_in_them_is_lost(fast_path: Path, seed: int) -> None:
    """E21: a worn card gives back noise, zeros, or another page."""
    rng = random.Random(seed)
    path = await _closed_buffer(fast_path)
    content = bytearray(path.read_bytes())
    count = len(content) // _PAGE
    touched = {rng.randrange(1, count + 1) for _ in range(rng.choice([1, 5, 30]))}
    for number in touched:
        other = rng.randrange(count) * _PAGE
        noise = rng.choice([rng.randbytes(_PAGE), bytes(_PAGE), bytes(content[other : other + _PAGE])])
        content[(number - 1) * _PAGE : number * _PAGE] = noise
    path.write_bytes(content)
    await _check(fast_path, touched)


@pytest.mark.parametrize("size", [16, 100, 512, 4096])
@pytest.mark.parametrize("noise", [False, True])
async def test_without_the_header_the_pages_are_read_all_the_same(fast_path: Path, size: int, noise: bool) -> None:
    """E21"""
    path = await _closed_buffer(fast_path)
    content = bytearray(path.read_bytes())
    content[:size] = random.Random(size).randbytes(size) if noise else bytes(size)
    path.write_bytes(content)
    await _check(fast_path, set(range(1, size // _PAGE + 2)))


@pytest.mark.parametrize("seed", range(4))
async def test_what_is_before_the_end_of_a_truncated_file_comes_back(fast_path: Path, seed: int) -> None:
    """E21"""
    path = await _closed_buffer(fast_path)
    content = path.read_bytes()
    end = random.Random(seed).randrange(len(content))
    path.write_bytes(content[:end])
    await _check(fast_path, set(range(end // _PAGE + 1, len(content) // _PAGE + 2)))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("main", ["whole", "header", "gone"])
async def test_what_is_in_the_log_alone_comes_back_too(fast_path: Path, main: str, seed: int) -> None:
    """E21: after a kill most of a young buffer is in its log."""
    rng = random.Random(seed)
    first = fast_path / "first"
    first.mkdir()
    async with opened(first) as store:
        for number in range(40 + 80 * seed):
            await store.commit(_group(number))
        folder = copied(first, fast_path / "killed")
    path, log = folder / "buffer.sqlite", folder / "buffer.sqlite-wal"
    frames = bytearray(log.read_bytes())
    damaged = rng.random() < 0.5
    if damaged:
        at = rng.randrange(len(frames) // 2, len(frames))
        frames[at : at + 600] = rng.randbytes(len(frames[at : at + 600]))
        log.write_bytes(frames)
    if main == "header":
        path.write_bytes(rng.randbytes(600) + path.read_bytes()[600:])
    elif main == "gone":
        path.write_bytes(b"no database at all")
    found = await _check(folder, None)
    written = sum(len(_group(number)) for number in range(40 + 80 * seed))
    assert found == written if main == "whole" and not damaged else found > written // 5 or main == "gone"


async def test_the_newest_image_of_a_page_is_not_taken_for_one_that_an_older_log_left_behind(fast_path: Path) -> None:
    """E21: a log is written from its beginning again, and ends with what was in it before."""
    first = fast_path / "first"
    first.mkdir()
    async with opened(first) as store:
        for number in range(60):
            await store.commit(_group(number))
        await store._file.look(lambda db: db.execute("PRAGMA wal_checkpoint(RESTART)").fetchall())
        for number in range(60, 66):
            await store.commit(_group(number))
        folder = copied(first, fast_path / "killed")
    path = folder / "buffer.sqlite"
    path.write_bytes(bytes(1024) + path.read_bytes()[1024:])
    async with opened(folder):
        numbers = {int(str(one.values["energy_import_wh"])) // 1_000 for one in kept(folder)}
    assert numbers >= set(range(60, 66))


@pytest.mark.parametrize("seed", range(4))
async def test_of_what_is_destroyed_every_reading_is_counted_with_the_time_around_it(
    fast_path: Path, seed: int
) -> None:
    """E20, E21: what cannot even be seen any more has left a hole in the numbers."""
    chance = random.Random(seed)
    async with opened(fast_path) as store:
        for number in range(120):
            await store.commit([reading(number * 10 + n, f"m-{chance.getrandbits(60):x}") for n in range(10)])
    file = fast_path / "buffer.sqlite"
    content, before = bytearray(file.read_bytes()), kept(fast_path)
    for page in chance.sample(range(40, len(content) // _PAGE - 40), 12):
        content[page * _PAGE : (page + 1) * _PAGE] = chance.randbytes(_PAGE)
    file.write_bytes(content)
    async with opened(fast_path):
        pass
    after = {repr(one) for one in kept(fast_path)}
    gone = [one for one in before if repr(one) not in after]
    told = losses(fast_path)
    assert gone
    assert sum(int(str(row[1])) for row in told) == len(gone)
    assert min(int(str(row[2])) for row in told) <= min(one.time_us for one in gone)
    assert max(int(str(row[3])) for row in told) >= max(one.time_us for one in gone)


async def test_notes_that_wait_and_what_was_lost_before_come_along(fast_path: Path) -> None:
    """E20: the second damage does not forget the first, and no reason gets lost."""
    note = Note(NoteKind.NOT_RUNNING, 1, 2)
    async with opened(fast_path) as store:
        await store.commit(_group(1), notes=[note], losses=[Loss("of old", 3, 4, 5, NoteKind.OVERFLOWED)])
    with (fast_path / "buffer.sqlite").open("r+b") as file:
        file.write(bytes(100))
    async with opened(fast_path) as store:
        [batch] = await cut_all(store)
    assert note in content_of(batch).notes
    assert ("overflowed", 3, 4, 5) in losses(fast_path)


async def test_what_was_confirmed_does_not_come_back_though_its_pages_do(fast_path: Path) -> None:
    """E23: under another clock it would be another reading, and it is a whole backlog that comes again."""
    time = Time()
    async with opened(fast_path, clock=time.clock) as store:
        for number in range(60):
            await store.commit(_group(number))
        await settle_all(store)
        time.forward(100)
        await store.confirm([(1, 1_000)], keep_s=60, asked_us=time.now_us)
        await store.commit(_group(60))
        assert await settle_all(store)
        await store.commit(_group(61))
    assert len(kept(fast_path)) == len(_group(60)) + len(_group(61))
    with (fast_path / "buffer.sqlite").open("r+b") as file:
        file.write(bytes(100))
    async with opened(fast_path, clock=time.clock) as store:
        arrived = set(registers(await settle_all(store)))
    numbers = {int(one.values["energy_import_wh"]) for number in (60, 61) for one in _group(number)}
    assert arrived == numbers


async def test_readings_that_were_refused_stay_so(fast_path: Path) -> None:
    """E21, E26"""
    async with opened(fast_path) as store:
        await store.commit([reading(1)])
        [batch] = await cut_all(store)
        await store.refuse(batch.seq, status=422, reason="no")
    path = fast_path / "buffer.sqlite"
    path.write_bytes(bytes(100) + path.read_bytes()[100:])
    async with opened(fast_path):
        pass
    assert peek(fast_path, "SELECT device, status, reason FROM refused") == [("meter", 422, "no")]


async def test_what_is_seen_to_be_there_and_cannot_be_read_is_counted(fast_path: Path) -> None:
    """E21"""
    async with opened(fast_path) as store:
        for number in range(3):
            await store.commit([reading(number)])
    alter(
        fast_path,
        "UPDATE segment SET body = CAST(substr(body, 1, length(body) - 1) || x'00' AS BLOB) WHERE id = 131072",
    )
    path = fast_path / "buffer.sqlite"
    path.write_bytes(bytes(100) + path.read_bytes()[100:])
    async with opened(fast_path):
        pass
    assert kept(fast_path) == [reading(0), reading(2)]
    assert losses(fast_path) == [("damaged", 1, reading(1).time_us, reading(1).time_us)]


async def test_a_page_that_is_damaged_while_the_buffer_is_open_costs_what_was_in_it(fast_path: Path) -> None:
    """E21"""
    await _filled(fast_path)
    path = fast_path / "buffer.sqlite"
    async with opened(fast_path) as store:
        stream = store.stream
        with path.open("r+b") as file:
            file.seek(_PAGE)
            file.write(random.Random(1).randbytes(path.stat().st_size - _PAGE - 40_000))
        await store._file.look(lambda db: db.execute("PRAGMA shrink_memory"))
        await _until_it_is_noticed(store)
        await store.open()
        assert store.stream != stream
        await store.commit([reading(1)])
        assert await settle_all(store)
    assert set(map(repr, kept(fast_path))) <= _WRITTEN | {repr(reading(1))}


async def _until_it_is_noticed(store: Store) -> None:
    with pytest.raises(BufferDamaged):
        await store._file.look(lambda db: db.execute("SELECT sum(length(body)) FROM segment").fetchall())


async def test_a_file_that_could_not_be_taken_over_is_at_the_next_opening(fast_path: Path) -> None:
    """E20, E21: a power cut in the middle of it."""
    await _filled(fast_path)
    (fast_path / "buffer.sqlite").rename(fast_path / "buffer.sqlite.unread-1")
    async with opened(fast_path) as store:
        assert (await store.backlog()).readings == len(_WRITTEN)
        stream = store.stream
    [aside] = files(fast_path, "buffer.sqlite.damaged-*")
    assert _set_aside(fast_path) == [str(aside)]
    # Or it had been taken over, and not been renamed yet.
    aside.rename(fast_path / "buffer.sqlite.unread-1")
    async with opened(fast_path) as store:
        assert (store.stream, (await store.backlog()).readings) == (stream, len(_WRITTEN))
    assert aside.exists()


async def test_files_that_are_damaged_one_after_another_are_all_named(fast_path: Path) -> None:
    """E21"""
    path = fast_path / "buffer.sqlite"
    for number in range(3):
        async with opened(fast_path) as store:
            await store.commit([reading(number)])
        path.write_bytes(bytes(100) + path.read_bytes()[100:])
    async with opened(fast_path):
        assert len(kept(fast_path)) == 3
    assert len(files(fast_path, "buffer.sqlite.damaged-*")) == 3


async def test_a_buffer_of_another_release_is_left_alone(tmp_path: Path) -> None:
    """E17: after a downgrade, a store full of unsent readings is destroyed."""
    path = tmp_path / "buffer.sqlite"
    async with opened(tmp_path) as store:
        await store.commit([reading(1)])
    alter(tmp_path, "UPDATE meta SET value = 4 WHERE key = 'format'")
    before = path.read_bytes()

    with pytest.raises(BufferFormat, match="format 4, this release knows 3"):
        async with opened(tmp_path):
            pass

    assert path.read_bytes() == before
    assert files(tmp_path, "buffer.sqlite.*") == []


async def test_a_torn_tail_of_the_log_costs_the_last_commit_at_most(tmp_path: Path) -> None:
    """E21"""
    async with opened(tmp_path) as store:
        for number in range(20):
            await store.commit([reading(number)])
        copy = copied(tmp_path, tmp_path / "copy")
        stream = store.stream
    log = copy / "buffer.sqlite-wal"
    log.write_bytes(log.read_bytes()[:-100])
    async with opened(copy) as store:
        assert store.stream == stream
        assert (await store.backlog()).readings == 19


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE stream SET name = CAST(x'ff' AS TEXT)",
        "UPDATE batch SET media_type = CAST(x'ff' AS TEXT)",
        "UPDATE batch SET receipt = CAST(x'ff' AS TEXT)",
        "UPDATE batch SET sha256 = zeroblob(32), first_us = 'x'",
        "UPDATE segment SET offset_us = 'x' WHERE id > 65536",
        "UPDATE segment SET last_us = x'00' WHERE id > 65536",
        "UPDATE segment SET readings = x'00' WHERE id > 65536",
        "UPDATE batch SET last_us = x'00', receipt_us = 1, confirmed_us = 1",
        "UPDATE boot SET offset_us = 'x'",
        "UPDATE meta SET value = 'x' WHERE key = 'synced_readings'",
        "UPDATE meta SET value = '[x' WHERE key = 'set_aside'",
        "DELETE FROM stream",
        "DELETE FROM meta",
    ],
)
async def test_a_value_that_is_none_any_more_keeps_nobody_from_starting(tmp_path: Path, damage: str) -> None:
    """E21"""
    async with opened(tmp_path) as store:
        await store.commit([reading(1)])
        await cut_all(store)
        await store.commit([reading(2)])
        await store._file.change(lambda db: db.execute("INSERT INTO meta VALUES ('set_aside', '[]')"))
    alter(tmp_path, damage)
    async with opened(tmp_path) as store:
        arrived = set(registers(await settle_all(store)))
        await store.confirm([(1, 100)], keep_s=0, asked_us=store._clock.now_us() + 10)
        await store.commit([])
    assert arrived == {1} if "segment" in damage else {1, 2}


async def test_definitions_that_are_no_text_any_more_keep_nobody_from_starting(fast_path: Path) -> None:
    """E21: SQLite's error quotes them, which is no text either."""
    path = await _closed_buffer(fast_path)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"CREATE TABLE segment", b"CRE\xd8TE TABLE segment"))
    assert path.read_bytes() != content
    with pytest.raises(Unreadable, match="damaged"), stored.opened(path):
        pass
    assert await _check(fast_path, None) == len(_WRITTEN)


@pytest.mark.parametrize(
    ("table", "was", "became"),
    [
        ("segment", "segment", "segmenu"),
        ("batch", "stream ", "strean "),
        ("batch", "lane IN (0, 1)", "lane IN (8, 1)"),
        ("note", "body", "bodx"),
    ],
)
async def test_a_definition_that_became_another_hides_no_reading(
    fast_path: Path, table: str, was: str, became: str
) -> None:
    """E21: by it the file is whole, for SQLite."""
    await _closed_buffer(fast_path)
    with closing(sqlite3.connect(fast_path / "buffer.sqlite")) as db, db:
        db.execute("PRAGMA writable_schema = ON")
        change = "name = replace(name, ?1, ?2), tbl_name = replace(tbl_name, ?1, ?2), sql = replace(sql, ?1, ?2)"
        assert db.execute(f"UPDATE sqlite_master SET {change} WHERE name = ?3", (was, became, table)).rowcount == 1
    assert await _check(fast_path, None) == len(_WRITTEN)
    assert len(_set_aside(fast_path)) == 1


@pytest.mark.parametrize("taken", ["damaged", "taken away"])
async def test_what_a_broker_repeats_is_known_again_though_the_file_is_another(tmp_path: Path, taken: str) -> None:
    """E13, E21, C7: committed and not acknowledged when the power failed; stored once more it were another reading."""
    sent = [Delivery.of(f"client-{n % 2}", n, "meter/power", f"{n}".encode()) for n in range(1, 301)]
    async with opened(tmp_path) as store:
        for number in range(0, 300, 10):
            await store.commit([reading(number)], deliveries=sent[number : number + 10])
        if taken == "taken away":
            (tmp_path / "buffer.sqlite").unlink()
            await store.open()
    if taken == "damaged":
        with (tmp_path / "buffer.sqlite").open("r+b") as file:
            file.write(b"no header at all")
    async with opened(tmp_path) as store:
        assert (await store.backlog()).readings == 30
        found = await store.deliveries()
    for client in ("client-0", "client-1"):
        newest = [one for one in found if one.client == client]
        assert newest == [one for one in sent if one.client == client]


@pytest.mark.parametrize("seal", ["seal", "seal + 1"])
async def test_a_body_in_pages_that_were_given_to_another_row_is_not_the_old_one_s(tmp_path: Path, seal: str) -> None:
    """E21: what leads to them outlives the row, in older images of its page; by its clock they had another time."""
    taken = f"UPDATE segment SET seal = {seal}, body = (SELECT body FROM segment WHERE id = ?) WHERE id = ?"
    async with opened(tmp_path) as store:
        for number in range(4):
            await store.commit([reading(number)])
    alter(tmp_path, taken, 3 * ID_STEP, 2 * ID_STEP)
    alter(tmp_path, "UPDATE segment SET seal = seal + 1 WHERE id = ?", 4 * ID_STEP)
    async with opened(tmp_path):
        assert [int(str(one.values["energy_import_wh"])) for one in kept(tmp_path)] == [0, 2, 3]
        assert [(kind, readings) for kind, readings, *_ in losses(tmp_path)] == [(NoteKind.DAMAGED, 1)]


async def test_a_client_s_name_that_is_no_text_any_more_ends_nothing(tmp_path: Path) -> None:
    """E21: known again is what can be read; the gateway that read it ended at each start."""
    async with opened(tmp_path) as store:
        await store.commit([reading(1)], deliveries=[Delivery("meters", 1, bytes(8))])
    alter(tmp_path, "UPDATE delivered SET client = CAST(x'ff6d' AS TEXT)")
    async with opened(tmp_path) as store:
        assert len(await store.deliveries()) == 1
        assert [one.values["energy_import_wh"] for one in kept(tmp_path)] == [1]
    assert len(files(tmp_path, "buffer.sqlite.damaged-*")) == 1


async def test_a_text_that_is_none_any_more_is_told_as_damage(tmp_path: Path) -> None:
    """E21: by whoever looks at the buffer from outside, where SQLite gives no code for it."""
    async with opened(tmp_path) as store:
        await store.commit([reading(1)], losses=[Loss("dropped", 1, 2, 3)])
    alter(tmp_path, "UPDATE loss SET reason = CAST(x'ff6d' AS TEXT)")
    with pytest.raises(Unreadable, match="damaged: Could not decode"):
        stored.stored_in(tmp_path / "buffer.sqlite")
