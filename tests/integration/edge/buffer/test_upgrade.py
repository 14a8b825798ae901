"""A buffer that 0.1.0 wrote: all that it had not delivered is taken over."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
import zstandard

from contract.batch import Batch, DeviceBlock, Flag
from contract.codec import MSGPACK, checksum, compress, encode
from edge.reading import Delivery, Reading
from tests.integration.edge.buffer.buffers import (
    copied,
    files,
    kept,
    losses,
    opened,
    peek,
    reading,
    registers,
    rows_of,
    settle_all,
)

_STREAM = "12345678-1234-1234-1234-123456789abc"
# As 0.1.0 made them.
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
CREATE TABLE segment (
    id INTEGER PRIMARY KEY, readings INTEGER NOT NULL CHECK (readings > 0), first_us INTEGER NOT NULL,
    last_us INTEGER NOT NULL CHECK (last_us >= first_us),
    thinned INTEGER NOT NULL DEFAULT 0 CHECK (thinned IN (0, 1)), body BLOB NOT NULL
);
CREATE TABLE batch (
    seq INTEGER PRIMARY KEY CHECK (seq > 0), readings INTEGER NOT NULL CHECK (readings > 0),
    first_us INTEGER NOT NULL, last_us INTEGER NOT NULL, sha256 TEXT NOT NULL CHECK (length(sha256) = 64),
    media_type TEXT NOT NULL, encoding TEXT NOT NULL, body BLOB NOT NULL, cut_us INTEGER NOT NULL
);
CREATE TABLE refused (
    seq INTEGER PRIMARY KEY, readings INTEGER NOT NULL, first_us INTEGER NOT NULL, last_us INTEGER NOT NULL,
    sha256 TEXT NOT NULL, media_type TEXT NOT NULL, encoding TEXT NOT NULL, body BLOB NOT NULL,
    status INTEGER NOT NULL, reason TEXT NOT NULL, refused_us INTEGER NOT NULL
);
CREATE TABLE rejected (
    id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, payload BLOB NOT NULL, reason TEXT NOT NULL,
    received_us INTEGER NOT NULL
);
CREATE TABLE loss (
    id INTEGER PRIMARY KEY, reason TEXT NOT NULL, readings INTEGER NOT NULL CHECK (readings > 0),
    first_us INTEGER NOT NULL, last_us INTEGER NOT NULL, recorded_us INTEGER NOT NULL
);
"""
_DELIVERED = """
CREATE TABLE delivered (id INTEGER PRIMARY KEY, client TEXT NOT NULL, recent BLOB NOT NULL);
CREATE INDEX delivered_client ON delivered (client);
"""
# Before that, in one row for each client.
_DELIVERY = "CREATE TABLE delivery (client TEXT PRIMARY KEY, recent BLOB NOT NULL) WITHOUT ROWID;"


class _Old:
    """Writes a file of format 1."""

    def __init__(self, folder: Path, deliveries: str = _DELIVERED) -> None:
        self._db = sqlite3.connect(folder / "buffer.sqlite", isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.executescript(_SCHEMA + deliveries)
        meta = [("format", 1), ("stream", _STREAM), ("next_seq", 7), ("created_us", 5), ("synced_readings", 40)]
        meta += [("set_aside", "/an/old/one"), ("last_receipt_us", 9)]
        self._db.executemany("INSERT INTO meta VALUES (?, ?)", meta)

    def segment(self, readings: Sequence[Reading]) -> None:
        body = zstandard.ZstdCompressor(level=3, write_checksum=True).compress(msgspec.msgpack.encode(readings))
        times = [one.time_us for one in readings]
        sql = "INSERT INTO segment (readings, first_us, last_us, body) VALUES (?, ?, ?, ?)"
        self._db.execute(sql, (len(readings), min(times), max(times), body))

    def batch(self, seq: int, blocks: list[DeviceBlock], *, refused: bool = False) -> None:
        body = encode(Batch(version=1, stream=_STREAM, seq=seq, devices=blocks), MSGPACK)
        times = [time_us for block in blocks for time_us in block.time_us]
        row = (seq, len(times), min(times), max(times), checksum(body), MSGPACK, "zstd", compress(body, "zstd"))
        if refused:
            self._db.execute(f"INSERT INTO refused VALUES ({', '.join('?' * 11)})", (*row, 422, "no", 1))
        else:
            self._db.execute(f"INSERT INTO batch VALUES ({', '.join('?' * 9)})", (*row, 1))

    def run(self, sql: str, *parameters: object) -> None:
        self._db.execute(sql, parameters)

    def close(self) -> None:
        self._db.close()


def _block(*numbers: int, device: str = "meter") -> DeviceBlock:
    times = [reading(number).time_us for number in numbers]
    return DeviceBlock(device=device, time_us=times, values={"energy_import_wh": list(numbers)}, interval_ms=1000)


async def test_segments_batches_and_refused_batches_are_taken_over_in_their_order(tmp_path: Path) -> None:
    """E17, E32: what was cut, or refused, is cut anew; the receiver knows what it has already."""
    old = _Old(tmp_path)
    old.batch(3, [_block(1, 2)], refused=True)
    old.batch(5, [_block(3, 4), _block(5, device="other")])
    old.batch(6, [_block(6)])
    old.segment([reading(7), reading(8, "other")])
    old.segment([reading(9)])
    old.close()
    async with opened(tmp_path) as store:
        assert store.stream != _STREAM
        assert (store.next_seq, (await store.backlog()).readings) == (1, 9)
        await store.commit([reading(10)])
        assert [one.values["energy_import_wh"] for one in kept(tmp_path)] == list(range(1, 11))
        assert kept(tmp_path)[0] == reading(1)
        delivered = await settle_all(store)
    assert sorted(registers(delivered)) == list(range(1, 11))
    assert losses(tmp_path) == []
    assert files(tmp_path, "buffer.sqlite.*") == []


@pytest.mark.parametrize("at", [0, 32 + 24 + 4096 + 24 + 2000])
async def test_what_sqlite_reads_of_a_damaged_log_is_taken_over(tmp_path: Path, at: int) -> None:
    """E21, E32: in pages of that release nothing else can be found."""
    old = _Old(tmp_path)
    old.run("PRAGMA wal_checkpoint(TRUNCATE)")
    for number in range(30):
        old.segment([reading(number)])
    killed = copied(tmp_path, tmp_path / "killed")
    old.close()
    log = killed / "buffer.sqlite-wal"
    content = bytearray(log.read_bytes())
    content[at] ^= 1
    log.write_bytes(content)
    async with opened(killed):
        assert [one.values["energy_import_wh"] for one in kept(killed)] == list(range(1 if at else 0))
    assert files(killed, "buffer.sqlite.*") == []


@pytest.mark.parametrize("deliveries", [_DELIVERED, _DELIVERY])
async def test_a_file_that_was_taken_over_is_like_any_other_at_the_next_opening(
    tmp_path: Path, deliveries: str
) -> None:
    """E32: tables that stay keep the definition that they were made with."""
    old = _Old(tmp_path, deliveries)
    old.segment([reading(7)])
    old.close()
    streams = []
    for _ in range(2):
        async with opened(tmp_path) as store:
            streams.append((store.stream, (await store.backlog()).readings))
    assert streams[0] == streams[1]
    assert files(tmp_path, "buffer.sqlite.*") == []


async def test_values_that_a_reading_lacks_and_flags_are_as_they_were(tmp_path: Path) -> None:
    """E6, E32"""
    flags = [0, int(Flag.TIME_FROM_DEVICE)]
    values: dict[str, list[int | float | None]] = {"power_w": [1.5, None], "energy_import_wh": [None, 7]}
    old = _Old(tmp_path)
    old.batch(1, [DeviceBlock(device="meter", time_us=[1, 2], values=values, flags=flags)])
    old.segment([Reading("meter", 3, {"power_w": 0.0}, 1, 5), Reading("meter", 4, {"energy_import_wh": 2**60}, 0, 6)])
    old.close()
    async with opened(tmp_path, truth=lambda: 10**15) as store:
        rows = [row for batch in await settle_all(store) for row in rows_of(batch)]
    assert sorted(rows, key=lambda row: row[1]) == [
        ("meter", 1, {"power_w": 1.5}, 0),
        ("meter", 2, {"energy_import_wh": 7}, 1),
        ("meter", 3, {"power_w": 0.0}, 1),
        ("meter", 4, {"energy_import_wh": 2**60}, 0),
    ]


async def test_losses_rejected_messages_and_totals_are_taken_over(tmp_path: Path) -> None:
    """E32"""
    old = _Old(tmp_path)
    old.run("INSERT INTO loss (reason, readings, first_us, last_us, recorded_us) VALUES ('thinned: x', 5, 1, 2, 3)")
    old.run("INSERT INTO rejected (topic, payload, reason, received_us) VALUES ('t', x'01', 'why', 4)")
    old.close()
    async with opened(tmp_path):
        pass
    assert peek(tmp_path, "SELECT kind, reason, readings, first_us, last_us, recorded_us FROM loss") == [
        ("thinned", "thinned: x", 5, 1, 2, 3)
    ]
    assert peek(tmp_path, "SELECT topic, payload, reason, received_us FROM rejected") == [("t", b"\1", "why", 4)]
    assert dict(peek(tmp_path, "SELECT key, value FROM meta")) == {
        "format": 3,
        "created_us": 5,
        "synced_readings": 40,
    }


def _delivery(number: int) -> Delivery:
    return Delivery.of("client", number % 65_535 + 1, "topic", b"%d" % number)


@pytest.mark.parametrize("table", ["delivered", "delivery"])
async def test_deliveries_that_an_older_release_kept_are_taken_over(tmp_path: Path, table: str) -> None:
    """E23: the update of a gateway is a restart like any other."""
    before = [_delivery(number) for number in range(100)]
    old = _Old(tmp_path, _DELIVERY if table == "delivery" else _DELIVERED)
    packed = b"".join(delivery.packed for delivery in before)
    old.run(f"INSERT INTO {table} (client, recent) VALUES ('client', ?)", packed)
    old.close()
    async with opened(tmp_path) as store:
        await store.commit([], deliveries=[_delivery(100)])
    async with opened(tmp_path) as store:
        assert await store.deliveries() == [*before, _delivery(100)]


async def test_what_is_damaged_in_an_old_file_is_a_loss_and_the_rest_is_taken_over(tmp_path: Path) -> None:
    """E21, E32"""
    old = _Old(tmp_path)
    old.batch(1, [_block(1, 2)])
    old.batch(2, [_block(3)])
    old.segment([reading(4)])
    old.segment([reading(5)])
    old.run("UPDATE batch SET body = substr(body, 1, 20) WHERE seq = 1")
    old.run("UPDATE segment SET body = CAST(substr(body, 1, length(body) - 1) || x'00' AS BLOB) WHERE id = 1")
    old.close()
    async with opened(tmp_path) as store:
        assert sorted(registers(await settle_all(store))) == [3, 5]
    assert losses(tmp_path) == [("damaged", 3, reading(1).time_us, reading(4).time_us)]


async def test_an_update_that_is_broken_off_has_not_happened(tmp_path: Path) -> None:
    """E17: a power cut in the middle of it, or a disk without room."""
    old = _Old(tmp_path)
    for number in range(50):
        old.segment([reading(number)])
    old.run("PRAGMA wal_checkpoint(TRUNCATE)")
    with closing(sqlite3.connect(tmp_path / "buffer.sqlite")) as reader:
        # As long as somebody reads, the log keeps what is written.
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM segment").fetchone()
        old.close()
        async with opened(tmp_path):
            torn = copied(tmp_path, tmp_path / "torn")
    log = torn / "buffer.sqlite-wal"
    content = log.read_bytes()
    log.write_bytes(content[: len(content) // 2])
    with closing(sqlite3.connect(torn / "buffer.sqlite")) as db:
        assert db.execute("SELECT value FROM meta WHERE key = 'format'").fetchone() == (1,)
    async with opened(torn) as store:
        assert sorted(registers(await settle_all(store))) == list(range(50))


async def test_an_old_file_is_updated_once(tmp_path: Path) -> None:
    """E23, E32"""
    old = _Old(tmp_path)
    old.segment([reading(1)])
    old.close()
    streams = set()
    for _ in range(3):
        async with opened(tmp_path) as store:
            streams.add(store.stream)
            assert (await store.backlog()).readings == 1
    assert len(streams) == 1
