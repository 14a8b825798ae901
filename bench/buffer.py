"""The buffer: how fast it takes readings against bare SQLite, and how much it writes to the card for one."""

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import uvloop

from bench.daemon import Usage
from bench.household import START_US, Households
from bench.result import Result
from contract.receipt import Receipt
from edge.buffer.batches import Lane
from edge.buffer.limits import Limits
from edge.buffer.store import Store
from edge.clock import Clock
from edge.reading import Reading

_METERS = 50
_BLOCK_BYTES = 4096
_KEPT_S = 60


def append(*, commits: int, rounds: int, home: Path) -> Result:
    """Commits of 50 readings of 8 quantities, in turns with a plain table of a row per reading, both WAL and FULL."""
    groups = _groups(commits, window_s=1)
    ours, peers = [], []
    with TemporaryDirectory(dir=home, prefix="bench-") as folder:
        for number in range(rounds):
            ours.append(_METERS * commits / uvloop.run(_append(Path(folder) / f"ours-{number}", groups)))
            peers.append(_METERS * commits / _bare(Path(folder) / f"bare-{number}", groups))
    return Result(
        name="buffer: append",
        unit="readings/s",
        figures=ours,
        peer="bare sqlite3, a row per reading, same durability and group",
        peer_figures=peers,
        at_least=0.5,
    )


async def _append(path: Path, groups: Sequence[Sequence[Reading]]) -> float:
    store = Store(path=path, clock=Clock(), limits=Limits(max_bytes=2**30))
    await store.open()
    began_s = time.perf_counter()
    for group in groups:
        await store.commit(group)
    took_s = time.perf_counter() - began_s
    await store.close()
    return took_s


def _bare(path: Path, groups: Sequence[Sequence[Reading]]) -> float:
    names = list(groups[0][0].values)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"CREATE TABLE reading (device TEXT, time_us INTEGER, {', '.join(f'{n} REAL' for n in names)})")
        sql = f"INSERT INTO reading VALUES (?, ?{', ?' * len(names)})"
        began_s = time.perf_counter()
        for group in groups:
            db.execute("BEGIN")
            db.executemany(sql, [(one.device, one.time_us, *one.values.values()) for one in group])
            db.execute("COMMIT")
        return time.perf_counter() - began_s


def flash(*, seconds: int, home: Path) -> list[Result]:
    """What a process writes to disk for a reading that is appended, sent and deleted, at windows of 1 s and 10 s.

    Time is made to pass quickly; commits, cuts, receipts and deletions are as many as in `seconds` seconds.
    """
    results = []
    for window_s in (1, 10):
        with TemporaryDirectory(dir=home, prefix="bench-") as folder:
            command = [sys.executable, "-m", "bench.buffer", folder, str(seconds), str(window_s)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        floor = _BLOCK_BYTES / (_METERS * window_s)
        results.append(
            Result(
                name=f"flash: a window of {window_s} s",
                unit="bytes written/reading",
                figures=[json.loads(done.stdout)],
                peer="one block of 4 KiB a commit",
                peer_figures=[floor],
                at_most=3.0,
            )
        )
    return results


async def _life(folder: Path, seconds: int, window_s: int) -> float:
    """Bytes written for each reading."""
    groups = _groups(seconds // window_s, window_s=window_s)
    now_us = [START_US]
    clock = Clock(now_us=lambda: now_us[0])
    store = Store(path=folder / "buffer.sqlite", clock=clock, limits=Limits(max_bytes=2**30))
    await store.open()
    before = Usage.of_this().written_bytes
    for number, group in enumerate(groups):
        now_us[0] += window_s * 1_000_000
        # Live batches go each two seconds, or with each commit where these are rarer.
        store.want_live = store.want_live or number * window_s % 2 == 0
        await store.commit(group)
        for batch in await store.outstanding(Lane.LIVE):
            receipt = Receipt(2, batch.stream, batch.seq, batch.sha256, batch.readings, batch.readings, 0, [])
            if not await store.settle(receipt):
                raise RuntimeError("a receipt was not taken")
        if number * window_s % _KEPT_S == 0:
            await store.confirm([(1, store.next_seq)], keep_s=_KEPT_S, asked_us=now_us[0])
    left = (await store.backlog()).readings
    await store.close()
    written = Usage.of_this().written_bytes - before
    if left > 2 * _METERS * max(2, window_s):
        raise RuntimeError(f"{left} readings were not sent")
    return written / (_METERS * seconds)


def _groups(count: int, *, window_s: int) -> list[list[Reading]]:
    """`count` groups of what 50 meters say in `window_s` seconds."""
    blocks = list(Households(meters=_METERS, cadence_s=1).blocks(count * window_s))
    groups = []
    for start in range(0, count * window_s, window_s):
        group = []
        for row in range(start, start + window_s):
            for block in blocks:
                values = {name: value for name, column in block.values.items() if (value := column[row]) is not None}
                group.append(Reading(block.device, block.time_us[row], values, 0, block.interval_ms))
        groups.append(group)
    return groups


if __name__ == "__main__":
    print(json.dumps(uvloop.run(_life(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))))
