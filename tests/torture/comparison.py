"""What the meters told against the rows of the hypertable, by content: clocks were stepped, so times prove nothing.

The unit is a response: a meter that is read in two blocks answers twice for one reading, and a row has to be made of
responses that were told at about the same time, each of which is in one row and no other.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from local.proof.stored import Row
from tests.torture.history import History
from tests.torture.journal import Key, Told

Fate = Literal["stored", "lost", "in_loss_window", "unanswered", "undelivered", "forgotten", "destroyed", "thinned"]
_TOGETHER_US = 15_000_000
"""Responses of one row: within the time-outs of one poll, and a stop of either side."""
_READING_US = 700_000
"""Responses of one poll, with meters that go on."""
_NEXT_US = 300_000
"""From one of them to the next. What stopped meters owed an earlier poll comes at once, and the next poll later."""
_EXAMPLES = 5


@dataclass(slots=True)
class Findings:
    """In readings, of all meters. What is excused, and on which ground:

    `in_loss_window`: polled in the loss window before a kill or a power cut of the gateway, or while it died; or the
    poll still lacked an answer of its stopped meter then, and was no reading yet.
    `unanswered`: answered while the meters' process was being killed or stopped, or the gateway's was stopped, so that
    nobody knows whether the answer came in time. `undelivered`: messages that no broker ever confirmed to the meters,
    which were killed or ended with them. `forgotten`: messages that the broker had confirmed within 0.3 s of its own
    kill, and had not saved. `destroyed`: in a damaged buffer, as many as had no receipt yet, and bytes in a page that
    the fault overwrote. `thinned`: what the gateway says it gave up for want of room.
    """

    readings: int = 0
    stored: int = 0
    lost: int = 0
    doubled: int = 0
    altered: int = 0
    in_loss_window: int = 0
    unanswered: int = 0
    undelivered: int = 0
    forgotten: int = 0
    destroyed: int = 0
    thinned: int = 0
    examples: list[dict[str, object]] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return self.stored > 0 and not (self.lost or self.doubled or self.altered)

    def example(self, what: str, **details: object) -> None:
        if sum(1 for known in self.examples if known["what"] == what) < _EXAMPLES:
            self.examples.append({"what": what, **details})


def compare(
    told: dict[str, list[Told]], rows: dict[str, list[Row]], *, history: History, given_up: int = 0
) -> Findings:
    """`told` and `rows` by meter; `given_up` readings are gone for want of room by the gateway's own record."""
    findings = Findings()
    missing: list[tuple[str, _Poll]] = []
    for meter in sorted(told.keys() | rows.keys()):
        answers = told.get(meter, [])
        _assign(meter, answers, rows.get(meter, []), findings)
        _give_rows_to_the_certain(answers, history)
        missing += [(meter, poll) for poll in _polls(answers) if poll.missing]
    destroyed = [damage.destroyed for damage in history.damages]
    for meter, poll in sorted(missing, key=lambda one: one[1].missing[0].t_us):
        reading = poll.missing
        fate = _fate(poll, history)
        if fate == "lost":
            for number, damage in enumerate(history.damages):
                if destroyed[number] and damage.drained_us <= reading[-1].t_us <= damage.at_us:
                    fate = "destroyed"
                    destroyed[number] -= 1
                    break
        if fate == "lost" and given_up:
            fate = "thinned"
            given_up -= 1
        findings.readings += 1
        setattr(findings, fate, getattr(findings, fate) + 1)
        if fate == "lost":
            near = history.near(reading[0].t_us)
            findings.example("lost", meter=meter, t_us=reading[0].t_us, values=reading[0].values, near=near)
    findings.readings += findings.stored
    return findings


def _assign(meter: str, told: list[Told], rows: list[Row], findings: Findings) -> None:
    """Find the responses of each row."""
    by_key: dict[Key, list[Told]] = {}
    for one in told:
        by_key.setdefault(one.key, []).append(one)
    shapes = sorted({frozenset(one.values) for one in told}, key=lambda names: (-len(names), sorted(names)))
    in_rows: dict[int, list[Told]] = {}
    for number, row in enumerate(rows):
        free = next(_covers(row.values, shapes, by_key, free=True), None)
        parts = None if free is None else _nearest(free, by_key, row.time_us)
        if parts is None:
            parts = _exchanged(_covers(row.values, shapes, by_key, free=False), by_key, in_rows)
        if parts is not None:
            in_rows[number] = parts
            for part in parts:
                part.row = number
            findings.stored += 1
        elif next(_covers(row.values, shapes, by_key, free=False), None) is not None:
            findings.doubled += 1
            findings.example("doubled", meter=meter, time_us=row.time_us, values=row.values)
        else:
            findings.altered += 1
            findings.example("altered", meter=meter, time_us=row.time_us, values=row.values)


def _covers(
    values: dict[str, int | float], shapes: Sequence[frozenset[str]], by_key: dict[Key, list[Told]], *, free: bool
) -> Iterator[list[Key]]:
    """Ways to make `values` of whole responses that were told; with `free`, of such as no row has yet."""
    if not values:
        yield []
        return
    first = min(values)
    for shape in shapes:
        if first not in shape or not shape <= values.keys():
            continue
        key = frozenset((name, values[name]) for name in shape)
        if not any(not free or one.row is None for one in by_key.get(key, [])):
            continue
        rest = {name: value for name, value in values.items() if name not in shape}
        for others in _covers(rest, shapes, by_key, free=free):
            yield [key, *others]


def _nearest(keys: list[Key], by_key: dict[Key, list[Told]], time_us: int) -> list[Told] | None:
    """A free response for each of `keys`, all told at about the same time; the nearest to `time_us`, if the clock was
    right. None when what is free was told too far apart."""
    free = [[one for one in by_key[key] if one.row is None] for key in keys]
    rarest = min(range(len(keys)), key=lambda at: len(free[at]))
    for anchor in sorted(free[rarest], key=lambda one: abs(one.t_us - time_us)):
        parts = [_closest(candidates, anchor.t_us) for candidates in free]
        if max(part.t_us for part in parts) - min(part.t_us for part in parts) <= _TOGETHER_US:
            return parts
    return None


def _exchanged(
    ways: Iterator[list[Key]], by_key: dict[Key, list[Told]], in_rows: dict[int, list[Told]]
) -> list[Told] | None:
    """Responses for a row whose own are in others that may as well have equal ones, told at about their time too.

    A response that a stopped meter told long before the rest of its poll is farther from that than the next poll's, and
    so each row after it may have the next one's: the last one then has none. What is in no row at all is still none's.
    """
    for keys in ways:
        rarest = min(range(len(keys)), key=lambda at: len(by_key[keys[at]]))
        for anchor in by_key[keys[rarest]]:
            if anchor.row is not None:
                continue
            parts = [anchor if at == rarest else _given_up(key, anchor, by_key, in_rows) for at, key in enumerate(keys)]
            if None not in parts:
                return [part for part in parts if part is not None]
    return None


def _given_up(key: Key, near: Told, by_key: dict[Key, list[Told]], in_rows: dict[int, list[Told]]) -> Told | None:
    """A response for `key` told at about the time of `near`, free or given up by a row that takes an equal one."""
    # Who asks, and who gave up for whom; breadth first, so that the fewest rows change.
    asking: list[tuple[Told, Told | None]] = [(near, None)]
    seen: dict[Told, int] = {}
    for number, (anchor, _) in enumerate(asking):
        for one in by_key[key]:
            if one in seen or one is anchor or abs(one.t_us - anchor.t_us) > _TOGETHER_US:
                continue
            seen[one] = number
            if one.row is None:
                return _passed_on(one, asking, seen, in_rows)
            rest = [part for part in in_rows[one.row] if part is not one]
            if rest:
                asking.append((rest[0], one))
    return None


def _passed_on(
    free: Told, asking: list[tuple[Told, Told | None]], seen: dict[Told, int], in_rows: dict[int, list[Told]]
) -> Told:
    """Each row on the way takes what the one after it gave up; returns what the first gave up."""
    while (held := asking[seen[free]][1]) is not None:
        assert held.row is not None
        parts = in_rows[held.row]
        parts[parts.index(held)] = free
        free.row, held.row = held.row, None
        free = held
    return free


def _closest(candidates: list[Told], t_us: int) -> Told:
    at = bisect_left(candidates, t_us, key=lambda one: one.t_us)
    return min(candidates[max(at - 1, 0) : at + 1], key=lambda one: abs(one.t_us - t_us))


def _give_rows_to_the_certain(told: list[Told], history: History) -> None:
    """Where two that were told are equal and one of them is in a row, by its content it may be either.

    What a stopped meter owed it answers to nobody, and the gateway asks again: the row has the later answer, where that
    was told in one poll with the rest of the row. An answer of another poll is no such, and stays lost. Messages that
    had to wait are told in one burst: the row has the one that the broker confirmed.
    """
    in_rows: dict[int, list[Told]] = {}
    by_key: dict[Key, list[Told]] = {}
    for one in told:
        if one.row is not None:
            in_rows.setdefault(one.row, []).append(one)
            by_key.setdefault(one.key, []).append(one)
    for certain in told:
        if certain.row is not None or _doubtful(certain, history):
            continue
        for other in by_key.get(certain.key, []):
            if other.row is None or other.message != certain.message or not _doubtful(other, history):
                continue
            rest = [one for one in in_rows[other.row] if one is not other]
            if _may_replace(certain, other, rest):
                certain.row, other.row = other.row, None
                in_rows[certain.row] = [certain, *rest]
                break


def _doubtful(one: Told, history: History) -> bool:
    """Whether nobody can tell if it got any further than to its meter."""
    return _fate_of_message(one, history) != "lost" if one.message else history.unanswered(one.t_us)


def _may_replace(certain: Told, other: Told, rest: list[Told]) -> bool:
    """Whether the row of `other` and `rest` may as well be of `certain` and `rest`."""
    if certain.message:
        return not rest and abs(certain.t_us - other.t_us) <= _READING_US
    times_us = [certain.t_us, *(one.t_us for one in rest)]
    return bool(rest) and other.t_us < certain.t_us and max(times_us) - min(times_us) <= _READING_US


@dataclass(slots=True)
class _Poll:
    """Responses of one poll, or one message. `whole` says that the meter told everything in it that it ever tells."""

    told: list[Told]
    whole: bool

    @property
    def missing(self) -> list[Told]:
        """What is in no row."""
        return [one for one in self.told if one.row is None]


def _polls(told: list[Told]) -> Iterator[_Poll]:
    """What belongs together."""
    names = frozenset(name for one in told for name in one.values)
    group: list[Told] = []
    had: frozenset[str] = frozenset()
    for one in told:
        if group and (not had.isdisjoint(one.values) or not _together(group, one)):
            yield _Poll(group, had == names)
            group, had = [], frozenset()
        group.append(one)
        had |= one.values.keys()
    if group:
        yield _Poll(group, had == names)


def _together(group: list[Told], one: Told) -> bool:
    """Whether `one` may be of the poll that brought `group`."""
    return not one.message and one.t_us - group[0].t_us <= _READING_US and one.t_us - group[-1].t_us <= _NEXT_US


def _fate(poll: _Poll, history: History) -> Fate:
    """The worst of its responses' fates."""
    fates = Counter(_fate_of_one(one, poll, history) for one in poll.missing)
    order: tuple[Fate, ...] = ("lost", "unanswered", "in_loss_window", "undelivered", "forgotten")
    return next(fate for fate in order if fates[fate])


def _fate_of_one(one: Told, poll: _Poll, history: History) -> Fate:
    if not one.message:
        # A poll of which anything is stored is over.
        whole = poll.whole or len(poll.missing) < len(poll.told)
        if history.in_loss_window(one.t_us, poll.told[-1].t_us, whole=whole):
            return "in_loss_window"
        return "unanswered" if history.unanswered(one.t_us) else "lost"
    return _fate_of_message(one, history)


def _fate_of_message(one: Told, history: History) -> Fate:
    if one.confirmed_us is None:
        return "undelivered" if one.withdrawn or history.meters_died_after(one.t_us) else "lost"
    return "forgotten" if history.broker_forgot(one.t_us, one.confirmed_us) else "lost"
