"""What `segs-edge explain` says of one reading, from a real buffer."""

from pathlib import Path
from typing import Any

import pytest

from contract.batch import Flag
from contract.notes import Note, NoteKind
from contract.receipt import Quarantined
from edge.buffer.lock import BufferLock
from edge.buffer.rows import Loss
from edge.buffer.state import BufferState
from edge.drivers.sink import DeviceState
from edge.frames import BlockReply, ModbusFrame, MqttFrame, frames
from edge.reading import Reading
from edge.status.running import Running
from edge.status.status import LOCK_FILE
from edge.tools.explain import explain
from edge.tools.outcome import ToolFault
from edge.tools.trace.found import Answer
from edge.tools.trace.question import parse
from edge.uplink.state import UplinkState
from tests.integration.edge.folder import NOON_US, OFFSET_US, Folder, commit, deliver, reading, readings
from tests.integration.edge.tools import inside, said

_WAITS_FOR_GATEWAY = "the gateway to run: it is stopped"


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def _asked(folder: Folder, number: float, device: str = "main") -> Answer:
    return explain(folder.config, parse(f"{device}@{NOON_US + round(number * 1e6)}"))


async def test_a_reading_that_is_only_on_disk_waits_to_be_cut(folder: Folder) -> None:
    async with folder.store() as store:
        await commit(store, readings(0, 10))
        answer = _asked(folder, 4)
        with BufferLock(folder.config.data_dir / LOCK_FILE):
            assert (_asked(folder, 4).waits_for or "").startswith("its turn to go into a batch")
    assert answer.said == "read, and kept on the gateway's disk"
    assert answer.reading is not None
    assert answer.reading.values == reading(4).values
    assert (answer.reading.boot, answer.reading.monotonic_s) == ("boot-1", 104.0)
    assert answer.segment is not None
    assert (answer.segment.others, answer.segment.level) == (9, "whole")
    assert answer.waits_for == _WAITS_FOR_GATEWAY


async def test_a_batch_without_a_receipt_and_one_with_it_are_told_apart(folder: Folder) -> None:
    async with folder.store() as store:
        await commit(store, readings(0, 10))
        await store.cut_live(5000)
        waiting = _asked(folder, 4)
        [batch] = await deliver(store)
        await commit(store, readings(10, 20))
    delivered = _asked(folder, 4)
    assert waiting.said == "read, kept, and in batch 1, which has no receipt yet"
    [found] = delivered.batches
    assert (found.stream, found.seq, found.sha256, found.lane) == (batch.stream, 1, batch.sha256, "live")
    assert found.receipt is not None
    assert (found.receipt.stored, found.receipt.quarantined) == (10, [])
    assert delivered.said == "delivered in batch 1, and the receiver has it"
    assert (delivered.waits_for or "").startswith("to be deleted: 60 s after its receipt")


async def test_a_quarantine_of_the_device_is_told_and_not_one_of_its_neighbours(folder: Folder) -> None:
    async with folder.store() as store:
        await commit(store, [*readings(0, 5), *readings(0, 5, "other")])
        await store.cut_live(5000)
        await deliver(store, quarantined=[Quarantined("other", "unknown_device", 5)])
    assert _asked(folder, 4).said == "delivered in batch 1, and the receiver has it"
    assert _asked(folder, 4, "other").said.endswith("quarantined some of other in it: unknown_device")


async def test_once_confirmed_the_batches_of_its_time_are_shown(folder: Folder) -> None:
    async with folder.store() as store:
        await commit(store, readings(0, 10))
        await store.cut_live(5000)
        await deliver(store)
        await commit(store, readings(20, 30))
        await store.confirm([(1, 1)], keep_s=0, asked_us=NOON_US + 60_000_000)
        await commit(store, readings(30, 40))
    answer = _asked(folder, 4)
    assert answer.reading is None
    assert [batch.seq for batch in answer.batches] == [1]
    assert answer.batches[0].confirmed is not None
    assert answer.said == "delivered, if it was read: batch 1 was confirmed, and its readings deleted here"
    assert answer.waits_for is None


@pytest.mark.parametrize(
    ("state", "asked_s", "expected"),
    [
        ({"last_reading_us": NOON_US + 9_000_000}, 30, "never read: main was silent, no reading"),
        (
            {"last_reading_us": NOON_US + 9_000_000, "last_error_us": NOON_US + 50_000_000, "last_error": "no reply"},
            30,
            "never read: main was silent, no reply",
        ),
        ({}, 30, "never read: main was silent, no reading"),
        # Before the gateway started, while it was read, and after what the gateway last knew.
        ({}, 1, "delivered, if it was read: "),
        ({"last_reading_us": NOON_US + 31_000_000}, 30, "delivered, if it was read: "),
        ({"last_reading_us": NOON_US + 9_000_000}, 61, "delivered, if it was read: "),
        ({"last_reading_us": NOON_US + 29_000_000, "interval_ms": 60_000}, 30, "delivered, if it was read: "),
    ],
)
async def test_a_silence_that_lasts_and_is_told_by_no_note_yet_is_none_that_was_delivered(
    folder: Folder, state: dict[str, Any], asked_s: int, expected: str
) -> None:
    """Others were read, and what they told was delivered."""
    async with folder.store() as store:
        await commit(store, [*readings(0, 10), *readings(0, 70, "other")])
        await store.cut_live(5000)
        await deliver(store)
        await store.confirm([(1, 1)], keep_s=0, asked_us=NOON_US + 60_000_000)
        await commit(store, readings(70, 80, "other"))
    main = DeviceState(**{"device": "main", "interval_ms": 1000} | state)
    running = Running(1, "0", NOON_US + 2_000_000, NOON_US + 60_000_000, [main], [], BufferState(), UplinkState())
    running.write(folder.config.data_dir)

    assert _asked(folder, asked_s).said.startswith(expected)


async def test_between_two_confirmed_batches_the_one_of_the_nearest_reading_is_shown(folder: Folder) -> None:
    """A time of one's own is seldom a reading's, and may fall between the last one of a batch and the next's first."""
    async with folder.store() as store:
        for first, last in ((0, 5), (5, 10), (20, 30)):
            await commit(store, readings(first, last))
            await store.cut_live(5000)
            await deliver(store)
        await store.confirm([(1, 1), (1, 2), (1, 3)], keep_s=0, asked_us=NOON_US + 60_000_000)
        await commit(store, readings(40, 50))
    assert [batch.seq for batch in _asked(folder, 4.4).batches] == [1]
    assert [batch.seq for batch in _asked(folder, 4.6).batches] == [2]
    assert _asked(folder, 4.6).said.startswith("delivered, if it was read: batch 2 was confirmed")
    with pytest.raises(ToolFault, match="nothing is known of"):
        _asked(folder, 15)


async def test_the_nearest_reading_within_half_an_interval_counts(folder: Folder) -> None:
    async with folder.store() as store:
        await commit(store, readings(0, 10))
    near = _asked(folder, 4.4)
    assert near.reading is not None
    assert (near.reading.time, near.reading.apart_s) == ("2026-11-27T12:00:04Z", 0.4)
    with pytest.raises(ToolFault, match=r"nothing is known of 2026-11-27T12:00:09\.600Z"):
        _asked(folder, 9.6)


async def test_a_corrected_reading_is_found_by_both_its_times(folder: Folder) -> None:
    """E27: the clock was an hour behind, and is known to have been."""
    behind_us = 3600_000_000
    async with folder.store() as store:
        await commit(store, [reading(0, time_us=NOON_US - behind_us)], offset_us=OFFSET_US - behind_us)
        await store.cut_live(5000)
    for number in (0, -3600):
        found = _asked(folder, number).reading
        assert found is not None
        assert (found.time, found.stamped) == ("2026-11-27T12:00:00Z", "2026-11-27T11:00:00Z")
        assert (found.flags, found.monotonic_s, found.boot) == (["time corrected"], 100.0, "boot-1")


async def test_a_reading_of_a_clock_that_nobody_vouches_for_waits_for_the_time(folder: Folder) -> None:
    """E27"""
    async with folder.store(true_us=None) as store:
        await commit(store, readings(0, 10))
        with BufferLock(folder.config.data_dir / LOCK_FILE):
            assert (_asked(folder, 4).waits_for or "").startswith("the time to be known")


async def test_a_meters_own_clock_is_not_corrected(folder: Folder) -> None:
    async with folder.store() as store:
        await commit(store, [reading(0, flags=int(Flag.TIME_FROM_DEVICE))], offset_us=OFFSET_US - 3600_000_000)
        await store.cut_live(5000)
    found = _asked(folder, 0).reading
    assert found is not None
    assert (found.time, found.stamped, found.monotonic_s) == ("2026-11-27T12:00:00Z", None, None)


async def test_what_was_never_read_is_told_by_the_silence(folder: Folder) -> None:
    silence = Note(NoteKind.SILENT, NOON_US, NOON_US + 60_000_000, device="main", detail="no reply within 1 s")
    stopped = Note(NoteKind.NOT_RUNNING, NOON_US + 90_000_000, NOON_US + 99_000_000)
    async with folder.store() as store:
        await commit(store, readings(60, 61, "other"), notes=[silence, stopped])
    assert _asked(folder, 30).said == "never read: main was silent, no reply within 1 s"
    assert _asked(folder, 95).said == "never read: the gateway was not running"
    with pytest.raises(ToolFault):
        _asked(folder, 30, "plug")


async def test_polls_left_out_explain_what_is_not_there_and_speak_against_no_delivery(folder: Folder) -> None:
    """In their time others were read: a batch that is confirmed may have had the reading."""
    busy = Note(NoteKind.OVERRUN, NOON_US, NOON_US + 60_000_000, readings=43, device="main")
    async with folder.store() as store:
        await commit(store, [reading(10), reading(50)], notes=[busy])
        there, absent = _asked(folder, 50), _asked(folder, 30)
        await store.cut_live(5000)
        await deliver(store)
        await store.confirm([(1, 1)], keep_s=0, asked_us=NOON_US + 90_000_000)
        await commit(store, readings(90, 91), notes=[busy])
    assert there.said == "read, and kept on the gateway's disk"
    assert absent.said == "never read: 43 polls of main were left out around that time, its line was busy"
    assert _asked(folder, 30).said == (
        "delivered, if it was read: batch 1 was confirmed, and its readings deleted here; "
        "43 polls of main were left out around that time, its line was busy"
    )


async def test_a_note_that_cannot_be_read_any_more_is_passed_over(folder: Folder) -> None:
    silence = Note(NoteKind.SILENT, NOON_US, NOON_US + 60_000_000, device="main", detail="no reply within 1 s")
    async with folder.store() as store:
        await commit(store, readings(60, 61, "other"), notes=[silence, silence])
    folder.change("UPDATE note SET body = x'c1' WHERE id = (SELECT min(id) FROM note)")
    assert _asked(folder, 30).said == "never read: main was silent, no reply within 1 s"


async def test_a_receipt_that_cannot_be_read_any_more_is_said_to_be_so(folder: Folder) -> None:
    async with folder.store() as store:
        await commit(store, readings(0, 5))
        await store.cut_live(5000)
        await deliver(store, quarantined=[Quarantined("main", "unknown_device", 5)])
    folder.change("UPDATE batch SET receipt = substr(receipt, 1, 20)")
    with pytest.raises(ToolFault, match=r"the receipt of .* cannot be read any more: .*; the receiver's quarantine"):
        _asked(folder, 4)


async def test_what_was_given_up_is_told_by_its_reason(folder: Folder) -> None:
    """E20"""
    async with folder.store() as store:
        lost = Loss("memory was full", 60, NOON_US, NOON_US + 60_000_000, NoteKind.OVERFLOWED)
        await commit(store, [], losses=[lost])
    answer = _asked(folder, 30)
    assert answer.said == "given up: memory was full"
    assert [note.kind for note in answer.given_up] == ["overflowed"]


async def test_a_reading_that_was_refused_is_told_with_the_receivers_words(folder: Folder) -> None:
    """E26"""
    async with folder.store() as store:
        await commit(store, [reading(0)])
        await store.cut_live(5000)
        await store.refuse(1, status=422, reason="malformed")
    answer = _asked(folder, 0)
    assert answer.said == "read, and set aside at the gateway: the receiver will not have it"
    assert [(one.status, one.reason) for one in answer.refused] == [(422, "malformed")]


async def test_replies_of_a_meter_are_decoded_once_more(folder: Folder) -> None:
    """E8: 230.5 V and 100 W are what these bytes say."""
    values: dict[str, int | float] = {"voltage_l1_v": 230.5, "power_w": 100.0}
    read = Reading("main", NOON_US, values, 0, 1000)
    frame = ModbusFrame([BlockReply(4, 0x0000, "43668000"), BlockReply(4, 0x0034, "42c80000")])
    async with folder.store() as store:
        await commit(store, [read], frames=frames([read], frame))
    found = _asked(folder, 0).frame
    assert found is not None
    assert (found.values, found.same) == (values, True)


async def test_another_value_than_the_bytes_say_is_told(folder: Folder) -> None:
    read = Reading("main", NOON_US, {"power_w": 99.0}, 0, 1000)
    frame = ModbusFrame([BlockReply(4, 0x0034, "42c80000")])
    async with folder.store() as store:
        await commit(store, [read], frames=frames([read], frame))
    found = _asked(folder, 0).frame
    assert found is not None
    assert (found.values, found.same) == ({"power_w": 100.0}, False)


async def test_a_message_is_decoded_once_more(folder: Folder) -> None:
    payload = b'{"Time":"2026-11-27T11:59:59","ENERGY":{"Total":1.5,"Power":100,"Voltage":230}}'
    read = Reading("plug", NOON_US, {"power_w": 100.0, "energy_import_wh": 1500, "voltage_l1_v": 230.0}, 0, 10_000)
    async with folder.store() as store:
        await commit(store, [read], frames=frames([read], MqttFrame("tele/plug/SENSOR", payload)))
    found = _asked(folder, 0, "plug").frame
    assert found is not None
    assert (found.same, found.why_not) == (True, None)
    assert found.raw == [f"topic tele/plug/SENSOR: {payload.decode()}"]


async def test_a_full_buffer_leaves_the_register_and_says_what_it_took(folder: Folder) -> None:
    """E20"""
    async with folder.store() as store:
        for start in range(0, 2000, 10):
            await commit(store, readings(start, start + 10))
        full_bytes = await store.used_bytes()
    async with folder.store(max_bytes=full_bytes - 1) as store:
        await store.make_room()
    answer = _asked(folder, 100)
    assert answer.reading is not None
    assert answer.segment is not None
    assert (list(answer.reading.values), answer.segment.level.partition(":")[0]) == (["energy_import_wh"], "reduced")
    assert [note.kind for note in answer.given_up] == ["reduced"]


async def test_people_read_the_way_from_top_to_bottom_and_machines_as_json(folder: Folder) -> None:
    async with folder.store() as store:
        await commit(store, readings(0, 10))
        await store.cut_live(5000)
        await deliver(store)
    arguments = ("explain", "main@2026-11-27T12:00:04Z", "--config", str(folder.config_file))
    shown = inside(*arguments).stdout.splitlines()
    assert shown[0] == "main at 2026-11-27T12:00:04Z: delivered in batch 1, and the receiver has it"
    assert [line.partition(":")[0] for line in shown if not line.startswith(" ")][1:] == [
        "reading",
        "boot",
        "buffer",
        "batch",
        "receipt",
        "waits for",
    ]
    assert said(inside(*arguments, "--json"))["reading"]["values"]["power_w"] == 104.5


@pytest.mark.parametrize(
    ("asked", "status", "words"),
    [
        ("main@2026-11-27T12:01:00Z", 1, "nothing is known of 2026-11-27T12:01:00Z"),
        ("man@2026-11-27T12:01:00Z", 1, "no such device, did you mean 'main'?"),
        ("main", 2, "no reading; write its device and its time"),
        ("main@noon", 2, "no ISO 8601 time"),
    ],
)
async def test_what_cannot_be_answered_ends_with_one_sentence(
    folder: Folder, asked: str, status: int, words: str
) -> None:
    async with folder.store() as store:
        await commit(store, readings(0, 10))
    done = inside("explain", asked, "--config", str(folder.config_file))
    assert (done.returncode, done.stdout) == (status, "")
    assert words in done.stderr


async def _confirmed(folder: Folder, *devices: str) -> None:
    """Ten readings of each of `devices`, delivered and deleted; a stop of the gateway and a loss in their time."""
    stopped = Note(NoteKind.NOT_RUNNING, NOON_US, NOON_US + 10_000_000)
    lost = Loss("memory was full", 60, NOON_US, NOON_US + 10_000_000, NoteKind.OVERFLOWED)
    async with folder.store() as store:
        await commit(store, [one for device in devices for one in readings(0, 10, device)], notes=[stopped])
        await commit(store, [], losses=[lost])
        await store.cut_live(5000)
        await deliver(store)
        await store.confirm([(1, 1)], keep_s=0, asked_us=NOON_US + 60_000_000)
        await commit(store, readings(30, 40, "shed"))


@pytest.mark.parametrize(
    ("device", "words"),
    [
        ("mian", "there is no such device, did you mean 'main'?"),
        ("plug/2", "there is no such device, did you mean 'plug'?"),
        ("shet", "there is no such device, did you mean 'shed'?"),
        ("boiler", "there is no such device; the gateway has main, plug and shed."),
    ],
)
async def test_what_holds_for_every_device_of_a_time_says_nothing_of_one_that_is_not_there(
    folder: Folder, device: str, words: str
) -> None:
    """A typing error looked like a reading that was delivered."""
    await _confirmed(folder, "main", "plug")
    done = inside("explain", f"{device}@2026-11-27T12:00:04Z", "--config", str(folder.config_file))
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{device}: {words}" in done.stderr
    assert "Neither the configuration nor the buffer has anything of that name" in done.stderr


async def test_of_many_devices_the_nearest_are_named(folder: Folder) -> None:
    async with folder.store() as store:
        await commit(store, [reading(0, f"meter-{number}") for number in range(100)])
    with pytest.raises(ToolFault, match=r"no such device, did you mean 'meter-\d+', 'meter-\d+' or 'meter-\d+'\?"):
        _asked(folder, 0, "meter-1234")
    with pytest.raises(ToolFault, match=r"the gateway has main, plug, meter-0, meter-1, .* and 92 more\."):
        _asked(folder, 0, "boiler")


async def test_a_device_that_the_configuration_no_longer_names_is_known_by_what_is_left_of_it(folder: Folder) -> None:
    await _confirmed(folder, "main")
    assert [batch.seq for batch in _asked(folder, 4, "shed").batches] == [1]
    async with folder.store() as store:
        silence = Note(NoteKind.SILENT, NOON_US + 60_000_000, NOON_US + 90_000_000, device="cellar")
        await commit(store, [], notes=[silence])
    assert [batch.seq for batch in _asked(folder, 4, "cellar").batches] == [1]


def test_without_a_buffer_that_is_said(folder: Folder) -> None:
    done = inside("explain", "main@2026-11-27T12:01:00Z", "--config", str(folder.config_file))
    assert done.returncode == 1
    assert "no buffer yet" in done.stderr
