"""The truth of readings that may have arrived: whatever becomes known later, it stays that of their times.

A reading that came back with another time would be another one to the receiver. So the rows of readings tell their
truth by themselves: the id of their boot is made of it. It is there for as long as they are, whatever else of a file is
damaged or forgotten.
"""

import sqlite3

from edge.buffer.batches import Cut
from edge.buffer.seal import boot_seal
from edge.buffer.tables import move_segments

# Between the name of a boot and the truth that is held, or settled; the kernel's names have neither.
_HELD, _SETTLED = "@", "="


def settled_boot(db: sqlite3.Connection, name: str, true_us: int, seen_us: int) -> int:
    """The id of the boot that is as `name`, for readings that have the truth `true_us` for good.

    A negative one, of a clock before 1970, is held: ids tell none.
    """
    if true_us < 0:
        return held_boot(db, name, true_us, seen_us)
    row_id = settled_id(true_us)
    _insert(db, row_id, f"{machine_boot(name)}{_SETTLED}{true_us}", true_us, seen_us)
    return row_id


def held_boot(db: sqlite3.Connection, name: str, true_us: int | None, seen_us: int) -> int:
    """The same for readings that were in a batch with it; without a truth their times stay as they are."""
    if true_us is not None and true_us >= 0:
        row_id = settled_id(true_us) - 1
        # Not the name that an older release gives: that has another id.
        _insert(db, row_id, f"{machine_boot(name)}{_HELD}{_SETTLED}{true_us}", true_us, seen_us)
        return row_id
    return insert_boot(db, f"{machine_boot(name)}{_HELD}{true_us}", true_us, seen_us)


def _insert(db: sqlite3.Connection, row_id: int, name: str, true_us: int | None, seen_us: int) -> None:
    row = (row_id, name, true_us, seen_us, boot_seal(row_id, name, true_us))
    sql = "INSERT INTO boot (id, boot_id, offset_us, seen_us, seal) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
    db.execute(sql, row)


def insert_boot(db: sqlite3.Connection, name: str, true_us: int | None, seen_us: int) -> int:
    """The id of the boot `name`, which is made where there is none. One that is there stays as it is."""
    sql = "INSERT INTO boot (boot_id, offset_us, seen_us, seal) VALUES (?, ?, ?, 0) ON CONFLICT DO NOTHING"
    made = db.execute(sql, (name, true_us, seen_us)).rowcount
    [[row_id]] = db.execute("SELECT id FROM boot WHERE boot_id = ?", (name,))
    if made:
        vouch(db, int(row_id), name, true_us)
    return int(row_id)


def vouch(db: sqlite3.Connection, row_id: int, name: str, true_us: int | None) -> None:
    """The truth of a boot of the machine becomes `true_us`."""
    sql = "UPDATE boot SET offset_us = ?, seal = ? WHERE id = ?"
    db.execute(sql, (true_us, boot_seal(row_id, name, true_us), row_id))


def settled_id(true_us: int) -> int:
    """Negative and odd; that of what was in a batch is the even one below. Boots of the machine count from 1."""
    return -2 * true_us - 1


def truth_of(boot: int) -> int | None:
    """The truth that the id of a boot tells; None for that of a boot of the machine."""
    return (-1 - boot) // 2 if boot < 0 else None


def is_held(boot: int, name: str = "") -> bool:
    """Whether what is of the boot was in a batch. An older release gave it a name for that alone."""
    return boot % 2 == 0 if boot < 0 else _HELD in name


def machine_boot(name: str) -> str:
    """The kernel's name of the boot that `name` is as."""
    return name.partition(_HELD)[0].partition(_SETTLED)[0]


def hold(db: sqlite3.Connection, cut: Cut) -> None:
    """Before `cut` is given up: its segments keep its truth, by a boot of their own, whatever theirs is known to be.

    What the rows of its readings tell by themselves is the same, and is believed first: its own row may be damaged.
    """
    if cut.segments is None:
        return
    sql = (
        "SELECT DISTINCT s.boot, b.boot_id, b.offset_us, coalesce(b.seen_us, 0) FROM segment AS s "
        "LEFT JOIN boot AS b ON b.id = s.boot WHERE s.id BETWEEN ? AND ?"
    )
    for boot, name, offset_us, seen_us in db.execute(sql, cut.segments).fetchall():
        true_us = truth_of(boot)
        if true_us is None:
            true_us = cut.true_us if cut.sound else offset_us
        if true_us is None and offset_us is None:
            continue  # Nobody will vouch for it any more.
        held = held_boot(db, name or str(boot), true_us, seen_us)
        if held != boot:
            move_segments(db, cut.segments, from_boot=boot, to_boot=held)
