"""`segs-cloud tariff`: what tariffs there are, whose they are, and what one makes of intervals."""

from pathlib import Path
from typing import Annotated

import typer

from cloud.command import group, show, show_json, tell
from cloud.settings import Settings
from cloud.tariffs.answer import answer, shown
from cloud.tariffs.load import load
from cloud.tariffs.rate import rate as rate_series
from cloud.tariffs.series import COLUMNS, parse

app = group(help="Tariffs: what energy and power cost.")

Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


@app.command()
def rate(
    tariff: Annotated[
        Path, typer.Option(exists=True, dir_okay=False, readable=True, help="The tariff, a JSON document.")
    ],
    intervals: Annotated[
        Path,
        typer.Option(
            exists=True,
            dir_okay=False,
            readable=True,
            help=f"CSV with interval_start_utc,import_wh and, where the tariff needs them, {','.join(COLUMNS[1:])}.",
        ),
    ],
    as_json: Json = False,
) -> None:
    """Price intervals of a file by a tariff of a file, by the SQL that bills are made by, and keep nothing."""
    document = load(tariff)
    with intervals.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as lines:
        series = parse(lines, document)
    rated = rate_series(Settings().domain, document, series)
    if as_json:
        show_json(answer(rated))
    else:
        show(shown(rated))
    for gap in series.missing:
        tell(f"{gap}: nothing is charged for them.")
