"""What gateway and receiver agree on: numbers that have arrived, numbers that mean something else, forms, clocks."""

import shutil
import time
from pathlib import Path

import pytest

from contract.codec import JSON, MEDIA_TYPES, MSGPACK, PACKED, decode
from contract.notes import Note, NoteKind
from tests.integration.edge.peers import Receiver, eventually
from tests.integration.edge.sending import numbers, numbers_as_sent, reading, sending

_NOW_US = 1_800_000_000_000_000
_OVERRUN = Note(NoteKind.OVERRUN, 1, 2, readings=3, device="meter", detail="polls left out: the line was busy")
_AS_SILENCE = Note(NoteKind.SILENT, 1, 2, device="meter", detail="polls left out: the line was busy")


def _copy(buffer: Path, to: Path) -> None:
    """A buffer that is closed, in place of what is there."""
    for part in to.parent.glob(f"{to.name}*"):
        part.unlink()
    shutil.copy(buffer, to)


async def test_a_batch_is_deleted_once_the_receiver_has_kept_it_for_a_while(tmp_path: Path) -> None:
    """E16"""
    with Receiver() as receiver:
        async with sending(tmp_path, receiver.url, keep_delivered_s=90) as site:
            await site.put(1, 2)
            await eventually(lambda: site.uplink.state.batches == 1)
            site.skip(61)
            await eventually(lambda: len(receiver.questions) == 2)
            await site.put_singly(receiver, 3)
            assert site.store.lowest_unconfirmed() == 1
            site.skip(61)
            await eventually(lambda: len(receiver.questions) == 3)
            await site.put_singly(receiver, 4)
            assert site.store.lowest_unconfirmed() == 2


async def test_batches_that_the_receiver_has_lost_come_again_and_no_others(tmp_path: Path) -> None:
    """E16, C3: its database fell back to a copy that lacks them, although it had given receipts."""
    with Receiver() as receiver:
        async with sending(tmp_path, receiver.url) as site:
            await site.put_singly(receiver, *range(6))
            sent, stream = len(receiver.bodies), site.store.stream
            receiver.forget([(stream, 3), (stream, 5), (stream, 6)])
            site.skip(61)
            await eventually(lambda: len(receiver.stored) == 6)
            await eventually(lambda: site.uplink.state.resent == 3)
        assert sorted(seq for seq, _ in receiver.bodies[sent:]) == [3, 5, 6]
        assert all((seq, body) in receiver.bodies[:sent] for seq, body in receiver.bodies[sent:])
    assert numbers_as_sent(receiver) == list(range(6))


async def test_what_was_confirmed_is_never_asked_for_again(tmp_path: Path) -> None:
    """E23: the whole log re-sent at start."""
    with Receiver() as receiver:
        async with sending(tmp_path, receiver.url, keep_delivered_s=0) as site:
            await site.put_singly(receiver, *range(4))
            site.skip(61)
            await eventually(lambda: len(receiver.questions) == 2)
        async with sending(tmp_path, receiver.url) as site:
            await site.put(4)
            await eventually(lambda: len(receiver.stored) == 5)
        assert receiver.questions[-1] == (site.store.stream, 5)
    assert numbers_as_sent(receiver) == list(range(5))


async def test_a_buffer_that_was_rolled_back_begins_a_new_stream(tmp_path: Path) -> None:
    """E17, E23: an older copy of the file would give numbers again that mean something else by now."""
    with Receiver() as receiver:
        streams = []
        for which in ([1, 2], [3, 4], [5, 6]):
            async with sending(tmp_path, receiver.url) as site:
                await site.put_singly(receiver, *which)
                streams.append(site.store.stream)
            if which == [1, 2]:
                _copy(site.file, tmp_path / "copy.sqlite")
            elif which == [3, 4]:
                _copy(tmp_path / "copy.sqlite", site.file)
        assert streams[0] == streams[1] != streams[2]
        assert site.uplink.state.renumbered == 1
    assert numbers(receiver) == [1, 2, 3, 4, 5, 6]


async def test_two_gateways_with_one_copied_buffer_part_ways(tmp_path: Path) -> None:
    """E23: a disk image that was cloned."""
    with Receiver() as receiver:
        one, other = tmp_path / "one", tmp_path / "other"
        one.mkdir()
        async with sending(one, receiver.url) as site:
            await site.put(1)
            await eventually(lambda: len(receiver.stored) == 1)
        shutil.copytree(one, other)
        async with sending(one, receiver.url) as first, sending(other, receiver.url) as second:
            await eventually(lambda: len(receiver.questions) == 3)
            await first.put_singly(receiver, 2)
            await second.put_singly(receiver, 3)
            await first.put_singly(receiver, 4)
            assert first.store.stream != second.store.stream
            assert (first.uplink.state.renumbered, second.uplink.state.renumbered) == (0, 1)


async def test_a_number_that_means_something_else_begins_a_new_stream_once_a_minute_at_most(tmp_path: Path) -> None:
    """E16, E23, E26: nothing is dropped for it, and a receiver that says so for ever cannot make it spin."""
    with Receiver() as receiver:
        receiver.judge = lambda batch: 409
        async with sending(tmp_path, receiver.url) as site:
            await site.put(1)
            await eventually(lambda: "409" in (site.uplink.state.trouble or ""))
            assert (len(receiver.requests), site.uplink.state.renumbered) == (2, 1)
            assert (await site.store.backlog()).readings == 1


async def test_a_receiver_that_takes_the_packed_form_gets_it(tmp_path: Path) -> None:
    with Receiver() as receiver:
        async with sending(tmp_path, receiver.url) as site:
            await site.put(1)
            await eventually(lambda: site.uplink.state.batches == 1)
        assert site.uplink.state.version == 2
        assert decode(receiver.bodies[0][1], PACKED).version == 2


@pytest.mark.parametrize("missing", [False, True])
async def test_a_receiver_of_release_0_1_0_gets_version_1(tmp_path: Path, missing: bool) -> None:
    """Without the forms that it takes, or without the route."""
    with Receiver(media_types=None) as receiver:
        if missing:
            receiver.scripts["GET"].extend([404] * 100)
        async with sending(tmp_path, receiver.url, keep_delivered_s=1, backlog=[[1], [2]]) as site:
            await site.put(3)
            await eventually(lambda: site.uplink.state.readings == 3)
            assert site.uplink.state.version == 1
            asked = len(receiver.questions)
            site.skip(61)
            await eventually(lambda: len(receiver.questions) > asked or missing)
            await site.put_singly(receiver, 4, 5)
            assert (site.store.lowest_unconfirmed() or 0) > 1
        assert {decode(body, MSGPACK).version for _, body in receiver.bodies} == {1}
    assert numbers_as_sent(receiver) == [1, 2, 3, 4, 5]


async def test_a_receiver_that_is_put_back_to_version_1_costs_nothing(tmp_path: Path) -> None:
    """E22, E26: batches that were packed already are made again in the form that it takes."""
    with Receiver() as receiver:
        async with sending(tmp_path, receiver.url, backlog=[[number] for number in range(20)]) as site:
            await eventually(lambda: len(receiver.stored) == 20)
            receiver.media_types = None
            await site.put(20, 21)
            await eventually(lambda: len(receiver.stored) == 22)
            assert (site.uplink.state.version, site.uplink.state.refused) == (1, 0)
            receiver.media_types = [*MEDIA_TYPES]
            site.skip(61)
            await eventually(lambda: site.uplink.state.version == 2)
            await site.put(22)
            await eventually(lambda: len(receiver.stored) == 23)
        assert decode(receiver.bodies[-1][1], PACKED).version == 2
    assert numbers(receiver) == list(range(23))


def _notes(receiver: Receiver) -> list[Note]:
    return [note for batch in receiver.batches.values() for note in batch.notes]


@pytest.mark.parametrize(("kinds", "noted"), [([*NoteKind], _OVERRUN), (None, _AS_SILENCE)])
async def test_a_receiver_is_told_in_kinds_of_notes_that_it_knows(
    tmp_path: Path, kinds: list[str] | None, noted: Note
) -> None:
    """E26: one that names none is of the release before, and refuses a batch with any other kind."""
    with Receiver() as receiver:
        receiver.note_kinds = kinds
        async with sending(tmp_path, receiver.url) as site:
            await site.store.commit([reading(1)], notes=[_OVERRUN])
            site.news.set()
            await eventually(lambda: len(_notes(receiver)) == 1)
            assert site.uplink.state.refused == 0
    assert _notes(receiver) == [noted]
    assert numbers_as_sent(receiver) == [1]


async def test_a_receiver_that_is_put_back_to_fewer_kinds_of_notes_costs_neither_reading_nor_note(
    tmp_path: Path,
) -> None:
    """E26: what was cut for the newer one is refused once, and then told in older terms."""
    notes = [Note(NoteKind.OVERRUN, at, at, readings=1, device="meter") for at in range(20)]
    with Receiver() as receiver:
        async with sending(tmp_path, receiver.url) as site:
            await site.put(1)
            await eventually(lambda: site.uplink.state.batches == 1)
            receiver.note_kinds = None
            await site.store.commit([reading(2), reading(3)], notes=notes)
            site.news.set()
            await eventually(lambda: len(_notes(receiver)) == 20)
            await eventually(lambda: len(receiver.stored) == 3)
            assert (site.uplink.state.refused, site.uplink.state.refused_readings) == (1, 0)
    assert sorted(note.first_us for note in _notes(receiver)) == list(range(20))
    assert {note.kind for note in _notes(receiver)} == {NoteKind.SILENT}
    assert numbers_as_sent(receiver) == [1, 2, 3]


async def test_a_receiver_that_takes_nothing_that_it_names_is_not_asked_without_a_pause(tmp_path: Path) -> None:
    with Receiver() as receiver:
        receiver.judge = lambda batch: 415
        async with sending(tmp_path, receiver.url) as site:
            await site.put(1)
            await eventually(lambda: site.uplink.state.live.failures >= 3)
            assert len(receiver.requests) <= 5
            assert ((await site.store.backlog()).readings, site.uplink.state.renumbered) == (1, 0)
            receiver.judge = lambda batch: None
            await eventually(lambda: len(receiver.stored) == 1)


async def test_a_proxy_without_the_route_is_not_taken_for_an_old_receiver(tmp_path: Path) -> None:
    """E16: who has answered before is there; nothing is deleted and nothing sent on a 404 of somebody else."""
    with Receiver() as receiver:
        async with sending(tmp_path, receiver.url, keep_delivered_s=1) as site:
            await site.put(1)
            await eventually(lambda: site.uplink.state.batches == 1)
            receiver.scripts["GET"].append(404)
            site.skip(61)
            await eventually(lambda: (site.uplink.state.trouble or "").startswith("404"))
            assert site.store.lowest_unconfirmed() == 1


async def test_a_question_that_the_receiver_has_no_time_for_holds_no_batch(tmp_path: Path) -> None:
    with Receiver() as receiver:
        async with sending(tmp_path, receiver.url) as site:
            await site.put(1)
            await eventually(lambda: site.uplink.state.batches == 1)
            receiver.scripts["GET"].append((503, {"Retry-After": "60"}))
            site.skip(61)
            await site.put(2)
            await eventually(lambda: site.uplink.state.readings == 2)
            assert (site.uplink.state.trouble, len(receiver.scripts["GET"])) == (None, 0)


async def test_the_receivers_clock_is_heard_in_every_answer(tmp_path: Path) -> None:
    """E27"""
    with Receiver() as receiver:
        receiver.clock_us = lambda: _NOW_US
        async with sending(tmp_path, receiver.url) as site:
            await eventually(lambda: len(site.heard.times) >= 1)
            receiver.script.append(503)
            await site.put(1)
            await eventually(lambda: site.uplink.state.batches == 1)
            assert len(site.heard.times) >= 3
        assert {(at_us, resolution_us) for at_us, resolution_us, _ in site.heard.times} == {(_NOW_US, 1)}
        assert all(0 <= took_s < 5 for _, _, took_s in site.heard.times)


async def test_without_that_header_the_date_tells_the_time_to_a_second(tmp_path: Path) -> None:
    """E27"""
    with Receiver() as receiver:
        async with sending(tmp_path, receiver.url) as site:
            await site.put(1)
            await eventually(lambda: site.uplink.state.batches == 1)
        assert {resolution_us for _, resolution_us, _ in site.heard.times} == {1_000_000}
        assert all(abs(at_us / 1e6 - time.time()) < 5 for at_us, _, _ in site.heard.times)


@pytest.mark.parametrize("header", ["Age: 7200", "Content-Type: text/html"])
async def test_a_page_of_somebody_else_tells_no_time(tmp_path: Path, header: str) -> None:
    """E27: a hotspot's page, or an answer out of a cache."""
    kind = "" if "Type" in header else "Content-Type: application/json\r\n"
    page = f"HTTP/1.1 200 OK\r\n{kind}{header}\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 2\r\n\r\n{{}}"
    with Receiver() as receiver:
        receiver.scripts["GET"].append(page.encode())
        async with sending(tmp_path, receiver.url) as site:
            await eventually(lambda: site.uplink.state.failures == 1)
            assert site.heard.times == []


async def test_json_alone_is_no_form_that_this_gateway_sends(tmp_path: Path) -> None:
    """E16: it says so, and keeps everything."""
    with Receiver(media_types=[JSON]) as receiver:
        async with sending(tmp_path, receiver.url) as site:
            await site.put(1)
            await eventually(lambda: site.uplink.state.trouble is not None)
            assert (await site.store.backlog()).readings == 1
