"""Whether the audit log is what was written: every row, every transaction, the ends."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import psycopg
from psycopg.rows import args_row, kwargs_row

from cloud.audit.chain import (
    AUDIT_ID,
    BLOCK,
    POSITION,
    START,
    TRANSACTION_ID,
    Head,
    Link,
    Personal,
    Row,
    link_hash,
    packed_hash,
    personal_digest,
)
from cloud.db.queries import Queries

_QUERIES = Queries("audit")
_AT_ONCE = 2000
Kind = Literal["altered", "deleted", "inserted", "reordered"]


@dataclass(frozen=True, slots=True)
class Fault:
    """What was done to the log. `audit_id` is the row, the nearest to it, or the first of the transaction it was in."""

    kind: Kind
    audit_id: int | None
    message: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """How much was looked at, and the first fault: by rows, then by links, then at the ends,
    then by what is kept apart."""

    rows: int
    links: int
    heads: tuple[Head, ...]
    fault: Fault | None


def verify(connection: psycopg.Connection, *, known: Sequence[Head] = ()) -> Verdict:
    """Looks at all of the log as it is at one instant, and for the links that `known` names.

    `connection` is in no transaction yet.
    """
    with connection.transaction():
        connection.execute(_QUERIES["snapshot"])
        rows = _Rows(connection)
        fault = rows.fault()
        chain = _Chain(known)
        later = chain.fault(_stream(connection, "chain", Link))
        heads = read_heads(connection)
        fault = fault or later or chain.end(heads) or _personal(connection)
    return Verdict(rows=rows.count, links=chain.count, heads=heads, fault=fault)


def read_heads(connection: psycopg.Connection) -> tuple[Head, ...]:
    """Ends of the lanes, in the order of their numbers."""
    with connection.cursor(row_factory=kwargs_row(Head)) as cursor:
        return tuple(cursor.execute(_QUERIES["heads"]))


def _stream(connection: psycopg.Connection, query: str, kind: type[Any]) -> Iterator[Any]:
    with connection.cursor(f"audit_{query}", row_factory=args_row(kind)) as cursor:
        cursor.itersize = _AT_ONCE
        yield from cursor.execute(_QUERIES[query])


def _personal(connection: psycopg.Connection) -> Fault | None:
    """What was done to the values of which rows have digests."""
    for kept in _stream(connection, "personal", Personal):
        if personal_digest(kept) != kept.digest:
            return Fault("altered", None, f"a personal value of user {kept.user_id} is not what was written: altered")
    with connection.cursor() as cursor:
        gone = cursor.execute(_QUERIES["personal_gone"]).fetchone()
    if gone is None:
        return None
    message = f"of row {gone[0]} a personal value was deleted or altered, though user {gone[1]} has not left"
    return Fault("deleted", gone[0], message)


class _Rows:
    """Rows in the order of their ids, beside the links in the order of their first rows: one pass over both."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        self._links: Iterator[Link] = _stream(connection, "links", Link)
        self._next: Link | None = next(self._links, None)
        self._open: dict[int, tuple[Link, int, bytes, int]] = {}
        self.count = 0

    def fault(self) -> Fault | None:
        found = None
        for row in _stream(self._connection, "rows", Row):
            self.count += 1
            # What comes later is counted, but no longer judged.
            found = found or self._look_at(row)
        return found or self._left()

    def _look_at(self, row: Row) -> Fault | None:
        while self._next is not None and self._next.block <= row.audit_id:
            link, self._next = self._next, next(self._links, None)
            if link.block < row.audit_id:
                return self._first_is_gone(link)
            self._open[link.block] = (link, 0, START, 0)
        if row.audit_id in self._open and row.block != row.audit_id:
            return Fault("altered", row.audit_id, f"row {row.audit_id} says that it is of another transaction: altered")
        if row.block not in self._open:
            message = f"row {row.audit_id} is in no transaction that was ever linked: it was inserted past the trigger"
            return Fault("inserted", row.audit_id, f"{message}, or its link was deleted")
        link, position, previous, _ = self._open[row.block]
        if row.position != position + 1 or packed_hash(previous, row.fields) != row.hash:
            return self._diagnosed(link, row)
        if row.position < link.rows:
            self._open[row.block] = (link, row.position, row.hash, row.audit_id)
            return None
        del self._open[row.block]
        return None if row.hash == link.rows_digest else self._diagnosed(link, row)

    def _left(self) -> Fault | None:
        if self._open:
            link, position, _, last = min(self._open.values(), key=lambda left: left[3] or left[0].block)
            if not last:
                return self._first_is_gone(link)
            missing = f"{link.rows - position} of the {link.rows} rows of its transaction"
            return Fault("deleted", last, f"{missing} after row {last} were deleted")
        return None if self._next is None else self._first_is_gone(self._next)

    def _first_is_gone(self, link: Link) -> Fault:
        rows = "it" if link.rows == 1 else f"it, the first of the {link.rows} of its transaction,"
        return Fault("deleted", link.block, f"row {link.block} was deleted: {rows} is gone")

    def _diagnosed(self, link: Link, row: Row) -> Fault:
        with self._connection.cursor(row_factory=args_row(Row)) as cursor:
            near = cursor.execute(_QUERIES["rows_near"], {"block": link.block, "audit_id": row.audit_id}).fetchall()
        return diagnose(link, [one for one in near if one.block == link.block], near)


def diagnose(link: Link, rows: Sequence[Row], near: Sequence[Row]) -> Fault:
    """The first fault among `rows`, all that say they are of the block, of which one at least does not fit."""
    if len(rows) > link.rows:
        true = _path(link, rows)
        strange = next((row for row in rows if row.audit_id not in true), rows[-1])
        return Fault(
            "inserted", strange.audit_id, f"row {strange.audit_id} was inserted into the transaction of others"
        )
    previous, last = START, None
    for position, row in enumerate(rows, start=1):
        if row.position == position and packed_hash(previous, row.fields) == row.hash:
            previous, last = row.hash, row.audit_id
            continue
        if len(rows) < link.rows:
            gone = row.position - position if row.position > position else 1
            after = f"after row {last}" if last else "at the beginning of its transaction"
            many = "a row" if gone == 1 else f"{gone} rows"
            return Fault("deleted", row.audit_id, f"{many} before row {row.audit_id} and {after}: deleted")
        if any(_fits(previous, other, row.audit_id, link, position) for other in near if other != row):
            return Fault("reordered", row.audit_id, f"row {row.audit_id} changed places with another")
        return Fault("altered", row.audit_id, f"row {row.audit_id} is not what was written: altered")
    return Fault("altered", last, f"the last row of the transaction, {last}, was altered together with its hash")


def _fits(previous: bytes, other: Row, audit_id: int, link: Link, position: int) -> bool:
    """Whether `other`, were it to stand at that place, is what was written there."""
    fields = list(other.fields)
    fields[AUDIT_ID], fields[TRANSACTION_ID] = str(audit_id), link.transaction_id
    fields[BLOCK], fields[POSITION] = str(link.block), str(position)
    return packed_hash(previous, fields) == other.hash


def _path(link: Link, rows: Sequence[Row]) -> set[int]:
    """Ids of the rows that lead to the link's hash, from its end as far back as hashes can be followed."""
    found: set[int] = set()
    wanted = {link.rows_digest}
    for position in range(link.rows, 0, -1):
        at = [row for row in rows if row.position == position and row.hash in wanted]
        found |= {row.audit_id for row in at}
        before = [row.hash for row in rows if row.position == position - 1] or [START]
        wanted = {hash for hash in before for row in at if packed_hash(hash, row.fields) == row.hash}
    return found


class _Chain:
    """Links in the order of their lanes, and what was exported of them before."""

    def __init__(self, known: Sequence[Head]) -> None:
        self._known = {(head.lane, head.link_id): head.hash for head in known if head.link_id}
        self._ends: dict[int, Head] = {}
        self._blocks: dict[int, int] = {}
        self.count = 0

    def fault(self, links: Iterable[Link]) -> Fault | None:
        found = None
        for link in links:
            self.count += 1
            found = found or self._look_at(link)
            self._ends[link.lane] = Head(link.lane, link.link_id, link.hash)
            self._blocks[link.lane] = link.block
        return found

    def _look_at(self, link: Link) -> Fault | None:
        before = self._ends.get(link.lane, Head(link.lane, 0, START))
        name = f"link {link.link_id} of lane {link.lane}, of the transaction that begins with row {link.block},"
        gone = link.link_id - before.link_id - 1
        if gone:
            after = f"row {self._blocks[link.lane]}" if before.link_id else "the beginning"
            many = "a transaction" if gone == 1 else f"{gone} transactions"
            return Fault(
                "deleted", link.block, f"{many} of lane {link.lane} between {after} and row {link.block}: deleted"
            )
        if link_hash(link, link.previous_digest) != link.hash:
            if link_hash(link, before.hash) == link.hash:
                return Fault("altered", link.block, f"{name} names another link before it: altered")
            return Fault("altered", link.block, f"{name} is not what was written: altered or reordered")
        if link.previous_digest != before.hash:
            return Fault("reordered", link.block, f"{name} does not follow the link before it: replaced or reordered")
        wanted = self._known.pop((link.lane, link.link_id), link.hash)
        if wanted != link.hash:
            return Fault(
                "altered", link.block, f"{name} is not the one that was exported: all from it on may be rewritten"
            )
        return None

    def end(self, heads: Iterable[Head]) -> Fault | None:
        """What is missing at the ends."""
        for head in heads:
            end = self._ends.pop(head.lane, Head(head.lane, 0, START))
            last = self._blocks.get(head.lane)
            if head.link_id > end.link_id:
                gone = head.link_id - end.link_id
                many = "1 transaction" if gone == 1 else f"{gone} transactions"
                after = f"after that of row {last}" if last else "all that there were"
                return Fault("deleted", last, f"the end of lane {head.lane} was cut off: {many} deleted, {after}")
            if end != head:
                return Fault("altered", last, f"the head of lane {head.lane} is not that of its last link: altered")
        for lane in self._ends:
            return Fault("deleted", self._blocks[lane], f"the head of lane {lane} was deleted")
        for lane, link_id in sorted(self._known):
            last = self._blocks.get(lane)
            found = f"link {link_id} of lane {lane} was exported and is gone: the end of the log was cut off after "
            return Fault("deleted", last, found + (f"that of row {last}" if last else "the beginning"))
        return None
