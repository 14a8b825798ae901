"""What a fault destroyed of a buffer: readings whose own bytes it overwrote, which nobody can bring back.

Told from the bytes before and after, and from what SQLite says of the file before; not from what the gateway makes of
it.
"""

import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

_WINDOW, _STEP = 24, 8
"""Bytes of a body that are looked for in a page: every page that has 32 of them has such a window whole."""


class Buffer:
    """The buffer in the folder `data` as it is now, the gateway being down."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._pages = _pages(data)
        self._segments: list[tuple[int, bytes]] = []
        with tempfile.TemporaryDirectory() as folder:
            for part in data.glob("*.sqlite*"):
                if part.suffix in (".sqlite", ".sqlite-wal"):
                    shutil.copy(part, folder)
            for copy in Path(folder).glob("*.sqlite"):
                with closing(sqlite3.connect(copy)) as db:
                    self._segments += db.execute("SELECT readings, body FROM segment")

    def destroyed(self) -> int:
        """Readings whose row lay in a page that is another one by now."""
        after = set(_pages(self._data))
        touched = [page for page in self._pages if page not in after]
        return sum(readings for readings, body in self._segments if any(_in(body, page) for page in touched))


def _pages(data: Path) -> list[bytes]:
    found = []
    for path in data.glob("*.sqlite"):
        whole = path.read_bytes()
        size = int.from_bytes(whole[16:18], "big") or 512
        found += [whole[start : start + size] for start in range(0, len(whole), size)]
    return found


def _in(body: bytes, page: bytes) -> bool:
    return any(body[at : at + _WINDOW] in page for at in range(0, max(1, len(body) - _WINDOW), _STEP))
