"""segs-edge explain: the way of one reading, as far as the gateway still knows it."""

import sqlite3
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated

import typer

from contract.notes import NoteKind
from edge.buffer.lock import held
from edge.config.load import load
from edge.config.models import Config
from edge.errors import ConfigError, DataDirUnusable
from edge.status.running import running_in
from edge.status.status import BUFFER_FILE, LOCK_FILE
from edge.status.stored import Unreadable, opened
from edge.tools import options, table
from edge.tools.outcome import USAGE, ToolFault, escaped, fail, show_json
from edge.tools.trace.devices import named
from edge.tools.trace.found import Answer, FoundBatch, FoundFrame, FoundNote, FoundReading
from edge.tools.trace.question import Question, parse
from edge.tools.trace.search import Search
from edge.validation import suggestion

# Of a device that the configuration does not name any more.
_SLACK_US = 5_000_000
_NEAREST, _LISTED = 3, 10


def command(
    reading: Annotated[str, typer.Argument(help="device@time, as main@2026-11-27T10:00:00.123Z", show_default=False)],
    config_file: Annotated[Path, typer.Option("--config", help="the gateway's TOML file")],
    as_json: options.AsJson = False,
) -> None:
    """Show the way of one reading: from the bytes on the wire to the receipt, or what became of it instead.

    READING is a device key, an @, and the reading's time: ISO 8601 (UTC where it names no zone), or microseconds since
    1970. The time is the one in the cloud, or what the gateway's clock showed. The nearest reading within half an
    interval counts, and how far it is from that is said. Nothing is changed by looking, and the gateway may run.

    Raw frames are there where buffer.keep_frames_bytes keeps some; they are decoded once more by the device's profile.
    Once a delivery is confirmed the reading itself is deleted: then the batches whose span holds its time are shown,
    else the one that ends or begins nearest to it, within the same half interval.

    Ends with 0 when something is known of that time, 1 when nothing is or there is no such device, 2 for a wrong
    command line or configuration. A device that the configuration names no more is one while the buffer has anything
    of it.

    \b
    Examples:
      segs-edge explain main@2026-11-27T10:00:00.123Z --config gateway.toml
      segs-edge explain plug/2@1795773600123000 --config gateway.toml --json
    """
    try:
        config = load(config_file)
        question = parse(reading)
    except (ConfigError, ToolFault) as error:
        fail(error, USAGE)
    try:
        answer = explain(config, question)
    except (Unreadable, DataDirUnusable, ToolFault) as error:
        fail(error)
    if as_json:
        show_json(answer)
    else:
        typer.echo("\n".join(map(escaped, _lines(answer))))


def explain(config: Config, question: Question) -> Answer:
    """What is known of `question`. Raises ToolFault where nothing is, Unreadable, DataDirUnusable."""
    intervals = {key: interval_ms for key, _, interval_ms in config.devices()}
    slack_us = intervals.get(question.device, 0) * 500 or _SLACK_US
    path = config.data_dir / BUFFER_FILE
    with opened(path) as db:
        if db is None:
            raise ToolFault(f"{path}: no buffer yet; start the gateway once, or name the configuration it runs with")
        search = Search(db, config=config, question=question, slack_us=slack_us)
        answer = search.answer()
        if question.device not in intervals and not (answer.reading or answer.refused):
            _look_for_device(db, question.device, intervals)
        if not answer.known:
            raise ToolFault(_nothing(config, question, answer.asked, slack_us))
        boot = answer.reading.boot if answer.reading else None
        answer.waits_for = _waits_for(config, answer, time_known=search.time_known(boot))
    answer.said = _said(answer)
    return answer


def _look_for_device(db: sqlite3.Connection, device: str, configured: Collection[str]) -> None:
    """Raises ToolFault where the buffer has nothing of `device`: what holds for all of a time would vouch for it."""
    others = set()
    for name in named(db):
        if name == device:
            return
        others.add(name)
    known = [*configured, *sorted(others.difference(configured))]
    near = suggestion(device, known, most=_NEAREST) or f"; the gateway has {_listed(known)}."
    raise ToolFault(
        f"{device}: there is no such device{near} Neither the configuration nor the buffer has anything of that name, "
        "so nothing can be said of its readings"
    )


def _listed(names: list[str]) -> str:
    shown = names[:_LISTED] if len(names) > _LISTED + 1 else names[:-1]
    rest = len(names) - len(shown)
    last = f"{rest} more" if rest > 1 else (names or ["none"])[-1]
    return f"{', '.join(shown)} and {last}" if shown else last


def _nothing(config: Config, question: Question, asked: str, slack_us: int) -> str:
    return (
        f"{question.device}: nothing is known of {asked}, nor of {slack_us / 1e6:g} s around it: no reading, no batch, "
        f"no loss and no silence. What is not on disk yet is at most {config.buffer.commit_interval_s:g} s old; "
        "of batches that are confirmed the newest 2,000 are remembered, and the cloud has all"
    )


def _waits_for(config: Config, answer: Answer, *, time_known: bool) -> str | None:
    if answer.reading is None:
        return None
    batch = answer.batches[-1] if answer.batches else None
    if batch is not None and batch.receipt is not None:
        keep_s = config.uplink.keep_delivered_s
        return f"to be deleted: {keep_s:g} s after its receipt the receiver is asked whether it still has the batch"
    if not held(config.data_dir / LOCK_FILE):
        return "the gateway to run: it is stopped"
    daemon = running_in(config.data_dir)
    why = f"; now: {daemon.uplink.trouble}" if daemon and daemon.uplink.trouble else ""
    if batch is not None:
        return f"the receipt for batch {batch.seq}{why}"
    if not time_known:
        return "the time to be known: nobody vouches for the clock of this boot yet"
    return f"its turn to go into a batch: the newest go at once, older ones as the receiver grants{why}"


def _said(answer: Answer) -> str:
    if answer.reading is not None:
        batch = answer.batches[-1] if answer.batches else None
        if batch is None:
            return "read, and kept on the gateway's disk"
        if batch.receipt is None:
            return f"read, kept, and in batch {batch.seq}, which has no receipt yet"
        if batch.receipt.quarantined:
            reasons = ", ".join(str(entry["reason"]) for entry in batch.receipt.quarantined)
            return f"delivered in batch {batch.seq}; the receiver quarantined some of {answer.device} in it: {reasons}"
        return f"delivered in batch {batch.seq}, and the receiver has it"
    if answer.refused:
        return "read, and set aside at the gateway: the receiver will not have it"
    # Others were read in the same time: that some polls were left out denies no delivery.
    busy = next((_reason(note) for note in answer.not_read if note.kind == NoteKind.OVERRUN), None)
    if silent := [note for note in answer.not_read if note.kind != NoteKind.OVERRUN]:
        return f"never read: {_reason(silent[0])}"
    if answer.batches and answer.given_up:
        return "delivered or given up: the reading is not here any more, and both have touched its time"
    if answer.batches:
        gone = f"batch {answer.batches[-1].seq} was confirmed, and its readings deleted here"
        return f"delivered, if it was read: {gone}{f'; {busy}' if busy else ''}"
    if answer.given_up:
        return f"given up: {answer.given_up[-1].detail}"
    if busy:
        return f"never read: {busy}"
    return "it came over the wire, and made no reading"


def _reason(note: FoundNote) -> str:
    if note.kind == NoteKind.OVERRUN:
        return f"{note.readings} polls of {note.device} were left out around that time, its line was busy"
    return (
        f"{note.device or 'the gateway'} was {note.kind.replace('_', ' ')}{f', {note.detail}' if note.detail else ''}"
    )


def _lines(answer: Answer) -> Iterator[str]:
    yield f"{answer.device} at {answer.asked}: {answer.said}"
    if answer.frame is not None:
        yield from _frame(answer.frame)
    if answer.reading is not None:
        yield from _reading(answer.reading)
    if (segment := answer.segment) is not None:
        yield f"buffer: segment {segment.id}, committed with {segment.others} others, {segment.level}"
    for batch in answer.batches:
        yield from _batch(batch, answer.device)
    for one in answer.refused:
        yield f"refused: the reading of {one.time}, at {one.refused}: {one.status} {one.reason}"
    for note in answer.given_up:
        yield f"{note.kind}: {note.readings} readings of {note.first} to {note.last}: {note.detail}"
    for note in answer.not_read:
        yield f"not read: from {note.first} to {note.last}: {_reason(note)}"
    if answer.waits_for:
        yield f"waits for: {answer.waits_for}"


def _frame(frame: FoundFrame) -> Iterator[str]:
    if frame.same is None:
        again = f"not decoded again: {frame.why_not}"
    else:
        again = "decoded again: the same values" if frame.same else "decoded again: OTHER VALUES"
    yield f"frame: {frame.kind}, {frame.time}; {again}"
    yield from (f"  {line}" for line in frame.raw)
    if frame.same is False:
        yield from (f"  {line}" for line in table.quantities(frame.values))


def _reading(reading: FoundReading) -> Iterator[str]:
    apart = f", the nearest, {reading.apart_s:g} s from what was asked for" if reading.apart_s else ""
    flags = f", {', '.join(reading.flags)}" if reading.flags else ""
    yield f"reading: {reading.time}{apart}, interval {reading.interval_ms / 1000:g} s{flags}"
    yield from (f"  {line}" for line in table.quantities(reading.values))
    if reading.stamped:
        yield f"clock: the gateway's showed {reading.stamped}, wrong by {-reading.corrected_by_s:g} s"
    if reading.monotonic_s is not None:
        yield f"boot: {reading.boot}, {reading.monotonic_s:.3f} s after its start"


def _batch(batch: FoundBatch, device: str) -> Iterator[str]:
    yield (
        f"batch: {batch.seq} of stream {batch.stream}, {batch.lane} lane, cut {batch.cut}, "
        f"{batch.readings} readings of {batch.first} to {batch.last}"
    )
    yield f"  sha256 {batch.sha256}"
    if batch.receipt is not None:
        receipt = batch.receipt
        entries = ", ".join(f"{entry['readings']} of {device} {entry['reason']}" for entry in receipt.quarantined)
        yield (
            f"receipt: {receipt.received}, {receipt.stored} stored, {receipt.duplicates} duplicates, "
            f"quarantined: {entries or f'none of {device}'}"
        )
    if batch.confirmed:
        yield f"confirmed: {batch.confirmed}, and deleted here"
