"""Exchanges of meters: what was read off both displays, held against the readings around it."""

from collections.abc import Iterator
from datetime import datetime

from cloud.errors import CloudError
from cloud.instant import written
from cloud.operator import Row

_REGISTERS = {1: "import", 2: "export", 3: "reactive import", 4: "reactive export"}


class ContradictedByReadings(CloudError):
    """What people read off the displays cannot be, by the readings before and after."""

    def __init__(self, code: str, contradictions: list[str]) -> None:
        lines = "".join(f"\n  {line}" for line in contradictions)
        super().__init__(
            f"{code}: nothing was recorded, because readings contradict it:{lines}\n"
            "Look at displays, units and --at again. If it is true all the same, say why: --despite-readings REASON"
        )
        self.contradictions = contradictions


def contradictions(reads: list[Row]) -> list[str]:
    """Sentences; `reads` are rows of exchange_reads()."""
    return [_contradiction(read) for read in reads if read["fault"]]


def _contradiction(read: Row) -> str:
    side = "below" if (read["read"] == "final") == (read["fault"] == "backwards") else "above"
    near = f"the reading of {written(read['near_at'])}, {read['near_value']} Wh"
    name = f"the {read['read']} {_REGISTERS[read['register']]} read, {read['given']} Wh,"
    if read["fault"] == "backwards":
        return f"{name} is {side} {near}"
    moved = abs(read["given"] - read["near_value"])
    return f"{name} is {moved} Wh {side} {near}; the connection carries {read['most']} Wh in that time"


def told(code: str, at: datetime, done: Row, reads: list[Row], overruled: list[str]) -> Iterator[str]:
    """What was recorded, and what will come of it."""
    before, after = (_plate(done[f"{which}_model"], done[f"{which}_serial"]) for which in ("old", "new"))
    yield f"{code}: from {written(at)} on it is {after}, before that it was {before}."
    for register, name in _REGISTERS.items():
        its = {read["read"]: read for read in reads if read["register"] == register}
        if its and register <= 2:
            given = {which: its[which]["given"] if which in its else None for which in ("final", "first")}
            yield f"{name}: {_given('final', given['final'])}, {_given('first', given['first'])}.{_unbooked(given)}"
    for line in overruled:
        yield f"recorded although {line}."
    yield _computed_anew(at, reads)


def revoked(code: str, at: datetime, done: Row, reads: list[Row]) -> Iterator[str]:
    before, after = (_plate(done[f"{which}_model"], done[f"{which}_serial"]) for which in ("old", "new"))
    yield f"{code}: the exchange of {before} for {after} at {written(at)} is revoked; it is {before} again."
    yield _computed_anew(at, reads)


def _plate(model: str | None, serial: str | None) -> str:
    return " ".join(filter(None, (model or "a meter", serial or "without a known serial number")))


def _given(which: str, value: int | None) -> str:
    return f"no {which} read" if value is None else f"{which} read {value} Wh"


def _unbooked(given: dict[str, int | None]) -> str:
    sides = [side for which, side in (("final", "up to it"), ("first", "after it")) if given[which] is None]
    return f" What nobody read {' and '.join(sides)} is not booked." if sides else ""


def _computed_anew(at: datetime, reads: list[Row]) -> str:
    if any(read["gone"] for read in reads):
        return (
            "Its readings are no longer kept: intervals around that instant stay as they are; "
            "segs-cloud vee edit sets them."
        )
    first = min((read["near_at"] for read in reads if read["read"] == "final" and read["near_at"]), default=None)
    last = max((read["near_at"] for read in reads if read["read"] == "first" and read["near_at"]), default=None)
    if first is None and last is None:
        return f"There are no readings around {written(at)}: no interval changes."
    span = f"from the reading of {written(first)}" if first else f"from {written(at)}"
    span += (
        f" to that of {written(last)}" if last and first else f" to the reading of {written(last)}" if last else " on"
    )
    return f"A worker computes intervals anew {span}, within minutes."
