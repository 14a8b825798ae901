"""Which devices the buffer has anything of, whatever the configuration says by now."""

import sqlite3
from collections.abc import Iterator

from edge.buffer.segments import DamagedSegment, devices
from edge.buffer.tables import decoded_note


def named(db: sqlite3.Connection) -> Iterator[str]:
    """Their names, some more than once: of notes, frames, refused readings, and at last of all segments."""
    for (body,) in db.execute("SELECT body FROM note"):
        note = decoded_note(body)
        if note is not None and note.device is not None:
            yield note.device
    for (device,) in db.execute("SELECT DISTINCT device FROM frame UNION SELECT device FROM refused"):
        yield device
    # Every body is opened for it: of a large backlog that takes a while, so whoever has found his device goes.
    for (body,) in db.execute("SELECT body FROM segment ORDER BY id DESC"):
        try:
            yield from devices(body)
        except DamagedSegment:
            continue
