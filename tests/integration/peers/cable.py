"""A serial line without hardware: two ptys, and a thread that carries what is written to one over to the other."""

import os
import select
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def cable() -> Iterator[tuple[Path, Path]]:
    """The device files of both ends."""
    ends = [os.openpty(), os.openpty()]
    for _master, slave in ends:
        tty.setraw(slave)
    wake, waker = os.pipe()
    masters = [master for master, _slave in ends]
    thread = threading.Thread(target=_carry, args=[masters, wake], daemon=True)
    thread.start()
    try:
        yield Path(os.ttyname(ends[0][1])), Path(os.ttyname(ends[1][1]))
    finally:
        os.write(waker, b"x")
        thread.join(5)
        for descriptor in (*masters, *(slave for _master, slave in ends), wake, waker):
            os.close(descriptor)


def _carry(masters: list[int], wake: int) -> None:
    while True:
        readable, _, _ = select.select([*masters, wake], [], [])
        if wake in readable:
            return
        for source in readable:
            os.write(masters[1 - masters.index(source)], os.read(source, 4096))
