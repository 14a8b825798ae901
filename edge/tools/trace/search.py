"""Looks for one reading in the buffer: in its segments, batches, notes and frames."""

import sqlite3
from collections.abc import Iterator

import msgspec

from contract.batch import Flag
from contract.notes import GAP_INTERVALS, NoteKind
from contract.receipt import Receipt
from edge.buffer.batches import Lane
from edge.buffer.segments import DamagedSegment, unpack
from edge.buffer.tables import decoded_note
from edge.buffer.truth import machine_boot
from edge.clock import utc
from edge.config.models import Config
from edge.reading import Reading
from edge.status.running import in_trouble, running_in
from edge.timekeeping import STEP_US, correction_us
from edge.tools.outcome import ToolFault
from edge.tools.trace import frames
from edge.tools.trace.found import (
    Answer,
    FoundBatch,
    FoundFrame,
    FoundNote,
    FoundReading,
    FoundReceipt,
    FoundRefused,
    FoundSegment,
)
from edge.tools.trace.question import Question

_RECEIPT = msgspec.json.Decoder(Receipt)
_LEVELS = (
    "whole",
    "reduced: instantaneous values at quarter-hours alone",
    "thinned: energy registers of quarter-hours alone",
)
_FLAGS = {Flag.TIME_FROM_DEVICE: "time from device", Flag.TIME_CORRECTED: "time corrected"}
_NOT_READ = (NoteKind.SILENT, NoteKind.NOT_RUNNING, NoteKind.OVERRUN)
_BATCHES = (
    "SELECT s.name, b.seq, b.lane, b.cut_us, b.readings, b.first_us, b.last_us, b.sha256, b.receipt_us, b.receipt, "
    "b.confirmed_us FROM batch AS b JOIN stream AS s ON s.id = b.stream "
)
_CONFIRMED = "b.readings > 0 AND b.confirmed_us IS NOT NULL"


class _Hit(msgspec.Struct):
    """A reading in a segment. `shift_us` is what its batch adds to its time, or will."""

    apart_us: int
    reading: Reading
    shift_us: int
    segment: int
    level: int
    readings: int
    boot: int
    offset_us: int


class Search:
    """Of the reading nearest to `question` within `slack_us`."""

    def __init__(self, db: sqlite3.Connection, *, config: Config, question: Question, slack_us: int) -> None:
        self._db, self._config, self._question, self._slack_us = db, config, question, slack_us

    def answer(self) -> Answer:
        """Everything that is known; who asks puts it in words."""
        question, hit = self._question, self._nearest()
        answer = Answer(question.device, utc(question.time_us))
        stamped_us = question.time_us if hit is None else hit.reading.time_us
        answer.frame = self._frame(stamped_us, hit)
        answer.refused = list(self._refused())
        if hit is not None:
            answer.reading, answer.segment = self._reading(hit), _segment(hit)
            answer.batches = list(
                self._batches("b.confirmed_us IS NULL AND b.first_id <= ?1 AND b.last_id >= ?1", hit.segment)
            )
        else:
            answer.batches = list(self._confirmed())
            answer.not_read = list(self._notes())
            if all(note.kind == NoteKind.OVERRUN for note in answer.not_read):
                answer.not_read.extend(self._silence())
        if hit is None or hit.level:
            answer.given_up = list(self._losses())
        silent = any(note.kind != NoteKind.OVERRUN for note in answer.not_read)
        if hit is None and not (answer.batches or answer.refused or answer.given_up or silent):
            answer.batches = list(self._nearest_confirmed())
        return answer

    def _confirmed(self) -> Iterator[FoundBatch]:
        """Of the batches that are deleted here, those whose span holds the time."""
        where = f"{_CONFIRMED} AND b.first_us <= ?1 AND b.last_us >= ?1"
        return self._batches(where, self._question.time_us)

    def _nearest_confirmed(self) -> Iterator[FoundBatch]:
        """The one that ends or begins nearest to the time, within the slack."""
        apart = "max(b.first_us - ?1, ?1 - b.last_us)"
        near = (
            f"SELECT b.id FROM batch AS b WHERE {_CONFIRMED} AND {apart} <= {self._slack_us} ORDER BY {apart} LIMIT 1"
        )
        return self._batches(f"b.id IN ({near})", self._question.time_us)

    def time_known(self, boot_id: str | None) -> bool:
        """Whether anybody has vouched for the time of that boot."""
        row = self._db.execute("SELECT offset_us FROM boot WHERE boot_id = ?", (boot_id,)).fetchone()
        return row is None or row[0] is not None

    def _nearest(self) -> _Hit | None:
        hits = [hit for hit in self._hits() if hit.apart_us <= max(self._slack_us, hit.reading.interval_ms * 500)]
        return min(hits, key=lambda hit: hit.apart_us, default=None)

    def _hits(self) -> Iterator[_Hit]:
        """The device's readings in segments whose times, as stamped or as corrected, are near."""
        device, time_us = self._question
        # A segment without a boot that is known keeps the times that it has.
        shift = f"CASE WHEN abs(boot.offset_us - s.offset_us) > {STEP_US} THEN boot.offset_us - s.offset_us ELSE 0 END"
        rows = self._db.execute(
            f"SELECT s.id, s.level, s.readings, s.boot, s.offset_us, boot.offset_us, s.body FROM segment AS s "
            "LEFT JOIN boot ON boot.id = s.boot "
            f"WHERE s.first_us + min(0, {shift}) <= ?1 + ?2 AND s.last_us + max(0, {shift}) >= ?1 - ?2",
            (time_us, self._slack_us),
        )
        for row_id, level, readings, boot, offset_us, boot_us, body in rows:
            shift_us = correction_us(offset_us, self._true_us(row_id, boot_us))
            try:
                found = unpack(body)
            except DamagedSegment:
                continue
            for reading in found:
                if reading.device == device:
                    own_us = 0 if reading.flags & Flag.TIME_FROM_DEVICE else shift_us
                    # Somebody may ask by the time in the cloud, or by that in a log of the gateway.
                    apart_us = min(abs(reading.time_us + own_us - time_us), abs(reading.time_us - time_us))
                    yield _Hit(apart_us, reading, own_us, row_id, level, readings, boot, offset_us)

    def _true_us(self, segment: int, boot_us: int | None) -> int | None:
        """What its batch corrects its times by; `boot_us`, what one will, where it is in none."""
        sql = "SELECT true_us FROM batch AS b WHERE b.confirmed_us IS NULL AND ? BETWEEN b.first_id AND b.last_id"
        row = self._db.execute(sql, (segment,)).fetchone()
        return boot_us if row is None else row[0]

    def _reading(self, hit: _Hit) -> FoundReading:
        reading = hit.reading
        row = self._db.execute("SELECT boot_id FROM boot WHERE id = ?", (hit.boot,)).fetchone()
        from_device = bool(reading.flags & Flag.TIME_FROM_DEVICE)
        flags = reading.flags | (Flag.TIME_CORRECTED if hit.shift_us else 0)
        return FoundReading(
            device=reading.device,
            time=utc(reading.time_us + hit.shift_us),
            apart_s=hit.apart_us / 1e6,
            values=reading.values,
            flags=[word for flag, word in _FLAGS.items() if flags & flag],
            interval_ms=reading.interval_ms,
            boot=machine_boot(row[0]) if row else None,
            # A meter's own clock says nothing of when it was read.
            monotonic_s=None if from_device or not row else (reading.time_us - hit.offset_us) / 1e6,
            stamped=utc(reading.time_us) if hit.shift_us else None,
            corrected_by_s=hit.shift_us / 1e6,
        )

    def _batches(self, where: str, value: int) -> Iterator[FoundBatch]:
        rows = self._db.execute(f"{_BATCHES} WHERE {where} ORDER BY b.id", (value,))
        for stream, seq, lane, cut_us, readings, first_us, last_us, sha256, receipt_us, receipt, confirmed_us in rows:
            yield FoundBatch(
                stream=stream,
                seq=seq,
                lane=Lane(lane).name.lower(),
                cut=utc(cut_us),
                readings=readings,
                first=utc(first_us),
                last=utc(last_us),
                sha256=sha256.hex(),
                receipt=None if receipt_us is None else self._receipt(receipt_us, receipt, readings),
                confirmed=None if confirmed_us is None else utc(confirmed_us),
            )

    def _receipt(self, receipt_us: int, text: str | None, readings: int) -> FoundReceipt:
        if text is None:  # It says that all of it is stored.
            return FoundReceipt(utc(receipt_us), readings, readings, 0, [])
        try:
            receipt = _RECEIPT.decode(text)
        except msgspec.DecodeError as error:
            raise ToolFault(
                f"the receipt of {utc(receipt_us)} cannot be read any more: {error}; "
                "the receiver's quarantine says what it did not store"
            ) from error
        quarantined = [
            {"reason": entry.reason, "readings": entry.readings}
            for entry in receipt.quarantined
            if entry.device == self._question.device
        ]
        return FoundReceipt(utc(receipt_us), receipt.readings, receipt.stored, receipt.duplicates, quarantined)

    def _refused(self) -> Iterator[FoundRefused]:
        rows = self._db.execute(
            "SELECT time_us, status, reason, refused_us FROM refused WHERE device = ? AND abs(time_us - ?) <= ? "
            "ORDER BY abs(time_us - ?) LIMIT 1",
            (*self._question, self._slack_us, self._question.time_us),
        )
        for time_us, status, reason, refused_us in rows:
            yield FoundRefused(utc(time_us), status, reason, utc(refused_us))

    def _losses(self) -> Iterator[FoundNote]:
        sql = "SELECT kind, first_us, last_us, readings, reason FROM loss WHERE first_us <= ?1 AND last_us >= ?1"
        for kind, first_us, last_us, readings, reason in self._db.execute(sql, (self._question.time_us,)):
            yield FoundNote(kind, utc(first_us), utc(last_us), readings, None, reason)

    def _notes(self) -> Iterator[FoundNote]:
        """Silences of the device, and of the gateway, and polls that were left out."""
        device, time_us = self._question
        for (body,) in self._db.execute("SELECT body FROM note ORDER BY id"):
            note = decoded_note(body)
            if note is None or note.kind not in _NOT_READ:
                continue
            if note.device in (None, device) and note.first_us <= time_us <= note.last_us:
                span = utc(note.first_us), utc(note.last_us)
                yield FoundNote(note.kind, *span, note.readings, note.device, note.detail)

    def _silence(self) -> Iterator[FoundNote]:
        """One that lasts, as the daemon last knew it: a note tells of it at its end, or a quarter of an hour later."""
        device, time_us = self._question
        running = running_in(self._config.data_dir)
        if running is None:
            return
        for state in running.devices:
            since_us = max(running.started_us, state.last_reading_us or 0)
            lasts = running.written_us - since_us > GAP_INTERVALS * state.interval_ms * 1000
            if state.device == device and lasts and since_us + self._slack_us < time_us <= running.written_us:
                why = state.last_error if in_trouble(state) else None
                yield FoundNote(NoteKind.SILENT, utc(since_us), utc(running.written_us), 0, device, why or "no reading")

    def _frame(self, stamped_us: int, hit: _Hit | None) -> FoundFrame | None:
        device = self._question.device
        row = self._db.execute(
            "SELECT time_us, body FROM frame WHERE device IN (?1, ?2) AND abs(time_us - ?3) <= ?4 "
            "ORDER BY abs(time_us - ?3) LIMIT 1",
            (device, device.partition("/")[0], stamped_us, 0 if hit else self._slack_us),
        ).fetchone()
        if row is None:
            return None
        return frames.decoded(self._config, device, row[0], row[1], hit.reading.values if hit else {})


def _segment(hit: _Hit) -> FoundSegment:
    return FoundSegment(hit.segment, hit.readings - 1, _LEVELS[hit.level])
