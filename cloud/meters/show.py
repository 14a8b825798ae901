"""Meters for people: a table of all, and the details of one."""

from collections.abc import Iterator
from datetime import datetime

from rich.markup import escape
from rich.table import Table

from cloud.command import table
from cloud.instant import written
from cloud.operator import Row
from cloud.printable import printable

QUANTITIES = {
    1: "energy_import_wh",
    2: "energy_export_wh",
    3: "reactive_energy_import_varh",
    4: "reactive_energy_export_varh",
}


def overview(meters: list[Row]) -> Table:
    shown = table(f"{len(meters)} meters", "meter", "model", "serial", "region", "zone", "device", "each")
    for one in meters:
        device = "-" if one["device"] is None else f"{one['gateway']}/{one['device']}"
        each = "-" if one["interval_ms"] is None else f"{one['interval_ms'] / 1000:g} s"
        names = (one["model"], one["serial"], one["region"], one["timezone"], device)
        shown.add_row(one["code"], *(escape(printable(name or "-")) for name in names), each)
    return shown


def details(meter: Row) -> Iterator[str]:
    """Lines of name and value; `meter` is what `segs-cloud meter show --json` says."""
    plate = " ".join(filter(None, (meter["model"], meter["serial"]))) or "of no known model"
    yield f"{meter['code']}: {printable(plate)}"
    yield f"connection: {meter['max_power_w']:.10g} W; {connected(meter)}"
    wrap = "at no known value" if meter["rollover_wh"] is None else f"at {meter['rollover_wh']} Wh"
    yield f"registers wrap: {wrap}; {'may' if meter['resets'] else 'may not'} begin again at any time"
    for place in meter["places"]:
        yield f"place: {place['region']} ({place['timezone']}){_span(place)}"
    for device in meter["devices"]:
        yield f"device: {device['gateway']}/{device['device']}, each {device['interval_ms'] / 1000:g} s{_span(device)}"
    if not meter["devices"]:
        yield "device: none"
    owner, tariff = meter["owner"], meter["tariff"]
    yield f"owner: {'nobody' if owner is None else _person(owner) + _span(owner)}"
    yield f"tariff: {'none' if tariff is None else tariff['code'] + _span(tariff)}"
    last = meter["last_reading"]
    if last is None:
        yield "last reading: none of those that are kept"
    else:
        power = "" if last["power_w"] is None else f", {last['power_w']:g} W"
        yield f"last reading: {written(last['time'])}{power}"
    for register in meter["registers"]:
        known = register["last_read_at"]
        read = "its reads are no longer kept" if known is None else f"{register['value']}, read at {written(known)}"
        yield f"{register['quantity']}: {read}"
    for exchange in meter["exchanges"]:
        yield _exchange(exchange)


def connected(meter: Row) -> str:
    """What alerts know of its connection."""
    bits, rated, feeds = meter["phases"], meter["rated_power_w"], meter["exports"]
    phases = "those that had voltage" if bits is None else ",".join(str(n) for n in (1, 2, 3) if bits >> (n - 1) & 1)
    parts = [f"nominal {meter['nominal_voltage_v']:.10g} V", f"phases {phases}"]
    parts.append("of unknown rating" if rated is None else f"rated {rated:.10g} W")
    if feeds is not None:
        parts.append("feeds in" if feeds else "does not feed in")
    return ", ".join([*parts, *([f"site {printable(meter['site'])}"] if meter["site"] else [])])


def _person(owner: Row) -> str:
    """By address; by number after they left."""
    return printable(owner["email"] or f"user {owner['user_id']}")


def _span(row: Row) -> str:
    ends = ((name, row[name]) for name in ("from", "to"))
    return "".join(f" {name} {written(when)}" for name, when in ends if isinstance(when, datetime))


def _exchange(exchange: Row) -> str:
    plates = [f"{exchange[f'{which}_model'] or '-'} {exchange[f'{which}_serial'] or '-'}" for which in ("old", "new")]
    reads = "".join(
        f"; {name} final {_wh(exchange[f'final_{name}_wh'])}, first {_wh(exchange[f'first_{name}_wh'])}"
        for name in ("import", "export")
        if exchange[f"final_{name}_wh"] is not None or exchange[f"first_{name}_wh"] is not None
    )
    line = f"exchange: {written(exchange['exchanged_at'])}, {' for '.join(plates[::-1])}{reads}"
    if exchange["despite"]:
        line += f"; recorded against readings: {exchange['despite']}"
    if exchange["revoked_at"]:
        line += f"; revoked {written(exchange['revoked_at'])}: {exchange['revoked_reason']}"
    return printable(line)


def _wh(value: int | None) -> str:
    return "not read" if value is None else f"{value} Wh"
