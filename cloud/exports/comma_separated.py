"""CSV: RFC 4180, UTF-8, with a heading. Nothing in it is a formula, wherever it is opened."""

import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime, tzinfo

from cloud.exports.row import Row, Rows

MEDIA_TYPE = "text/csv; charset=utf-8; header=present"
HEADING = (
    "meter",
    "start",
    "end",
    "import_wh",
    "export_wh",
    "power_mean_w",
    "power_min_w",
    "power_max_w",
    "coverage_percent",
    "quality",
    "version",
)
# What a spreadsheet takes for the beginning of a formula, also behind white space and in wide letters.
_FORMULA = tuple(
    "=+-@|%\t\r\n\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}\N{FULLWIDTH HYPHEN-MINUS}\N{FULLWIDTH COMMERCIAL AT}"
)
_CHUNK_CHARACTERS = 64 * 1024


def text_cell(text: str) -> str:
    """The text, behind an apostrophe where a spreadsheet would compute it (OWASP, CSV injection). NUL is left out."""
    text = text.replace("\0", "")
    return f"'{text}" if text.lstrip(" \N{NO-BREAK SPACE}").startswith(_FORMULA) else text


async def comma_separated(rows: Rows, *, zone: tzinfo = UTC) -> AsyncIterator[bytes]:
    """Lines, some tens of KiB at a time. Times are `zone`'s with their offset: an hour that comes twice differs.

    Whoever sends it must end the connection in an error where this raises: a file that was cut looks whole.
    """
    chunk = io.StringIO(newline="")
    lines = csv.writer(chunk, lineterminator="\r\n")
    lines.writerow(HEADING)
    async for row in rows:
        lines.writerow(_cells(row, zone))
        if chunk.tell() >= _CHUNK_CHARACTERS:
            yield _taken(chunk)
    yield _taken(chunk)


def _taken(chunk: io.StringIO) -> bytes:
    taken = chunk.getvalue().encode("utf-8", "replace")
    chunk.seek(0)
    chunk.truncate()
    return taken


def _cells(row: Row, zone: tzinfo) -> tuple[object, ...]:
    return (
        text_cell(row.meter),
        _time(row.start, zone),
        _time(row.end, zone),
        row.import_wh,
        row.export_wh,
        row.power_mean_w,
        row.power_min_w,
        row.power_max_w,
        row.coverage_percent,
        row.quality,
        row.version,
    )


def _time(when: datetime, zone: tzinfo) -> str:
    local = when.astimezone(zone)
    return local.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z" if zone is UTC else local.isoformat()
