"""Starts of the machine, and the true time of each: whose readings may be cut, and by what they are set right."""

import sqlite3

from edge.buffer.truth import insert_boot, is_held, settled_boot, settled_id, truth_of, vouch

# A clock's slow change is not worth a write.
_SLOW_US = 100_000


class Boots:
    """The table `boot` in memory. What has the database as a parameter runs inside its caller's transaction."""

    def __init__(self) -> None:
        self.running = 0
        """The row of the boot that runs."""
        self._name, self._began_us = "", 0
        self._true_us: dict[int, int | None] = {}
        self._held: set[int] = set()

    def begin(self, db: sqlite3.Connection, boot_id: str, now_us: int) -> None:
        """`boot_id` is running, since `now_us` at the latest. Boots of which nothing is left are forgotten."""
        self.running = insert_boot(db, boot_id, None, now_us)
        self._name, self._began_us = boot_id, now_us
        db.execute("DELETE FROM boot WHERE id <> ? AND id NOT IN (SELECT DISTINCT boot FROM segment)", (self.running,))

    def load(self, db: sqlite3.Connection) -> None:
        rows = db.execute("SELECT id, boot_id, offset_us FROM boot").fetchall()
        self._true_us = {row_id: true_us if isinstance(true_us, int) else None for row_id, _, true_us in rows}
        self._held = {row_id for row_id, name, _ in rows if is_held(row_id, str(name))}

    def vouch(self, db: sqlite3.Connection, true_us: int | None) -> None:
        """Somebody knows the wall time less the monotonic one of the running boot; None where nobody does yet."""
        before = self._true_us.get(self.running)
        if true_us is None or (before is not None and abs(before - true_us) < _SLOW_US):
            return
        vouch(db, self.running, self._name, true_us)
        self._true_us[self.running] = true_us

    def of_commit(self, db: sqlite3.Connection) -> int:
        """The boot of what is committed now: the running one with the truth of now for good, or as it is without any.

        A truth of before 1970 is none that an id tells.
        """
        true_us = self._true_us.get(self.running)
        if true_us is None or true_us < 0:
            return self.running
        settled = settled_id(true_us)
        if settled not in self._true_us:
            settled_boot(db, self._name, true_us, self._began_us)
            self._true_us[settled] = true_us
        return settled

    def true_us(self, boot: int) -> int | None:
        """The wall time less the monotonic one of `boot`, None where it is not known."""
        told_us = truth_of(boot)
        return self._true_us.get(boot) if told_us is None else told_us

    def held(self, boot: int) -> bool:
        """Whether what is of `boot` was in a batch before, with this truth."""
        return boot in self._held or is_held(boot)

    def waits(self, boot: int) -> bool:
        """Whether nothing of `boot` is to be cut yet: it runs, and somebody may still come to know its time."""
        return boot == self.running and self.true_us(boot) is None
