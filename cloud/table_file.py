"""Files of comma-separated values that people give: what is wrong with one is told by row and column."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from cloud.errors import InputError

_YEARS = range(1970, 2101)


class RowError(InputError):
    """A file that cannot be used; the message names its row, what was found, and what belongs there."""

    def __init__(self, row: int, found: str, todo: str) -> None:
        super().__init__(f"row {row}: {found}; {todo}")
        self.row = row


def rows(
    lines: Iterable[str],
    *,
    needed: Sequence[str],
    wanted: Sequence[str] = (),
    because: Mapping[str, str] | None = None,
) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of `lines`, each with its number, the header being 1. Columns are `needed`, and any of `wanted`.

    `because` says of a needed column what needs it, where that is not always so. Raises RowError.
    """
    found = csv.DictReader(lines, strict=True)
    try:
        names = set(found.fieldnames or ())
        if not set(needed) <= names <= {*needed, *wanted} or len(names) != len(found.fieldnames or ()):
            shown = ",".join(found.fieldnames or ())[:200]
            why = [f"{name} by {reason}" for name, reason in (because or {}).items() if name not in names]
            needs = f" ({', '.join(why)})" if why else ""
            more = f" and, if wanted, {','.join(wanted)}" if wanted else ""
            raise RowError(1, f"the columns are {shown!r}", f"they must be {','.join(needed)}{needs}{more}")
        for fields in found:
            row = found.line_num
            if None in fields or None in fields.values():
                raise RowError(row, "another number of fields", f"the header has {len(names)}")
            yield row, fields
    except csv.Error as error:
        raise RowError(found.reader.line_num, str(error), "send comma-separated values") from error


def instant(text: str, column: str, row: int) -> datetime:
    """ISO 8601; without an offset it is UTC, as the column says. Raises RowError."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise RowError(row, f"{column} {text[:40]!r}", "give a time such as 2026-03-01T12:00:00Z") from None
    if at.year not in _YEARS:
        years = f"years are {_YEARS[0]} to {_YEARS[-1]}"
        raise RowError(row, f"{column} {text[:40]!r}", f"take out what a wrong clock stamped; {years}")
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
