"""What the simulated meters noted: one response or message a line, at the resolution of the database."""

from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from contract.quantities import BY_NAME
from local.proof.stored import as_stored

Key = frozenset[tuple[str, int | float]]
"""Values by which a response is known again in a row."""


class _Line(msgspec.Struct):
    t_us: int
    meter: str
    kind: str
    values: dict[str, int | float] = {}
    seq: int | None = None


@dataclass(slots=True, eq=False)
class Told:
    """What a meter told at `t_us`: a response to the gateway, or a message to the broker.

    Of a message `confirmed_us` is when the broker had it, None if the meters never heard so.
    """

    t_us: int
    values: dict[str, int | float]
    message: bool
    confirmed_us: int | None = None
    withdrawn: bool = False
    key: Key = field(init=False)
    row: int | None = None
    """The row that it was found in."""

    def __post_init__(self) -> None:
        self.key = frozenset(self.values.items())


def read(path: Path) -> dict[str, list[Told]]:
    """By meter, in the order in which it was told. A last line without its end was told to nobody."""
    decoder = msgspec.json.Decoder(_Line)
    told: dict[str, list[Told]] = {}
    newest: dict[tuple[str, int | None], Told] = {}
    for text in path.read_bytes().splitlines(keepends=True):
        if not text.endswith(b"\n"):
            break
        line = decoder.decode(text)
        match line.kind:
            case "acknowledged":
                newest[line.meter, line.seq].confirmed_us = line.t_us
            case "unacknowledged":
                newest[line.meter, line.seq].withdrawn = True
            case _:
                one = Told(line.t_us, _as_stored(line.values), line.kind == "mqtt")
                told.setdefault(line.meter, []).append(one)
                newest[line.meter, line.seq] = one
    return told


def _as_stored(values: dict[str, int | float]) -> dict[str, int | float]:
    return {name: as_stored(name, BY_NAME[name].canonical(value)) for name, value in values.items()}
