"""What all commands of `segs-cloud` have in common: how times are given, how results are shown and deeds are told."""

import json
from collections.abc import Mapping
from datetime import date, datetime
from math import inf, nan
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from cloud.errors import InputError
from cloud.instant import parse, written

# Wider than any table is: rich would cut names and numbers at the terminal's width.
_UNBOUNDED = 10_000
LARGEST_WH = 10**13
"""No register shows more; sums of years of it fit into the databases' numbers."""
DEFAULT_MAX_POWER_W = 1e6
"""What a connection can carry of which nobody says it, as in the schemas."""


def group(*, help: str, name: str | None = None) -> typer.Typer:
    """A group of commands. What is wrong with a command line is told in lines that no frame breaks."""
    return typer.Typer(
        name=name,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        help=help,
    )


def a_time(text: str) -> datetime:
    """Parser of an option that takes an instant."""
    try:
        return parse(text)
    except InputError as error:
        raise typer.BadParameter(str(error)) from None


Since = Annotated[
    datetime | None, typer.Option("--from", parser=a_time, metavar="TIME", help="When, 2026-11-27T10:00Z; else now.")
]
"""From when something holds."""


def a_day(text: str) -> date:
    """Parser of an option that takes a day of the meters' own calendar."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no day; write 2026-11-27") from None


def watt_hours(text: str, *, least: int = 0, unit: str = "Wh") -> int:
    """Parser of an option that takes energy or the read of a register."""
    if not (text.isdecimal() and text.isascii() and len(text) <= 14 and least <= int(text) <= LARGEST_WH):
        raise typer.BadParameter(f"{text!r} is no number of {unit}; give a whole one, {least} to {LARGEST_WH}")
    return int(text)


def var_hours(text: str) -> int:
    """Parser of an option that takes reactive energy."""
    return watt_hours(text, unit="varh")


def modulus(text: str) -> int:
    """Parser of an option that says where a register wraps."""
    return watt_hours(text, least=1)


def watts(text: str) -> float:
    """Parser of an option that says what a connection carries."""
    try:
        found = float(text)
    except ValueError:
        found = nan
    if not 0 < found < inf:
        raise typer.BadParameter(f"{text!r} is no power that a connection carries; give W, more than 0")
    return found


def there_are(names: list[str]) -> str:
    """What there is, for who named something else."""
    return f"there {'is' if len(names) == 1 else 'are'} {', '.join(names)}" if names else "there is none yet"


def require_span(first: datetime, last: datetime) -> None:
    """Raises typer.BadParameter where `--from` is not before `--to`."""
    if first >= last:
        raise typer.BadParameter(
            f"--from {written(first)} is not before --to {written(last)}; give the earlier one first"
        )


def span(one: Mapping[str, Any]) -> str:
    """From when to when a row with `from` and `to` holds, None where it has no such end."""
    begin = "always" if one["from"] is None else f"from {written(one['from'])}"
    return f"{begin} to {written(one['to'])}" if one["to"] else f"{begin} on"


def show_json(document: object) -> None:
    """One JSON document on standard output, times in UTC."""
    typer.echo(json.dumps(document, default=_text))


def _text(value: object) -> str:
    return written(value) if isinstance(value, datetime) else str(value)


def table(title: str, *columns: str) -> Table:
    """A table without frames; its cells are never cut."""
    made = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column in columns:
        made.add_column(column, no_wrap=True)
    return made


def show(*parts: Table | str) -> None:
    """Tables and lines of text on standard output, for people."""
    console = Console(width=_UNBOUNDED)
    for part in parts:
        if isinstance(part, str):
            typer.echo(part)
            continue
        with console.capture() as drawn:
            console.print(part)
        # Cells are filled up to their column's width, the last ones too.
        typer.echo("\n".join(line.rstrip() for line in drawn.get().splitlines()))


def tell(sentence: str) -> None:
    """What was done, or what an answer lacks: on standard error, so that standard output has results and no more."""
    typer.echo(sentence, err=True)
