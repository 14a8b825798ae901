"""What a data folder keeps of its seeding: the key of the history's gateway, and people's passwords."""

import csv
import os
import secrets
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from io import StringIO
from pathlib import Path

import msgspec

from local.seeding.plan import METERS_OF_REGION, PEOPLE

GATEWAY = "history"
LONGEST_DAYS = 70
_BILLED_AFTER = timedelta(days=3)
"""By then a month is over everywhere, and what came late has had its day."""


def days_with_a_month(now: datetime) -> int:
    """How many days of history have the last whole month in them that can be billed, in whatever zone."""
    return (now.date() - month_with_bills(now)).days + 1


def month_with_bills(now: datetime) -> date:
    """The first day of that month."""
    return ((now - _BILLED_AFTER).date().replace(day=1) - timedelta(days=1)).replace(day=1)


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """Which history it is: it is made of these alone, so that one that was interrupted goes on where it was.

    `key` is the gateway's. `of_region` is how many meters each region has. `proven` once the books were right.
    """

    key: str
    stream: str
    begin: datetime
    quarters: int
    seed: int
    of_region: int = METERS_OF_REGION
    proven: bool = False


class SeedFolder:
    """`home/seed`, which nobody but its owner reads."""

    def __init__(self, home: Path) -> None:
        self._note = home / "seed" / "history.json"
        self.people = home / "seed" / "people.csv"

    @property
    def note(self) -> Note | None:
        try:
            return msgspec.json.decode(self._note.read_bytes(), type=Note)
        except FileNotFoundError:
            return None

    def keep(self, note: Note) -> None:
        _write(self._note, msgspec.json.encode(note))

    def keep_people(self, passwords: Mapping[str, str]) -> None:
        """`passwords` by address."""
        text = StringIO(newline="")
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(["email", "name", "role", "region", "password"])
        for one in PEOPLE:
            rows.writerow([one.email, one.name, one.role, one.region or "", passwords[one.email]])
        _write(self.people, text.getvalue().encode())


def new_passwords() -> dict[str, str]:
    """One for each of PEOPLE, by address."""
    return {one.email: secrets.token_urlsafe(12) for one in PEOPLE}


def _write(file: Path, content: bytes) -> None:
    """All of it or nothing, for its owner alone."""
    file.parent.mkdir(mode=0o700, exist_ok=True)
    fresh = file.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
        opened.write(content)
    fresh.replace(file)
