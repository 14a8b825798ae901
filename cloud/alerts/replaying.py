"""`segs-cloud alerts replay`: what rules would have raised."""

import math
from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import typer

from cloud.alerts.replay import Episode, Trial, replay, unkept
from cloud.command import a_time, require_span, show_json, table, tell
from cloud.command import show as show_parts
from cloud.instant import written
from cloud.operator import domain_database, telemetry_database

_MOST = 200
_LONGEST_S = 30 * 86400
_NAMES = {1: "minutes", 15: "quarter-hours"}


def _finite(value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is no number")
    return value


def command(
    since: Annotated[datetime, typer.Option("--from", parser=a_time, metavar="TIME", help="From when.")],
    until: Annotated[datetime, typer.Option("--to", parser=a_time, metavar="TIME", help="Until when.")],
    rule: Annotated[list[str] | None, typer.Option(help="Only this rule; may be repeated.")] = None,
    meter: Annotated[list[str] | None, typer.Option(help="Only the meter with this code; may be repeated.")] = None,
    raise_at: Annotated[
        float | None, typer.Option(callback=_finite, help="Try this threshold, in the unit of the rule.")
    ] = None,
    clear_at: Annotated[
        float | None, typer.Option(callback=_finite, help="Try this one at which it is over; else --raise-at.")
    ] = None,
    worse_at: Annotated[
        float | None, typer.Option(callback=_finite, help="Try this one beyond which it is worse.")
    ] = None,
    for_s: Annotated[
        int | None, typer.Option(min=0, max=_LONGEST_S, help="Try that it has to last so long, seconds.")
    ] = None,
    keep_s: Annotated[
        int | None, typer.Option(min=0, max=_LONGEST_S, help="Try that it has to be over so long, seconds.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Run rules over history and tell what they would have raised, as they are or with other thresholds.

    Nothing is raised, and nobody is told. Rules of minutes look at what is kept of minutes, 30 days.
    """
    require_span(since, until)
    trial = Trial(raise_at=raise_at, clear_at=clear_at, worse_at=worse_at, for_s=for_s, keep_s=keep_s)
    chosen = rule or []
    if trial != Trial() and len(chosen) != 1:
        raise typer.BadParameter("thresholds and times are of one rule: give --rule, once")
    trials = {} if trial == Trial() else {chosen[0]: trial}
    with domain_database() as domain, telemetry_database(autocommit=True) as telemetry:
        told = replay(domain, telemetry, since=since, until=until, meters=meter or [], trials=trials, only=chosen)
        found = list(told)
        gone = unkept(domain, telemetry, since=since, until=until, meters=meter or [], only=chosen)
    for step_min in gone:
        name = _NAMES[step_min]
        tell(f"No {name} of these meters are kept in that span: rules of {name} found nothing to look at.")
    if as_json:
        show_json([asdict(one) for one in found])
        return
    title = f"{len(found)} alerts" + (f", the first {_MOST}" if len(found) > _MOST else "")
    made = table(title, "rule", "meter", "severity", "since", "fired", "over", "at worst")
    for one in sorted(found, key=lambda one: one.started_at)[:_MOST]:
        made.add_row(*_row(one))
    show_parts(made)


def _row(one: Episode) -> tuple[str, ...]:
    of = one.meter + (f", phase {one.phase}" if one.phase else "")
    over = "-" if one.resolved_at is None else written(one.resolved_at)
    worst = f"{one.worst:g} {one.unit}".strip()
    return one.rule, of, one.severity, written(one.started_at), written(one.fired_at), over, worst
