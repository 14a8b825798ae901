"""`segs-cloud intervals`: intervals from a file of cumulative reads."""

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from rich.table import Table

from cloud.command import DEFAULT_MAX_POWER_W, modulus, show, show_json, table, tell, watts
from cloud.instant import written
from cloud.intervals.compute import Interval, intervals
from cloud.intervals.reads import parse
from cloud.settings import Settings


class Resolution(StrEnum):
    """Length of an interval. Minutes are left out: reads that people have in files are farther apart."""

    QUARTER = "15m"
    HOUR = "1h"
    DAY = "1d"
    MONTH = "1mo"


def _zone(text: str) -> ZoneInfo:
    try:
        return ZoneInfo(text)
    except (KeyError, ValueError, OSError):
        raise typer.BadParameter(f"{text!r} is no time zone; give an IANA name: Europe/Berlin, or UTC") from None


def command(
    reads: Annotated[
        Path,
        typer.Option(
            exists=True,
            dir_okay=False,
            readable=True,
            help="CSV with read_at_utc,meter_serial,import_register_wh and, if wanted, export_register_wh.",
        ),
    ],
    resolution: Annotated[Resolution, typer.Option(help="Length of an interval.")] = Resolution.QUARTER,
    zone: Annotated[
        ZoneInfo | None,
        typer.Option(parser=_zone, metavar="ZONE", help="IANA zone of the days and months of 1d and 1mo; else UTC."),
    ] = None,
    rollover_wh: Annotated[
        int | None, typer.Option(parser=modulus, metavar="WH", help="Where the registers wrap to 0.")
    ] = None,
    max_power_w: Annotated[
        float,
        typer.Option(
            parser=watts,
            metavar="W",
            help="What the connection can carry: a register that moves faster is not believed.",
        ),
    ] = DEFAULT_MAX_POWER_W,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of a table.")] = False,
) -> None:
    """Compute intervals from cumulative reads, by the SQL that computes those of gateways, and keep nothing.

    The reads say how often the meter is read: the median of the times between them is what coverage counts by.
    """
    if zone is not None and resolution not in (Resolution.DAY, Resolution.MONTH):
        raise typer.BadParameter("--zone is for 1d and 1mo; hours and quarter-hours are those of UTC, so leave it out")
    # Serial numbers are only compared, so that they may be in any encoding; all else is ASCII.
    with reads.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as lines:
        found = parse(lines, rollover_wh=rollover_wh)
    zone = zone or ZoneInfo("UTC")
    single = found.reads[0] if len(found.reads) == 1 else None
    computed = []
    if single is None:
        computed = intervals(
            Settings().telemetry,
            found,
            resolution=resolution,
            zone=zone.key,
            rollover_wh=rollover_wh,
            max_power_w=max_power_w,
        )
    if as_json:
        show_json([asdict(one) for one in computed])
    elif computed:
        show(_table(computed, zone))
    if single is not None:
        tell(
            f"row {single.row} is the only read, of {written(single.at)}: energy is what a register moves by between "
            "two; add another."
        )


def _table(computed: list[Interval], zone: ZoneInfo) -> Table:
    made = table(
        f"{len(computed)} intervals", f"start, {zone.key}", "import, Wh", "export, Wh", "quality", "coverage, %"
    )
    for one in computed:
        numbers = ("-" if number is None else str(number) for number in (one.import_wh, one.export_wh))
        start = f"{one.start.astimezone(zone):%Y-%m-%d %H:%M}"
        made.add_row(start, *numbers, str(one.quality), f"{one.coverage:g}")
    return made
