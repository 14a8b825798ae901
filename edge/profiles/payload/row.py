"""One row of a profile, or one field of a configuration, made ready: its paths split, its number told from noise."""

from collections.abc import Mapping, Sequence

from edge.profiles.payload.number import LIMIT, NotANumber, measured, number
from edge.profiles.payload.path import Steps, steps
from edge.profiles.payload.schema import FieldMap
from edge.profiles.payload.settings import DeviceField


class Row:
    """A row with its paths split. `key` is the path where it is a single key, for speed."""

    __slots__ = (
        "channel", "factor", "guard", "invalid", "key", "name", "needs_unit", "paths", "phases", "quantity", "rank",
        "rival", "signs", "total",
    )  # fmt: skip

    def __init__(self, row: FieldMap | DeviceField, *, named: bool = False) -> None:
        split = (lambda path: (path,)) if named else steps
        self.quantity = row.quantity
        self.channel: int | None = None
        # Where several fields are one quantity, the one of the lowest rank is meant.
        self.rank = 0
        self.phases: tuple[str, ...] = ()
        self.total: str | None = None
        self.needs_unit = False
        self.guard: Steps | None = None
        self.rival: Steps | None = None
        self.signs: tuple[int, ...] = (1,)
        if isinstance(row, DeviceField):
            self.channel, self.factor = row.channel, row.factor
            paths: tuple[str, ...] = (row.path,)
        else:
            self.factor, paths = row.factor, row.paths
            self.signs = tuple(-1 if part.startswith("-") else 1 for part in row.sum or ("",))
            self.total, self.needs_unit = row.total, row.needs_unit
            if row.phases is not None:
                self.phases = tuple(row.phases.replace("{phase}", str(phase)) for phase in (1, 2, 3))
            if row.unless_zero is not None:
                self.guard = split(row.unless_zero)
            if row.unless_seen is not None:
                self.rival = split(row.unless_seen)
        self.name = " + ".join(paths)
        self.paths: tuple[Steps, ...] = tuple(split(path) for path in paths)
        # Sums, and paths and guards of several steps, go the long way.
        single = len(self.paths) == 1 and len(self.paths[0]) == 1 and (self.guard is None or len(self.guard) == 1)
        single = single and self.rival is None
        self.key = str(self.paths[0][0]) if single else None
        self.invalid = frozenset(value * self.factor for value in row.invalid)

    def value(self, written: object) -> float | None:
        """The quantity that `written` stands for; None where it is absent. Raises NotANumber."""
        kind = type(written)
        if self.needs_unit:
            found: float | None = measured(written, self.quantity, None)
        elif (kind is float or kind is int) and -LIMIT < written < LIMIT:  # type: ignore[operator] # the type is known
            found = written * self.factor  # type: ignore[operator]
        else:
            found = measured(written, self.quantity, self.factor)
        return None if found in self.invalid else found

    def sum(self, parts: Sequence[object]) -> float | None:
        """The sum of `parts`, None when one of them is absent. Raises NotANumber."""
        total = 0.0
        for sign, written in zip(self.signs, parts, strict=True):
            part = self.value(written)
            if part is None:
                return None
            total += sign * part
        return total


def zero(value: object) -> bool:
    if type(value) is int or type(value) is float:
        return value == 0
    try:
        return number(value) == 0
    except NotANumber:
        return False


def add(
    row: Row, parts: Sequence[object], entries: Mapping[Steps, object], found: dict[str, float], skipped: list[str]
) -> None:
    """Put what `parts` are as `row` into `found`, unless it is there or its guard in `entries` is 0.

    What is no number is named in `skipped`.
    """
    if row.quantity in found or any(part is None for part in parts):
        return
    if row.guard is not None and zero(entries.get(row.guard)):
        return
    try:
        value = row.value(parts[0]) if len(parts) == 1 and row.signs == (1,) else row.sum(parts)
    except NotANumber as error:
        skipped.append(f"{row.name}: {error}")
        return
    if value is not None:
        found[row.quantity] = value
