"""Tables of people: every row is looked at, and each that is refused is told by line, column, value and what to do."""

import csv
import io
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Generic, TypeVar

import psycopg
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cloud.api.database import Transaction
from cloud.api.http.envelope import Body
from cloud.api.http.errors import Problem
from cloud.api.http.fields import Region
from cloud.db.errors import domain_error
from cloud.db.rules import RULES

MOST_BYTES, MOST_ROWS = 2**20, 2000
TABLE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "text/csv": {
                "schema": {
                    "type": "string",
                    "description": "A heading and at most 2000 rows.",
                    "examples": ["region\nnorth\n"],
                }
            }
        },
    }
}
_Row = TypeVar("_Row", bound=Body)
# The column that a refusal of the database is about, by SQLSTATE or constraint.
_COLUMNS = {
    "SG010": "gateway",
    "SG020": "device",
    "SG022": "meter",
    "SG023": "meter",
    "SG024": "region",
    "SG025": "serial",
    "SG070": "region",
    "meter_locations_timezone_is_known": "timezone",
}


class RowsRefused(Problem):
    """Nothing was recorded; `errors` has every row that is to blame."""

    status, problem = 422, "rows-refused"


class Importing(BaseModel):
    """How a table is imported."""

    model_config = ConfigDict(extra="forbid")

    region: Annotated[Region | None, Field(description="Region of the rows that name none.")] = None
    partial: Annotated[bool, Field(description="Record the rows that are good although others are not.")] = False
    dry_run: Annotated[bool, Field(description="Look at every row and record none.")] = False


class Fault(BaseModel):
    """A row that was refused."""

    line: Annotated[int, Field(description="Its line in the file, from 1, the heading's.")]
    column: Annotated[str | None, Field(description="The column that is to blame; null for the row.")]
    found: Annotated[str | None, Field(description="What stands there.")]
    message: Annotated[str, Field(description="What is wrong, and what to do.")]


class ImportEntry(BaseModel):
    """A row that is good."""

    line: Annotated[int, Field(description="Number of its line in the file.")]
    meter: Annotated[str | None, Field(description="Code of its meter; null where nothing was recorded.")]
    recorded: Annotated[bool, Field(description="Whether it was recorded now; false also for what was there already.")]


class Made(BaseModel):
    """What came of a table."""

    rows: Annotated[int, Field(description="Rows of the table.")]
    recorded: Annotated[int, Field(description="Rows that were recorded.")]
    entries: Annotated[list[ImportEntry], Field(description="The good rows.")]
    refused: Annotated[list[Fault], Field(description="The others; none unless partial or dry_run was said.")]

    @property
    def told(self) -> str:
        """For the answer's message."""
        return f"{self.recorded} of {self.rows} rows recorded, {len({fault.line for fault in self.refused})} refused."


@dataclass
class Table(Generic[_Row]):
    """Rows by their lines, and what is wrong with the others; `cells` are as they stand in the file."""

    rows: dict[int, _Row] = field(default_factory=dict)
    cells: dict[int, Mapping[str, str]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


class _Undone(Exception):
    """Ends a part of a transaction that is not to be."""


def read_table(body: bytes, model: type[_Row], *, alone: tuple[str, ...], region: str | None) -> Table[_Row]:
    """The rows of a CSV file. No two have the same in all columns of `alone`. Raises RowsRefused for a file that is no
    table, or has another heading."""
    table: Table[_Row] = Table()
    seen: dict[tuple[str, ...], int] = {}
    for line, cells in _cells(body, model):
        table.cells[line] = cells
        given = {name: cell for name, cell in cells.items() if cell}
        if region is not None and not given.get("meter"):
            given.setdefault("region", region)
        try:
            table.rows[line] = model.model_validate(given)
        except ValidationError as error:
            table.faults += [_fault(line, dict(fault), cells, model) for fault in error.errors()]
            continue
        key = tuple(cells.get(name, "") for name in alone)
        if all(key) and key in seen:
            table.faults.append(_told(line, alone[-1], cells, f"it is in line {seen[key]} too; keep one of them"))
            del table.rows[line]
        seen.setdefault(key, line)
    return table


async def import_rows(
    domain: Transaction, table: Table[_Row], make: Callable[[_Row], Awaitable[tuple[str, bool]]], how: Importing
) -> Made:
    """Records the rows by `make`, which says the code of the meter and whether it is new: all or none, or what `how`
    says. Raises RowsRefused."""
    entries: list[ImportEntry] = []
    faults = list(table.faults)
    with suppress(_Undone):
        async with domain.attempt():
            for line, row in table.rows.items():
                try:
                    async with domain.attempt():
                        code, new = await make(row)
                except psycopg.Error as error:
                    faults.append(_refusal(line, table.cells[line], error))
                else:
                    entries.append(ImportEntry(line=line, meter=code, recorded=new))
            if how.dry_run or (faults and not how.partial):
                raise _Undone
    faults.sort(key=lambda fault: fault.line)
    if faults and not (how.partial or how.dry_run):
        raise RowsRefused(
            "no row was recorded; errors has those that are to blame",
            errors=[{"where": f"line {fault.line}", **fault.model_dump()} for fault in faults],
        )
    if how.dry_run:
        entries = [ImportEntry(line=entry.line, meter=None, recorded=False) for entry in entries]
    count = sum(entry.recorded for entry in entries)
    return Made(rows=len(table.cells), recorded=count, entries=entries, refused=faults)


def _cells(body: bytes, model: type[Body]) -> Iterable[tuple[int, Mapping[str, str]]]:
    """Rows with their lines; rows without anything in them are passed over."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _no_table(body[: error.start].count(b"\n") + 1, "no UTF-8; save the file as CSV in UTF-8") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    found: list[tuple[int, Mapping[str, str]]] = []
    try:
        heading = [name.strip() for name in next(reader, [])]
        _require_heading(heading, model)
        before = reader.line_num
        for row in reader:
            line, before = before + 1, reader.line_num
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(heading):
                raise _no_table(line, f"{len(row)} cells, and the heading has {len(heading)}; give one cell a column")
            found.append((line, {name: cell.strip() for name, cell in zip(heading, row, strict=True)}))
            if len(found) > MOST_ROWS:
                raise _no_table(line, f"more than {MOST_ROWS} rows; divide the file")
    except csv.Error as error:
        raise _no_table(reader.line_num, f"no CSV: {error}; look at the quotes") from None
    if not found:
        raise _no_table(1, "no row; give a heading and a row for each meter")
    return found


def _require_heading(heading: list[str], model: type[Body]) -> None:
    columns = ", ".join(model.model_fields)
    for name in heading:
        if name not in model.model_fields:
            raise _no_table(
                1, f"no column {name[:60]!r} is known; the columns are {columns}, separated by commas", name[:60]
            )
        if heading.count(name) > 1:
            raise _no_table(1, f"column {name!r} is there twice; keep one of them", name)
    for name, about in model.model_fields.items():
        if about.is_required() and name not in heading and name != "region":
            raise _no_table(1, f"column {name!r} is missing; add it", name)


def _no_table(line: int, message: str, column: str | None = None) -> RowsRefused:
    fault = {"where": f"line {line}", "line": line, "column": column, "found": None, "message": message}
    return RowsRefused(f"no row was recorded: line {line}: {message}", errors=[fault])


def _fault(line: int, fault: Mapping[str, Any], cells: Mapping[str, str], model: type[Body]) -> Fault:
    """What a model says of a cell, and what the column is for."""
    column = str(fault["loc"][0]) if fault["loc"] else None
    message = str(fault["msg"]).removeprefix("Value error, ")
    about = None if column is None else _about(model).get(column)
    return _told(line, column, cells, f"{message}; {about}" if about else message)


@cache
def _about(model: type[Body]) -> Mapping[str, str]:
    """What each column is for. To describe a model takes some ms, and a table may have a fault in every cell."""
    found: dict[str, str] = {}
    for column, schema in model.model_json_schema()["properties"].items():
        told = next((one["description"] for one in (schema, *schema.get("anyOf", [])) if "description" in one), None)
        if told is not None:
            found[column] = str(told).rstrip(".")
    return found


def _refusal(line: int, cells: Mapping[str, str], error: psycopg.Error) -> Fault:
    """What the database says of a row. Raises the error where it is none of the row's."""
    refusal = domain_error(error)
    if refusal is None:
        raise error
    message = RULES.get(refusal.constraint or "") or error.diag.message_primary or str(refusal)
    hint = error.diag.message_hint
    told = f"{message}; {hint[0].lower()}{hint[1:].rstrip('.')}" if hint else message
    return _told(line, _COLUMNS.get(refusal.constraint or "") or _COLUMNS.get(refusal.sqlstate), cells, told)


def _told(line: int, column: str | None, cells: Mapping[str, str], message: str) -> Fault:
    found = None if column is None else cells.get(column)
    return Fault(line=line, column=column, found=None if found is None else found[:200], message=message)
