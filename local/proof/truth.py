"""The simulator's journal, read as readings: what each meter told, and when."""

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf
from pathlib import Path
from statistics import median

import msgspec

from contract.quantities import BY_NAME
from local.proof.errors import ProofError

Values = dict[str, int | float]


class _Line(msgspec.Struct):
    t_us: int
    meter: str
    kind: str
    values: Values = {}
    seq: int | None = None
    device_time_us: int | None = None


@dataclass(slots=True)
class Served:
    """One reading that a meter gave, `values` at the contract's resolution.

    `t_us` is when its last response was served or the message published; `device_time_us` is the meter's own clock.
    `complete` is false for a poll of which some responses were never asked for. `acknowledged` is false for a message
    that the simulator could not deliver before it ended.
    """

    t_us: int
    values: Values = field(default_factory=dict)
    device_time_us: int | None = None
    complete: bool = True
    acknowledged: bool = True

    @property
    def sort_us(self) -> int:
        return self.t_us if self.device_time_us is None else self.device_time_us


def read(path: Path) -> dict[str, list[Served]]:
    """Readings per meter, in the order of their time. Raises ProofError for a line that is no journal line.

    A last line without its end is left out: the simulator was killed while it wrote it, so nobody was served.
    """
    decoder = msgspec.json.Decoder(_Line)
    lines: dict[str, list[_Line]] = {}
    try:
        with path.open("rb") as file:
            for number, text in enumerate(file, 1):
                if not text.endswith(b"\n"):
                    break
                line = _line(decoder, text, f"{path}:{number}")
                lines.setdefault(line.meter, []).append(line)
    except OSError as error:
        raise ProofError(where=str(path), found=str(error.strerror), todo="name the simulator's journal") from error
    return {meter: _readings(path, of_meter) for meter, of_meter in sorted(lines.items())}


def _line(decoder: msgspec.json.Decoder[_Line], text: bytes, where: str) -> _Line:
    try:
        return decoder.decode(text)
    except msgspec.DecodeError as error:
        raise ProofError(where=where, found=str(error), todo="name the simulator's journal") from error


def _readings(path: Path, lines: list[_Line]) -> list[Served]:
    kinds = {line.kind for line in lines}
    if kinds == {"modbus"}:
        return _polls(lines)
    if kinds <= {"mqtt", "acknowledged", "unacknowledged"}:
        return _messages(lines)
    raise ProofError(where=str(path), found=f"{lines[0].meter} has lines of {sorted(kinds)}", todo="use one per meter")


def _polls(lines: list[_Line]) -> list[Served]:
    """Responses merged into polls, of which any may be missing, the first too.

    A poll begins with the quantity that mostly begins one, with any that comes again half an interval later, and after
    a whole interval with whatever comes. What comes again sooner was asked for again, and the later answer counts.
    """
    lines = sorted(lines, key=lambda line: line.t_us)
    interval_us = _interval_us(lines)
    mark = _mark(lines, interval_us)
    every: set[str] = set()
    polls: list[Served] = []
    began_us = 0
    for line in lines:
        took_us = line.t_us - began_us
        again = bool(polls) and not polls[-1].values.keys().isdisjoint(line.values)
        if not polls or mark in line.values or took_us >= interval_us or (again and 2 * took_us >= interval_us):
            polls.append(Served(line.t_us))
            began_us = line.t_us
        polls[-1].t_us = line.t_us
        polls[-1].values |= _canonical(line.values)
        every |= line.values.keys()
    for poll in polls:
        poll.complete = poll.values.keys() == every
    return polls


def _interval_us(lines: list[_Line]) -> float:
    """How long it mostly took until what was served most came again; infinite if nothing ever did."""
    times: dict[str, list[int]] = {}
    for line in lines:
        for name in line.values:
            times.setdefault(name, []).append(line.t_us)
    most = max(times.values(), key=len)
    return median(later - earlier for earlier, later in pairwise(most)) if len(most) > 1 else inf


def _mark(lines: list[_Line], interval_us: float) -> str:
    """The quantity that mostly comes first after a silence."""
    firsts = Counter(
        next(iter(later.values)) for earlier, later in pairwise(lines) if 2 * (later.t_us - earlier.t_us) >= interval_us
    )
    firsts[next(iter(lines[0].values))] += 1
    return firsts.most_common(1)[0][0]


def _messages(lines: list[_Line]) -> list[Served]:
    messages: list[Served] = []
    # Numbers start again with the simulator: the newest message of a number is the one that was withdrawn.
    newest: dict[int | None, Served] = {}
    for line in lines:
        if line.kind == "mqtt":
            message = newest[line.seq] = Served(line.t_us, _canonical(line.values), line.device_time_us)
            messages.append(message)
        elif line.kind == "unacknowledged" and line.seq in newest:
            newest[line.seq].acknowledged = False
    return sorted(messages, key=lambda message: message.sort_us)


def _canonical(values: Values) -> Values:
    return {name: BY_NAME[name].canonical(value) for name, value in values.items()}
