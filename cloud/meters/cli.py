"""`segs-cloud meter`: where meters are."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from cloud.db.queries import Queries
from cloud.instant import parse
from cloud.operator import registration

app = typer.Typer(no_args_is_help=True, help="Where meters are.")

_QUERIES = Queries("meter")


@app.callback()
def meter() -> None:
    """Where meters are."""


@app.command()
def move(
    code: Annotated[str, typer.Argument(help="Code of the meter, MTR-00000001.")],
    region: Annotated[str, typer.Option(help="Region that it counts in from then on.")],
    timezone: Annotated[str | None, typer.Option(help="IANA zone of its days and bills; else the region's.")] = None,
    since: Annotated[str | None, typer.Option("--from", help="When, 2026-03-01T00:00Z; else now.")] = None,
) -> None:
    """A meter is in another region. What was before stays as it was; the regions' sums since then are made again."""
    now = datetime.now(UTC)
    what = {
        "code": code,
        "region": region,
        "timezone": timezone,
        "now": now,
        "from": now if since is None else parse(since),
    }
    with registration() as domain:
        domain.execute(_QUERIES["move"], what)
