"""`segs-cloud meter`: which meters there are; meters that move, are exchanged, or have registers that wrap."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated

import psycopg
import typer

from cloud.command import Since, a_time, group, modulus, show_json, span, tell, there_are, watt_hours, watts
from cloud.command import show as show_parts
from cloud.db.queries import Queries
from cloud.errors import CloudError, UnknownGateway, UnknownMeter, UnknownRegion
from cloud.instant import written
from cloud.meters.exchange import ContradictedByReadings, contradictions, revoked, told
from cloud.meters.show import QUANTITIES, connected, details, overview
from cloud.operator import Row, bring_in_step, domain_transaction, rows, telemetry_database

app = group(help="Meters: which there are; those that move, are exchanged, or have registers that wrap.")

_QUERIES = Queries("meter")
Code = Annotated[str, typer.Argument(help="Code of the meter, MTR-00000001.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
Reason = Annotated[str, typer.Option(help="Why; it is kept.")]
At = Annotated[datetime, typer.Option(parser=a_time, metavar="TIME", help="When, 2026-11-27T09:30Z.")]
Read = Annotated[
    int | None,
    typer.Option(parser=watt_hours, metavar="WH", help="Read at that instant; leave it out if nobody took it."),
]


@app.command("list")
def list_(
    region: Annotated[str | None, typer.Option(help="Only those that are there now.")] = None,
    gateway: Annotated[str | None, typer.Option(help="Only those that it reads now.")] = None,
    as_json: Json = False,
) -> None:
    """Meters, with their place and their device."""
    wanted = {"now": _now(), "region": region, "gateway": gateway}
    with domain_transaction() as domain:
        [named] = rows(domain, _QUERIES["named"], wanted)
        if region is not None and not named["region_known"]:
            raise UnknownRegion(region, there_are(named["regions"]))
        if gateway is not None and not named["gateway_known"]:
            raise UnknownGateway(gateway, there_are(named["gateways"]))
        found = rows(domain, _QUERIES["list"], wanted)
    if as_json:
        show_json(found)
    elif found:
        show_parts(overview(found))
    if not found:
        where = [f"{name} {value}" for name, value in (("region", region), ("gateway", gateway)) if value]
        tell(f"There is no meter{' of ' + ' and '.join(where) if where else ''} now.")


@app.command()
def show(code: Code, as_json: Json = False) -> None:
    """Everything that is known of one meter: places, devices, owner, tariff, registers with last reads, exchanges."""
    with domain_transaction() as domain, telemetry_database() as telemetry:
        number = {"meter_id": _require_meter(domain, code), "now": _now()}
        [meter] = rows(domain, _QUERIES["meter"], {"code": code})
        now = {name: rows(domain, _QUERIES[name], {"code": code, **number}) for name in ("owner", "tariff")}
        lists = {name: rows(domain, _QUERIES[name], {"code": code}) for name in ("places", "devices", "exchanges")}
        last = rows(telemetry, _QUERIES["last_reading"], number)
        registers = rows(telemetry, _QUERIES["last_reads"], number)
    named = [{"quantity": QUANTITIES[register.pop("register")], **register} for register in registers]
    meter |= {name: found[0] if found else None for name, found in now.items()}
    meter |= {**lists, "last_reading": last[0] if last else None, "registers": named}
    if as_json:
        show_json(meter)
    else:
        show_parts(*details(meter))


@app.command()
def move(
    code: Code,
    region: Annotated[str, typer.Option(help="Region that it counts in from then on.")],
    timezone: Annotated[str | None, typer.Option(help="IANA zone of its days and bills; else the region's.")] = None,
    since: Since = None,
) -> None:
    """A meter is in another region. What was before stays as it was; the regions' sums since then are made again."""
    now = _now()
    begin = since or now
    with domain_transaction() as domain:
        _require_meter(domain, code)
        before = rows(domain, _QUERIES["places"], {"code": code})
        what = {"code": code, "region": region, "timezone": timezone, "now": now, "from": begin}
        domain.execute(_QUERIES["move"], what)
        after = rows(domain, _QUERIES["places"], {"code": code})
    later = [place for place in after if place["from"] is not None and place["from"] > begin]
    here = after[len(after) - len(later) - 1]
    if after == before:
        tell(f"{code}: is in {_place(here)} at {written(begin)} already; nothing changed.")
    else:
        end = f" to {written(here['to'])}" if here["to"] else " on"
        tell(f"{code}: is in {_place(here)} from {written(begin)}{end}.")
    if later:
        moves = "; ".join(f"to {_place(place)} at {written(place['from'])}" for place in later)
        tell(f"Moves after that stand as they were: {moves}.")
    bring_in_step()


@app.command()
def generation(
    code: Code,
    generator: Annotated[
        str | None, typer.Argument(help="Code of the meter that feeds in what is generated; none without one.")
    ] = None,
    since: Since = None,
) -> None:
    """What is generated behind a meter, another one measures: for tariffs that buy all and sell all."""
    now = _now()
    with domain_transaction() as domain:
        domain.execute(_QUERIES["generation"], {"code": code, "generator": generator, "from": since or now, "now": now})
        found = rows(domain, _QUERIES["generators"], {"code": code})
    told = "\n".join(f"{code}: {one['generator']} {span(one)}." for one in found)
    tell(told or f"{code}: nothing measures what is generated.")


@app.command()
def give(
    code: Code,
    email: Annotated[str | None, typer.Argument(help="Address of the user whose it is; nobody's without one.")] = None,
    since: Since = None,
) -> None:
    """A meter is a user's from then on. What it measured before is for nobody to see but who had it."""
    now = _now()
    with domain_transaction() as domain:
        domain.execute(
            Queries("people")["give_meter"], {"code": code, "email": email, "from": since or now, "now": now}
        )
    tell(f"{code}: is {email.lower() if email else 'nobody'}'s from {written(since or now)} on.")


@app.command()
def exchange(
    code: Code,
    serial: Annotated[str, typer.Option(help="Serial number of the new meter.")],
    model: Annotated[
        str | None,
        typer.Option(help="Model of the new meter, if it is another one; for people, as with gateway device add."),
    ] = None,
    at: Annotated[
        datetime | None, typer.Option(parser=a_time, metavar="TIME", help="When, 2026-11-27T09:30Z; else now.")
    ] = None,
    final_import_wh: Read = None,
    final_export_wh: Read = None,
    first_import_wh: Read = None,
    first_export_wh: Read = None,
    despite: Annotated[
        str | None,
        typer.Option("--despite-readings", metavar="REASON", help="Record it against the readings; why is kept."),
    ] = None,
) -> None:
    """Another meter measures from then on: up to the final reads of the old one, and from the first of the new."""
    now = _now()
    when = at or now
    what = {
        "code": code,
        "serial": serial,
        "model": model,
        "at": when,
        "final_import_wh": final_import_wh,
        "final_export_wh": final_export_wh,
        "first_import_wh": first_import_wh,
        "first_export_wh": first_export_wh,
        "now": now,
    }
    with domain_transaction() as domain:
        meter_id = _require_meter(domain, code)
        reads = _reads_around(meter_id, what)
        against = contradictions(reads)
        [done] = rows(domain, _QUERIES["exchange"], {**what, "despite": despite if against else None})
        if against and despite is None:
            raise ContradictedByReadings(code, against)
    tell("\n".join(told(code, when, done, reads, against)))
    if despite is not None and not against:
        tell("No reading contradicts it: --despite-readings was not needed, and its reason is not kept.")
    bring_in_step()


@app.command()
def exchange_revoke(code: Code, at: At, reason: Reason) -> None:
    """An exchange that was told never happened: model and serial number of before hold, and registers go on."""
    now = _now()
    with domain_transaction() as domain:
        meter_id = _require_meter(domain, code)
        [done] = rows(domain, _QUERIES["exchange_revoke"], {"code": code, "at": at, "reason": reason, "now": now})
    names = ("final_import_wh", "final_export_wh", "first_import_wh", "first_export_wh")
    reads = _reads_around(meter_id, {"at": at, "now": now, **dict.fromkeys(names)})
    tell("\n".join(revoked(code, at, done, reads)))
    bring_in_step()


@app.command()
def registers(
    code: Code,
    rollover_wh: Annotated[
        int | None, typer.Option(parser=modulus, metavar="WH", help="Where its registers wrap to 0.")
    ] = None,
    resets: Annotated[
        bool | None, typer.Option("--resets/--no-resets", help="Whether they may begin again at any time.")
    ] = None,
) -> None:
    """Say how a meter's registers behave. What is kept of their reads is looked at again."""
    if rollover_wh is None and resets is None:
        raise typer.BadParameter("neither --rollover-wh nor --resets; give one or both")
    what = {"code": code, "modulus_wh": rollover_wh, "resets": resets, "now": _now()}
    with domain_transaction() as domain:
        meter_id = _require_meter(domain, code)
        with telemetry_database() as telemetry:
            last = rows(telemetry, _QUERIES["last_reads"], {"meter_id": meter_id})
        _require_wrap(code, rollover_wh, last)
        domain.execute(_QUERIES["registers"], what)
        [meter] = rows(domain, _QUERIES["meter"], {"code": code})
    wrap = "at no known value" if meter["rollover_wh"] is None else f"at {meter['rollover_wh']} Wh"
    tell(
        f"{code}: registers wrap {wrap}, and {'may' if meter['resets'] else 'may not'} begin again at any time. "
        "A worker looks at what is kept of their reads again, within minutes."
    )
    bring_in_step()


def _phases(text: str) -> int:
    """Parser of phases; their bits."""
    names = [part.strip() for part in text.split(",")]
    if not set(names) <= {"1", "2", "3"} or len(set(names)) < len(names):
        raise typer.BadParameter(f"{text!r} are no phases; write 1,2,3 or those that are connected")
    return sum(1 << (int(name) - 1) for name in names)


@app.command()
def connection(
    code: Code,
    nominal_voltage_v: Annotated[
        float | None, typer.Option(min=1, max=1e6, help="Nominal voltage between phase and neutral, V.")
    ] = None,
    phases: Annotated[
        int | None, typer.Option(parser=_phases, metavar="PHASES", help="Phases that are connected: 1 or 1,2,3.")
    ] = None,
    rated_power_w: Annotated[
        float | None,
        typer.Option(parser=watts, metavar="W", help="Power that it is rated for; overload is told by it."),
    ] = None,
    exports: Annotated[
        bool | None,
        typer.Option("--exports/--no-exports", help="Whether it may feed in; else its tariff and generators say so."),
    ] = None,
    site: Annotated[str | None, typer.Option(help="Building or plant.")] = None,
) -> None:
    """Say what alerts have to know of a meter's connection. What is not given stays."""
    what: Row = {"nominal_voltage_v": nominal_voltage_v, "phases": phases, "rated_power_w": rated_power_w}
    what |= {"exports": exports, "site": site}
    if all(value is None for value in what.values()):
        raise typer.BadParameter("nothing is said of it; give one option or more")
    with domain_transaction() as domain:
        _require_meter(domain, code)
        domain.execute(_QUERIES["connection"], {"code": code, **what})
        [meter] = rows(domain, _QUERIES["meter"], {"code": code})
    tell(f"{code}: {connected(meter)}.")


def _now() -> datetime:
    return datetime.now(UTC)


def _place(place: Row) -> str:
    return f"{place['region']} ({place['timezone']})"


def _require_meter(domain: psycopg.Connection, code: str) -> int:
    """Its number. Raises UnknownMeter."""
    found = rows(domain, _QUERIES["known"], {"code": code})
    if not found:
        raise UnknownMeter(code)
    return int(found[0]["meter_id"])


def _reads_around(meter_id: int, what: Mapping[str, object]) -> list[Row]:
    with telemetry_database() as telemetry:
        return rows(telemetry, _QUERIES["exchange_reads"], {"meter_id": meter_id, **what})


def _require_wrap(code: str, rollover_wh: int | None, last: list[Row]) -> None:
    for read in last:
        if rollover_wh is not None and read["value"] is not None and read["value"] >= rollover_wh:
            raise CloudError(
                f"{code}: {QUANTITIES[read['register']]} was {read['value']} at {written(read['last_read_at'])}, "
                f"beyond {rollover_wh}; give the number after the largest that its display can show, in Wh"
            )
