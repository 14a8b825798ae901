"""`segs-cloud intervals`: intervals from a file of cumulative reads."""

import json
from dataclasses import asdict
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cloud.intervals.compute import Interval, intervals
from cloud.intervals.reads import LARGEST_WH, parse
from cloud.settings import Settings


class Resolution(StrEnum):
    """Length of an interval."""

    QUARTER = "15m"
    HOUR = "1h"


def command(
    reads: Annotated[
        Path,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="CSV with read_at_utc,meter_serial,import_register_wh and, if wanted, export_register_wh.",
        ),
    ],
    resolution: Annotated[Resolution, typer.Option(help="Length of an interval.")] = Resolution.QUARTER,
    rollover_wh: Annotated[
        int | None, typer.Option(min=1, max=LARGEST_WH, help="Where the registers wrap to 0, Wh.")
    ] = None,
    max_power_w: Annotated[
        float,
        typer.Option(min=1, help="What the connection can carry, W: a register that moves faster is not believed."),
    ] = 1e6,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON list instead of a table.")] = False,
) -> None:
    """Compute intervals from cumulative reads, by the SQL that computes those of gateways, and keep nothing."""
    # Serial numbers are only compared, so that they may be in any encoding; all else is ASCII.
    with reads.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as lines:
        found = parse(lines)
    computed = intervals(
        Settings().telemetry, found, resolution=resolution, rollover_wh=rollover_wh, max_power_w=max_power_w
    )
    if as_json:
        print(json.dumps([asdict(one) for one in computed], default=_utc))
    else:
        Console().print(_table(computed))


def _utc(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")


def _table(computed: list[Interval]) -> Table:
    table = Table("start, UTC", "import, Wh", "export, Wh", "quality", "coverage, %")
    for one in computed:
        numbers = ("" if number is None else str(number) for number in (one.import_wh, one.export_wh))
        table.add_row(f"{one.start:%Y-%m-%d %H:%M}", *numbers, str(one.quality), f"{one.coverage:g}")
    return table
