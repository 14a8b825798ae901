"""What gateways say besides readings: notes, exactly once as readings are, and reports, which hold up nothing."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from contract.answer import CREDIT, TIME
from contract.batch import Batch, DeviceBlock
from contract.codec import MEDIA_TYPES, compress, encode
from contract.notes import Note, NoteKind
from contract.report import BacklogReport, BufferReport, ClockReport, GivenUp, Report
from tests.integration.conftest import NOW_US, STREAM, Cloud, batch

NOTED = "SELECT kind, device, readings, detail FROM gateway_notes ORDER BY note_id"
HOUR_US = 3_600_000_000


def note(kind: NoteKind = NoteKind.SILENT, **more: Any) -> Note:
    return Note(kind=kind, first_us=NOW_US - HOUR_US, last_us=NOW_US, **more)


def noted(*notes: Note, seq: int = 1, devices: tuple[DeviceBlock, ...] = ()) -> Batch:
    return Batch(2, STREAM, seq, list(devices), list(notes))


def report(**more: Any) -> Report:
    return Report(
        **{
            "software": "segs-edge 0.2.0", "boot_id": "b", "started_us": NOW_US - HOUR_US, "sent_us": NOW_US,
            "stream": STREAM, "next_seq": 7, "loss_window_s": 1.0, "backlog": BacklogReport(), "buffer": BufferReport(),
            "clock": ClockReport(), "given_up": GivenUp(),
        }
        | more
    )  # fmt: skip


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
async def test_notes_are_stored_with_their_batch_and_once(cloud: Cloud, media_type: str) -> None:
    """C3, E23: a repeat of a batch doubles what it notes."""
    given = noted(
        note(device="main"), note(NoteKind.THINNED, readings=3, detail="full"), devices=tuple(batch().devices)
    )
    body = compress(encode(given, media_type), "zstd")

    first = await cloud.post(body, content_type=media_type)
    second = await cloud.post(body, content_type=media_type)

    assert (first.status_code, first.json()["version"], first.json()["stored"]) == (200, 2, 3)
    assert second.content == first.content
    assert cloud.rows(NOTED) == [("silent", "main", 0, ""), ("thinned", None, 3, "full")]
    spans = cloud.rows(
        "SELECT last_time - first_time, batch_id = (SELECT batch_id FROM ingest_batches) FROM gateway_notes"
    )
    assert spans == [(timedelta(hours=1), True)] * 2


async def test_every_kind_of_note_has_its_place(cloud: Cloud) -> None:
    """C1: the schema refuses what the contract has."""
    answer = await cloud.send(noted(*map(note, NoteKind)))

    assert answer.status_code == 200
    assert cloud.rows("SELECT kind FROM gateway_notes ORDER BY note_id") == [(kind.value,) for kind in NoteKind]


async def test_a_failed_write_leaves_no_note_behind(cloud: Cloud) -> None:
    """C3: half a batch is there, and its retry is refused as a duplicate."""
    cloud.do("ALTER TABLE gateway_notes ADD CONSTRAINT broken CHECK (readings > 0) NOT VALID")
    assert (await cloud.send(noted(note(readings=1), note()))).status_code == 500
    assert cloud.rows("SELECT count(*) FROM ingest_batches") == [(0,)]
    assert cloud.rows(NOTED) == []
    cloud.do("ALTER TABLE gateway_notes DROP CONSTRAINT broken")

    assert (await cloud.send(noted(note(readings=1), note()))).status_code == 200
    assert len(cloud.rows(NOTED)) == 2


async def test_a_batch_may_hold_notes_alone_or_nothing(cloud: Cloud) -> None:
    """A number whose readings are gone is sent void, so that the stream has no hole."""
    answers = [await cloud.send(noted(note(), seq=1)), await cloud.send(noted(seq=2))]

    assert [(answer.status_code, answer.json()["readings"]) for answer in answers] == [(200, 0), (200, 0)]
    assert (await cloud.get(f"/ingest/v1/streams/{STREAM}")).json()["received"] == [[1, 2]]
    assert cloud.rows("SELECT count(*) FROM dirty_meters") == [(0,)]
    assert cloud.rows("SELECT count(*) FROM quarantine") == [(0,)]


async def test_a_note_that_makes_no_sense_is_kept_and_holds_up_nothing(cloud: Cloud) -> None:
    """E26: one poisoned note stops the stream for good."""
    wild = [
        Note(NoteKind.SILENT, first_us=2**62, last_us=-(2**62)),
        Note(NoteKind.DAMAGED, first_us=NOW_US, last_us=NOW_US, detail="a\0b", readings=2**63 - 1),
    ]

    answer = await cloud.send(noted(*wild, devices=tuple(batch().devices)))

    assert (answer.status_code, answer.json()["stored"]) == (200, 3)
    assert cloud.rows(NOTED) == [("silent", None, 0, ""), ("damaged", None, 2**63 - 1, "ab")]
    assert cloud.rows(
        "SELECT extract(year FROM first_time), extract(year FROM last_time) FROM gateway_notes LIMIT 1"
    ) == [(1, 9999)]


async def test_a_correction_of_the_time_is_stored_as_a_flag(cloud: Cloud) -> None:
    await cloud.send(noted(devices=(DeviceBlock("main", [NOW_US], {"power_w": [1]}, flags=[2]),)))

    assert cloud.rows("SELECT flags FROM raw_readings WHERE time > '2026-01-01'") == [(2,)]


async def test_the_newest_report_takes_the_place_of_the_one_before(cloud: Cloud) -> None:
    for number, troubles in enumerate((["disk full"], [])):
        cloud.now[0] += timedelta(minutes=number)
        answer = await cloud.report(msgspec.json.encode(report(troubles=troubles, sent_us=NOW_US + 90_000_000)))
        assert (answer.status_code, answer.content) == (204, b"")

    [row] = cloud.rows("SELECT received_at, clock_ahead_s, software, report -> 'troubles' FROM gateway_reports")
    assert row == (cloud.now[0], 30.0, "segs-edge 0.2.0", None)
    assert cloud.rows("SELECT report ->> 'next_seq' FROM gateway_reports") == [("7",)]


async def test_a_report_of_a_later_release_is_taken(cloud: Cloud) -> None:
    later = json.loads(msgspec.json.encode(report())) | {"colour": "red"}

    assert (await cloud.report(json.dumps(later).encode())).status_code == 204


async def test_a_report_with_what_a_database_cannot_hold_is_taken_all_the_same(cloud: Cloud) -> None:
    odd = report(troubles=["a\0b"], sent_us=-(2**62), software="x\0", backlog=BacklogReport(spans=[(-(2**62), 2**62)]))

    assert (await cloud.report(msgspec.json.encode(odd))).status_code == 204
    assert cloud.rows("SELECT software, report -> 'troubles' FROM gateway_reports") == [("x", ["ab"])]


@pytest.mark.parametrize(
    ("body", "headers", "status", "problem"),
    [
        (b"{}", {}, 422, "malformed"),
        (b"[", {}, 422, "malformed"),
        (b"\xff", {}, 422, "malformed"),
        (b"[" * 60_000, {}, 422, "malformed"),
        (b"{}", {"content_type": "text/plain"}, 415, "unsupported-media"),
        (b" " * (64 * 1024 + 1), {}, 413, "too-large"),
        (b"{}", {"authorization": "Bearer segs_wrong"}, 401, "unknown-key"),
    ],
)
async def test_what_is_no_report_is_told_so(
    cloud: Cloud, body: bytes, headers: dict[str, str], status: int, problem: str
) -> None:
    answer = await cloud.report(body, **headers)

    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:segs:problem:{problem}")
    assert cloud.rows("SELECT count(*) FROM gateway_reports") == [(0,)]


async def test_a_report_waits_for_no_batch(cloud: Cloud) -> None:
    """All the gateway's places are taken by batches that do not end."""
    under_way, release = asyncio.Barrier(3), asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"x"
        await under_way.wait()
        await release.wait()

    headers = {"authorization": f"Bearer {cloud.key.text}", "content-type": MEDIA_TYPES[0]}
    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(cloud.client.post("/ingest/v1/batches", content=endless(), headers=headers))
        await under_way.wait()
        assert (await cloud.send(batch())).status_code == 429

        answer = await cloud.report(msgspec.json.encode(report()))

        release.set()
    assert answer.status_code == 204


async def test_every_answer_says_what_time_it_is(cloud: Cloud) -> None:
    """E27: a gateway without a clock has none but the receiver's."""
    answers = [
        await cloud.send(batch()),
        await cloud.send(batch()),
        await cloud.send(batch(), content_type="text/csv"),
        await cloud.send(batch(), authorization="Bearer segs_wrong"),
        await cloud.report(msgspec.json.encode(report())),
        await cloud.report(b"{}"),
        await cloud.get(f"/ingest/v1/streams/{STREAM}"),
        await cloud.get("/ingest/v1/streams/x"),
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 415, 401, 204, 422, 200, 422]
    assert [answer.headers[TIME] for answer in answers] == [str(NOW_US)] * len(answers)
    assert [answer.headers.get(CREDIT) for answer in answers] == ["1", "1", "1", "0", "1", "1", None, None]
