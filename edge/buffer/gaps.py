"""Segments that are in no batch: where they can be, and which times they cover. Ids ascend with time."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence

LAST_ID = 2**63 - 1
MOST_SPANS = 32
"""As many as are told to who asks for the times of the backlog."""
# Spans that are nearer than this are one to them.
_SAME_SPAN_US = 1_000_000


def gaps(taken: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """First and last possible id of segments that are in none of the inclusive, ascending ranges `taken`.

    The last gap is open: it ends with `LAST_ID`.
    """
    first = 0
    for begin, end in taken:
        if begin > first:
            yield first, begin - 1
        first = max(first, end + 1)
    yield first, LAST_ID


def times(db: sqlite3.Connection, ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """First and last time of the segments in each of the `ranges` of ids that has any, in microseconds."""
    found = []
    for ids in ranges:
        sql = "SELECT {} FROM segment WHERE id BETWEEN ? AND ? ORDER BY id {} LIMIT 1"
        oldest = db.execute(sql.format("first_us", ""), ids).fetchone()
        newest = db.execute(sql.format("last_us", "DESC"), ids).fetchone()
        if oldest and newest:
            found.append((min(oldest[0], newest[0]), max(oldest[0], newest[0])))
    return found


def merged(spans: Sequence[tuple[int, int]], limit: int = MOST_SPANS) -> list[tuple[int, int]]:
    """`spans` of time, ascending and disjoint; where they are more than `limit`, the nearest are told as one."""
    found: list[tuple[int, int]] = []
    for first_us, last_us in sorted(spans):
        if found and first_us <= found[-1][1] + _SAME_SPAN_US:
            found[-1] = (found[-1][0], max(found[-1][1], last_us))
        else:
            found.append((first_us, last_us))
    while len(found) > limit:
        nearest = min(range(1, len(found)), key=lambda place: found[place][0] - found[place - 1][1])
        found[nearest - 1 : nearest + 1] = [(found[nearest - 1][0], found[nearest][1])]
    return found
