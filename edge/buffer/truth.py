"""The truth that a batch was made with: it stays that of its readings, for they may have arrived with these times."""

import sqlite3

from edge.buffer.batches import Cut

# Between the name of a boot and the truth that is held; the kernel's names have none.
_HELD = "@"


def hold(db: sqlite3.Connection, cut: Cut) -> None:
    """Before `cut` is given up: its segments keep its truth, by a boot of their own, whatever theirs is known to be.

    A reading that came back with another time would be another one to the receiver.
    """
    if cut.segments is None:
        return
    sql = (
        "SELECT DISTINCT s.boot, b.boot_id, b.offset_us, coalesce(b.seen_us, 0) FROM segment AS s "
        "LEFT JOIN boot AS b ON b.id = s.boot WHERE s.id BETWEEN ? AND ?"
    )
    for boot, name, offset_us, seen_us in db.execute(sql, cut.segments).fetchall():
        if cut.true_us is None and offset_us is None:
            continue  # Nobody will vouch for it any more.
        held = held_boot(db, name or str(boot), cut.true_us, seen_us)
        db.execute("UPDATE segment SET boot = ? WHERE id BETWEEN ? AND ? AND boot = ?", (held, *cut.segments, boot))


def held_boot(db: sqlite3.Connection, name: str, true_us: int | None, seen_us: int) -> int:
    """The id of the boot that is as `name`, with `true_us` for good."""
    row = (f"{name.partition(_HELD)[0]}{_HELD}{true_us}", true_us, seen_us)
    db.execute("INSERT INTO boot (boot_id, offset_us, seen_us) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", row)
    [[row_id]] = db.execute("SELECT id FROM boot WHERE boot_id = ?", row[:1])
    return int(row_id)


def is_held(name: str) -> bool:
    """Whether the boot of this name is one that `held_boot` made."""
    return _HELD in name
