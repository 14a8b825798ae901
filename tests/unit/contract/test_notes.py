"""Notes on the wire: a kind that a receiver does not know is told in terms that it does."""

from pathlib import Path

import pytest

from contract.batch import Batch
from contract.codec import JSON, PACKED, decode, encode
from contract.notes import FIRST_KINDS, Note, NoteKind, told

GOLDEN = Path(__file__).parents[2] / "cases" / "contract-v2"
OVERRUN = Note(
    NoteKind.OVERRUN,
    1767225500000000,
    1767225599000000,
    readings=43,
    device="main",
    detail="polls left out: the line was busy",
)
BATCH = Batch(version=2, stream="0b9d3f0e-6a52-4e0c-9c39-3f1f7f6f2a11", seq=43, devices=[], notes=[OVERRUN])


@pytest.mark.parametrize(("media_type", "name"), [(JSON, "overrun.json"), (PACKED, "overrun.packed")])
def test_polls_left_out_are_what_the_golden_files_say(media_type: str, name: str) -> None:
    golden = (GOLDEN / name).read_bytes()

    assert decode(golden, media_type) == BATCH
    assert encode(BATCH, media_type) == golden


def test_to_a_receiver_that_does_not_know_them_polls_left_out_are_a_silence() -> None:
    silence = told(OVERRUN, FIRST_KINDS)

    assert silence == Note(
        NoteKind.SILENT, OVERRUN.first_us, OVERRUN.last_us, device="main", detail="polls left out: the line was busy"
    )
    assert told(OVERRUN, frozenset(NoteKind)) is OVERRUN


@pytest.mark.parametrize("kind", NoteKind)
def test_every_note_can_be_told_to_every_receiver_of_notes(kind: NoteKind) -> None:
    """E26: a kind that a receiver does not know is malformed to it, and its batch is refused."""
    note = Note(kind, 1, 2, detail="why")

    assert told(note, FIRST_KINDS).kind in FIRST_KINDS
    assert (told(note, FIRST_KINDS) is note) == (kind in FIRST_KINDS)


def test_the_kinds_that_every_receiver_of_notes_takes_do_not_change() -> None:
    assert sorted(FIRST_KINDS) == [
        "corrected",
        "damaged",
        "not_running",
        "overflowed",
        "reduced",
        "refused",
        "silent",
        "thinned",
    ]
