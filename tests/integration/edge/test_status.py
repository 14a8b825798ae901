"""What the status says of a real buffer, be the daemon there or not."""

from pathlib import Path

import msgspec
import pytest

from contract.notes import NoteKind
from contract.report import BacklogReport, ClockReport
from edge.buffer.lock import BufferLock
from edge.buffer.rows import Loss
from edge.buffer.state import BufferState
from edge.clock import Clock
from edge.status import status
from edge.status.lines import lines
from edge.status.report import report
from edge.status.running import Running
from edge.status.status import LOCK_FILE, Status
from edge.status.stored import stored_in, totals_in
from edge.uplink.state import UplinkState
from tests.integration.edge.folder import NOON_US, Folder, commit, deliver, reading, readings
from tests.integration.edge.peers import EdgeProcess, ModbusMeters, Receiver, modbus_table, wait_until

_NOW_US = NOON_US + 60_000_000


def _status(folder: Folder) -> Status:
    return status.read(folder.config, clock=Clock(now_us=lambda: _NOW_US))


def _running(**more: object) -> Running:
    plain = Running(1, "0", NOON_US, _NOW_US, [], [], BufferState(), UplinkState())
    return msgspec.structs.replace(plain, **more)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


async def test_what_waits_is_what_has_no_receipt_while_the_store_is_open_and_after(folder: Folder) -> None:
    async with folder.store() as store:
        for start in (0, 10, 20):
            await commit(store, readings(start, start + 10))
            await store.cut_live(5000)
        await deliver(store)
        await commit(store, readings(30, 40))
        found = _status(folder).stored
        assert found is not None
        assert (found.backlog.readings, found.backlog.oldest_us) == (10, NOON_US + 30_000_000)
        assert (found.synced_readings, found.next_seq) == (30, 4)
        assert found.backlog_spans == [(NOON_US + 30_000_000, NOON_US + 39_000_000)]
        assert found.lanes["live"].newest_delivered_us == NOON_US + 29_000_000
    assert _status(folder).stored == found


async def test_a_damaged_loss_hides_no_other(folder: Folder) -> None:
    lost = Loss("memory was full", 60, NOON_US, NOON_US + 60_000_000, NoteKind.OVERFLOWED)
    async with folder.store() as store:
        await commit(store, readings(0, 5), losses=[lost, msgspec.structs.replace(lost, reason="the disk was")])
    folder.change("UPDATE loss SET kind = 'overfloved' WHERE id = (SELECT min(id) FROM loss)")
    found = _status(folder).stored
    assert found is not None
    assert [loss.reason for loss in found.losses] == ["the disk was"]


async def test_the_backlog_is_the_stores_own_count(folder: Folder) -> None:
    async with folder.store() as store:
        for start in (0, 10, 1000, 1010):
            await commit(store, readings(start, start + 10))
        await store.cut_live(10)
        await store.cut_backlog(10, 1)
        found = stored_in(folder.buffer)
        assert found is not None
        assert found.backlog == await store.backlog()
        assert found.backlog_spans == await store.backlog_spans()
        assert {name: lane.batches for name, lane in found.lanes.items()} == {"live": 1, "backlog": 1}


async def test_confirmed_batches_count_once(folder: Folder) -> None:
    async with folder.store() as store:
        await commit(store, readings(0, 10))
        await store.cut_live(5000)
        await deliver(store)
        await commit(store, readings(10, 20))
        await store.confirm([(1, 1)], keep_s=0, asked_us=_NOW_US)
        await commit(store, readings(20, 30))
    found = _status(folder).stored
    assert found is not None
    assert (found.synced_readings, found.backlog.readings, found.last_receipt_seq) == (10, 20, 1)


async def test_losses_and_refused_readings_are_told_with_their_reasons(folder: Folder) -> None:
    """E20, E26"""
    async with folder.store() as store:
        lost = Loss("memory was full", 7, NOON_US, NOON_US + 6_000_000, NoteKind.OVERFLOWED)
        await commit(store, [reading(10)])
        await store.cut_live(5000)
        await store.refuse(1, status=422, reason="malformed")
        await commit(store, [], losses=[lost])
    found = _status(folder)
    assert found.stored is not None
    assert (found.stored.given_up.overflowed, found.stored.given_up.refused) == (7, 1)
    said = lines(found)
    assert "given up: 7 readings of 2026-11-27T12:00:00Z to 2026-11-27T12:00:06Z, memory was full" in said
    assert "refused readings: 1" in said
    assert "  main at 2026-11-27T12:00:10Z: 422 malformed" in said


async def test_notes_that_were_given_up_are_told(folder: Folder) -> None:
    """E20: gaps whose reasons nobody will hear."""
    async with folder.store() as store:
        await store.commit([], lost_notes=2)
        await store.commit([], lost_notes=3)
    found = _status(folder)
    assert totals_in(folder.buffer).lost_notes == 5
    assert "notes given up: 5; the cloud does not learn why these readings are missing" in lines(found)
    made = report(_running(lost_notes=5), boot_id="boot", stream="", next_seq=0, loss_window_s=1)
    assert made.lost_notes == 5


async def test_clock_disk_and_lanes_are_told(tmp_path: Path) -> None:
    """E24, E27, E28"""
    folder = Folder(tmp_path, "[buffer]\ncard_endurance_bytes = 40_000_000_000_000")
    async with folder.store() as store:
        await commit(store, readings(0, 10))
        await store.cut_live(5000)
        await deliver(store)
    running = _running(clock=ClockReport(-0.25, True, 120))
    running.disk.written_bytes_a_day = 900_000_000
    running.write(folder.config.data_dir)
    with BufferLock(folder.config.data_dir / LOCK_FILE):
        said = lines(_status(folder))
    assert said[0].startswith("attic: running, ok, ")
    assert "clock: 0.25 s behind the receiver's, synchronized, 120 readings corrected" in said
    lane = "live lane: newest delivered reading 51 s old; backlog lane: 0 batches with 0 readings, credit 1"
    assert lane in said
    [disk] = [line for line in said if line.startswith("disk: ")]
    assert disk.endswith("; writes 900 MB a day; a card that bears 40 TB lasts 122 years")


async def test_health_is_one_word_and_troubles_say_why(folder: Folder) -> None:
    async with folder.store():
        pass
    trouble = UplinkState(trouble="503: unavailable")
    _running(uplink=trouble, time_known=False).write(folder.config.data_dir)
    assert (_status(folder).health, _status(folder).troubles) == ("stopped", [])
    with BufferLock(folder.config.data_dir / LOCK_FILE):
        found = _status(folder)
    assert found.health == "troubled"
    assert [line.partition(":")[0] for line in found.troubles] == ["uplink", "clock"]


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        ("UPDATE meta SET value = 4 WHERE key = 'format'", "the buffer has format 4, this release reads 3"),
        ("DROP TABLE batch", "no such table: batch"),
    ],
)
async def test_a_buffer_of_another_kind_is_called_so(folder: Folder, harm: str, said: str) -> None:
    async with folder.store():
        pass
    folder.change(harm)
    found = _status(folder)
    assert found.stored is None
    assert said in (found.unreadable or "")


def test_a_damaged_buffer_is_called_so(folder: Folder) -> None:
    """E21"""
    folder.buffer.write_bytes(b"no database at all" * 500)
    with BufferLock(folder.config.data_dir / LOCK_FILE):
        found = _status(folder)
    assert found.health == "troubled"
    assert "damaged: file is not a database" in (found.unreadable or "")
    assert lines(found)[1].startswith(f"buffer: {folder.buffer}: damaged")


def test_a_missing_mount_is_called_so(tmp_path: Path) -> None:
    folder = Folder(tmp_path, '[buffer]\nmount = "."')
    found = _status(folder)
    assert found.unreadable == f"nothing is mounted at {tmp_path}"
    assert f"buffer: nothing is mounted at {tmp_path}" in lines(found)


async def test_files_set_aside_are_listed_without_what_belongs_to_them(folder: Folder) -> None:
    """E21"""
    for name in ("damaged-1", "damaged-1-wal", "damaged-2"):
        folder.buffer.with_name(f"{folder.buffer.name}.{name}").touch()
    async with folder.store():
        pass
    found = _status(folder).stored
    assert found is not None
    assert found.set_aside == f"{folder.buffer}.damaged-2"
    assert found.set_aside_files == [f"{folder.buffer}.damaged-1", f"{folder.buffer}.damaged-2"]


async def test_of_a_large_file_the_daemons_count_is_taken_and_no_body_is_read(folder: Folder) -> None:
    """E30"""
    async with folder.store():
        pass
    folder.change(
        "WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < 70) INSERT INTO segment "
        f"SELECT id, 1, 0, 0, 10, {NOON_US} + id, {NOON_US} + id, 0, zeroblob(1000000) FROM n"
    )
    counted = stored_in(folder.buffer)
    assert counted is not None
    assert (counted.backlog.readings, counted.backlog.bytes) == (700, 70_000_000)
    known = stored_in(folder.buffer, known=BacklogReport(690, 69_000_000))
    assert known is not None
    assert (known.backlog.readings, known.backlog.oldest_us) == (690, NOON_US + 1)


async def test_looking_leaves_nothing_behind_in_the_folder(folder: Folder) -> None:
    async with folder.store() as store:
        await commit(store, readings(0, 10))
    before = sorted(folder.config.data_dir.iterdir())
    assert _status(folder).stored is not None
    assert sorted(folder.config.data_dir.iterdir()) == before


async def test_the_json_of_0_1_0_is_still_there(folder: Folder) -> None:
    async with folder.store() as store:
        await commit(store, readings(0, 10))
    _running().write(folder.config.data_dir)
    shown = msgspec.to_builtins(_status(folder))
    assert shown["stored"]["backlog"]["readings"] == 10
    assert shown["stored"]["losses"] == []
    stored = {"synced_readings", "last_receipt_seq", "last_receipt_us", "next_seq", "stream", "rejected", "set_aside"}
    assert stored <= shown["stored"].keys()
    assert {"loss_window_s", "running", "daemon", "name", "version", "backlog_oldest_age_s"} <= shown.keys()
    assert shown["daemon"]["devices"] == []


def test_the_receiver_is_told_why_a_meter_has_no_readings(tmp_path: Path) -> None:
    """E1, E18: a dead meter and a restart, each with its span."""
    with Receiver() as receiver, ModbusMeters([1, 7]) as meters:
        meters.ignore[7] = set(range(0x6000))
        table = modbus_table(meters.port, [1, 7], interval_s=0.5, timeout_s=0.2)
        edge = EdgeProcess(folder=tmp_path, receiver_url=receiver.url, meters=table)
        for _ in range(2):
            edge.start()
            before = len(receiver.rows())
            wait_until(lambda before=before: len(receiver.rows()) > before + 5, timeout_s=20)
            assert edge.stop() == 0
    notes = [note for batch in receiver.batches.values() for note in batch.notes]
    silences = [note for note in notes if note.kind is NoteKind.SILENT and note.device == "meter-7"]
    [stopped] = [note for note in notes if note.kind is NoteKind.NOT_RUNNING]
    assert silences[0].last_us <= stopped.last_us <= silences[-1].first_us + 1
    assert "no reply within 0.2 s" in silences[0].detail
    read_us = sorted(time_us for device, time_us, _ in receiver.rows() if device == "meter-1")
    assert not [time_us for time_us in read_us if stopped.first_us + 1_000_000 < time_us < stopped.last_us]
