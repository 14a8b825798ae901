"""Readings against rows, one meter at a time. Pure: no clock, no database."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from local.proof.stored import Row, as_stored
from local.proof.truth import Served, Values

# Two readings of one clock are compared, taken by two processes: a step of the clock between them must not lose a row.
CLOCK_SLACK_US = 5_000
EXAMPLES = 5
_ON_ITS_WAY_US = 200_000


@dataclass(frozen=True, slots=True)
class LossSpan:
    """A time, both ends inclusive, in which polled readings may be lost: the loss window before a kill."""

    first_us: int
    last_us: int

    @classmethod
    def before_kill(cls, *, killed_us: int, dead_us: int, loss_window_s: float) -> "LossSpan":
        """The signal was sent at `killed_us`, the process was gone at `dead_us`.

        Requests that were on their way then are still answered, to nobody; that is in the span too.
        """
        return cls(killed_us - round(loss_window_s * 1e6), dead_us + _ON_ITS_WAY_US)


@dataclass(slots=True)
class Findings:
    """Of one meter. `polled` = `stored` + `lost` + `in_loss_window` + `undelivered`.

    `partial` counts rows of polls that lack a response; `unmapped` are quantities that were served and are NULL in
    every row; `counted` are the readings of which the registers count.
    """

    polled: int = 0
    stored: int = 0
    lost: int = 0
    in_loss_window: int = 0
    undelivered: int = 0
    duplicated: int = 0
    altered: int = 0
    foreign: int = 0
    partial: int = 0
    unmapped: list[str] = field(default_factory=list)
    counted: list[Served] = field(default_factory=list)
    matched_rows: list[Row] = field(default_factory=list)
    examples: list[dict[str, object]] = field(default_factory=list)

    def example(self, what: str, **details: object) -> None:
        if sum(1 for known in self.examples if known["what"] == what) < EXAMPLES:
            self.examples.append({"what": what, **details})


def compare(
    served: Sequence[Served], rows: Sequence[Row], *, cutoff_us: int | None = None, spans: Sequence[LossSpan] = ()
) -> Findings:
    """What became of `served` in `rows`, both of one meter and in the order of time.

    Readings served after `cutoff_us` are not asked for, but their rows are not foreign either. What was published is
    never excused by `spans`: a message is acknowledged once it is safe.
    """
    findings = Findings()
    present = {name for row in rows for name in row.values}
    wanted = {name for reading in served for name in reading.values}
    findings.unmapped = sorted(wanted - present) if rows else []
    expected = [_expected(reading, present if rows else wanted) for reading in served]
    rows_of = _assign(served, expected, rows, findings)
    for index, reading in enumerate(served):
        own = rows_of[index]
        asked = cutoff_us is None or reading.t_us <= cutoff_us
        if own:
            findings.duplicated += len(own) - 1
            for row in own[1:]:
                findings.example("duplicated", time_us=row.time_us, of_us=reading.sort_us)
            exact = next((row for row in own if row.values == expected[index]), None)
            if exact is None:
                findings.altered += 1
                findings.example("altered", time_us=own[0].time_us, **_difference(expected[index], own[0].values))
            findings.matched_rows.append(exact or own[0])
            findings.counted.append(reading)
            if not reading.complete:
                findings.partial += 1
            elif asked:
                findings.polled += 1
                findings.stored += 1
        elif asked and reading.complete:
            findings.polled += 1
            if not reading.acknowledged:
                findings.undelivered += 1
            elif reading.device_time_us is None and any(s.first_us <= reading.t_us <= s.last_us for s in spans):
                findings.in_loss_window += 1
            else:
                findings.lost += 1
                findings.counted.append(reading)
                findings.example("lost", served_us=reading.t_us, time_us=reading.sort_us)
    return findings


def _assign(
    served: Sequence[Served], expected: Sequence[Values], rows: Sequence[Row], findings: Findings
) -> list[list[Row]]:
    """The rows of each reading; rows of none are booked as duplicated or foreign."""
    rows_of: list[list[Row]] = [[] for _ in served]
    if served and served[0].device_time_us is None:
        times = [reading.t_us for reading in served]
        for row in rows:
            index = bisect_right(times, row.time_us + CLOCK_SLACK_US) - 1
            if index >= 0:
                rows_of[index].append(row)
            else:
                _foreign(row, findings)
        return rows_of
    by_clock = {reading.device_time_us: index for index, reading in enumerate(served)}
    leftover = []
    for row in rows:
        found = by_clock.get(row.time_us) if row.from_device else None
        if found is None:
            leftover.append(row)
        else:
            rows_of[found].append(row)
    for row in leftover:
        # Stamped on arrival: the oldest message with these values that has no row yet is the one.
        alike = [
            index
            for index, values in enumerate(expected)
            if values == row.values and served[index].t_us <= row.time_us + CLOCK_SLACK_US
        ]
        free = next((index for index in alike if not rows_of[index]), None)
        if free is not None and not row.from_device:
            rows_of[free].append(row)
        elif alike:
            rows_of[alike[-1]].append(row)
        else:
            _foreign(row, findings)
    return rows_of


def _foreign(row: Row, findings: Findings) -> None:
    findings.foreign += 1
    findings.example("foreign", time_us=row.time_us, values=row.values)


def _expected(reading: Served, present: set[str]) -> Values:
    return {name: as_stored(name, value) for name, value in reading.values.items() if name in present}


def _difference(expected: Values, found: Values) -> dict[str, object]:
    names = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    return {"served": {n: expected.get(n) for n in names}, "stored": {n: found.get(n) for n in names}}
