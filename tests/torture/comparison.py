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
_EXAMPLES = 5


@dataclass(slots=True)
class Findings:
    """In readings, of all meters. What is excused, and on which ground:

    `in_loss_window`: polled in the loss window before a kill or a power cut of the gateway, or while it died.
    `unanswered`: answered while the meters' process was being killed or stopped, or the gateway's was stopped, so that
    nobody knows whether the answer came in time. `undelivered`: messages that no broker ever confirmed to the meters,
    which were killed or ended with them. `forgotten`: messages that the broker had confirmed within 0.3 s of its own
    kill, and had not saved. `destroyed`: in a damaged buffer, as many as had their own bytes overwritten by the fault.
    `thinned`: what the gateway says it gave up for want of room.
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
    missing: list[tuple[str, list[Told]]] = []
    for meter in sorted(told.keys() | rows.keys()):
        _assign(meter, told.get(meter, []), rows.get(meter, []), findings)
        missing += [(meter, reading) for reading in _readings(told.get(meter, []))]
    destroyed = [damage.destroyed for damage in history.damages]
    for meter, reading in sorted(missing, key=lambda one: one[1][0].t_us):
        fate = _fate(reading, history)
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
    for number, row in enumerate(rows):
        free = next(_covers(row.values, shapes, by_key, free=True), None)
        if free is not None and (parts := _nearest(free, by_key, row.time_us)) is not None:
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


def _closest(candidates: list[Told], t_us: int) -> Told:
    at = bisect_left(candidates, t_us, key=lambda one: one.t_us)
    return min(candidates[max(at - 1, 0) : at + 1], key=lambda one: abs(one.t_us - t_us))


def _readings(told: list[Told]) -> Iterator[list[Told]]:
    """What is in no row, the responses of one poll together."""
    group: list[Told] = []
    for one in told:
        if one.row is not None:
            continue
        new = group and (
            one.message or one.t_us - group[0].t_us > _READING_US or not group[0].values.keys().isdisjoint(one.values)
        )
        if new:
            yield group
            group = []
        group.append(one)
    if group:
        yield group


def _fate(reading: list[Told], history: History) -> Fate:
    """The worst of its responses' fates."""
    fates = Counter(_fate_of_one(one, history) for one in reading)
    order: tuple[Fate, ...] = ("lost", "unanswered", "in_loss_window", "undelivered", "forgotten")
    return next(fate for fate in order if fates[fate])


def _fate_of_one(one: Told, history: History) -> Fate:
    if not one.message:
        if history.in_loss_window(one.t_us):
            return "in_loss_window"
        return "unanswered" if history.unanswered(one.t_us) else "lost"
    if one.confirmed_us is None:
        return "undelivered" if one.withdrawn or history.meters_died_after(one.t_us) else "lost"
    return "forgotten" if history.broker_forgot(one.confirmed_us) else "lost"
