"""`segs-cloud gateway`: gateways, their keys, and which device is which meter."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import psycopg
import typer
from rich.console import Console

from cloud.command import DEFAULT_MAX_POWER_W, group, show_json, tell, watts
from cloud.db.errors import domain_error
from cloud.db.queries import Queries
from cloud.errors import CloudError, UnknownGateway
from cloud.gateways.devices import Device, read_devices
from cloud.gateways.health import Gateway, look
from cloud.gateways.key import Key
from cloud.gateways.show import LEAST_WIDTH, details, overview
from cloud.operator import bring_in_step, domain_transaction, registration, telemetry_database

app = group(help="Gateways, their keys and devices.")
devices = group(help="Which device of a gateway is which meter.")
app.add_typer(devices, name="device")

_QUERIES = Queries("gateway")
Name = Annotated[str, typer.Argument(help="The gateway's name, as in its own configuration.")]
KeyFile = Annotated[Path | None, typer.Option(help="Write the key to this new file (mode 0600) instead of the screen.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


@app.command()
def add(name: Name, key_file: KeyFile = None) -> None:
    """Add a gateway. Its key is shown now and never again."""
    _give_key("gateway_add", name, key_file)


@app.command()
def key_add(name: Name, key_file: KeyFile = None) -> None:
    """Give a gateway another key; the ones it has stay valid until they are revoked."""
    _give_key("gateway_key_add", name, key_file)


def _give_key(query: str, name: str, key_file: Path | None) -> None:
    key = Key.generate()
    # The file comes first: a key that is registered but could not be kept would be of no use to anybody.
    try:
        descriptor = None if key_file is None else os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise CloudError(f"{key_file} exists already and may hold a key in use; name a new file") from None
    try:
        with domain_transaction() as domain:
            domain.execute(_QUERIES[query], {"name": name, "key_hash": key.digest, "now": _now()})
    except BaseException:
        if key_file is not None:
            key_file.unlink()
        raise
    if descriptor is None:
        typer.echo(key.text)
        tell("Keep it: it is stored nowhere and cannot be shown again.")
    else:
        with os.fdopen(descriptor, "w") as file:
            file.write(key.text + "\n")
        tell(f"The key of {name} is in {key_file}, and nowhere else.")
    # Now that the key is kept: where the telemetry database is away, the workers do this once it is back.
    bring_in_step()


@app.command()
def key_revoke(name: Name, key_id: Annotated[int, typer.Argument(help="From `segs-cloud gateway list`.")]) -> None:
    """Revoke a key: from the next batch on it is refused."""
    with registration() as domain:
        domain.execute(_QUERIES["key_revoke"], {"name": name, "key_id": key_id, "now": _now()})


@app.command("list")
def list_(as_json: Json = False) -> None:
    """Gateways with their keys and devices, and how they are doing."""
    gateways = _look()
    if as_json:
        show_json([gateway.summary() for gateway in gateways])
    else:
        console = Console()
        Console(width=max(console.width, LEAST_WIDTH)).print(overview(gateways))


@app.command()
def show(name: Name, as_json: Json = False) -> None:
    """Everything that is known of one gateway."""
    found = [gateway for gateway in _look() if gateway.registered.name == name]
    if not found:
        raise UnknownGateway(name)
    if as_json:
        show_json(found[0].summary())
    else:
        typer.echo("\n".join(details(found[0])))


def _look() -> list[Gateway]:
    with domain_transaction() as domain, telemetry_database() as telemetry:
        return look(domain, telemetry, _now())


@devices.command("add")
def device_add(
    name: Name,
    device: Annotated[str, typer.Argument(help="The gateway's name of the device; name/n for its channel n.")],
    region: Annotated[str, typer.Option(help="Region that the meter counts in; made if need be.")],
    model: Annotated[
        str,
        typer.Option(
            help="Maker and model, best as the gateway's profile has it. For people, and to tell serial numbers of two "
            "makers apart: the cloud has no list of models, and reads nothing differently."
        ),
    ],
    interval_ms: Annotated[
        int, typer.Option(min=1, max=2**31 - 1, help="Expected time between two readings, milliseconds.")
    ],
    timezone: Annotated[str, typer.Option(help="IANA zone of the meter's days and bills.")] = "UTC",
    max_power_w: Annotated[
        float, typer.Option(parser=watts, metavar="W", help="Highest power that the connection carries.")
    ] = DEFAULT_MAX_POWER_W,
    serial: Annotated[str | None, typer.Option(help="Serial number on the meter's plate.")] = None,
    meter_code: Annotated[str | None, typer.Option(help="Code of a meter that exists; else a new one is made.")] = None,
) -> None:
    """Register a device and print its meter code. Readings that wait in the quarantine for it are stored then."""
    one = Device(device, model, region, timezone, interval_ms, max_power_w, serial, meter_code)
    with domain_transaction() as domain:
        said = _make_region(domain, one)
        code = _register(domain, name, one)
    typer.echo(code)
    if said:
        tell(said)
    bring_in_step()


@devices.command("import")
def device_import(
    name: Name,
    file: Annotated[
        Path, typer.Argument(help="CSV with a heading, as `segs-edge check-config --devices-csv` prints it.")
    ],
    region: Annotated[str | None, typer.Option(help="Region of the rows that name none; made if need be.")] = None,
    timezone: Annotated[str, typer.Option(help="IANA zone of the rows that name none.")] = "UTC",
) -> None:
    """Register the devices of a CSV file, all or none; those registered already are left as they are."""
    wanted = read_devices(file, region=region, timezone=timezone)
    with domain_transaction() as domain:
        known = {row[0] for row in domain.execute(_QUERIES["devices_of"], {"name": name})}
        fresh = [device for device in wanted if device.device not in known]
        codes, said = _register_all(domain, name, file, fresh)
    for device, code in zip(fresh, codes, strict=True):
        typer.echo(f"{device.device} {code}")
    for sentence in said:
        tell(sentence)
    tell(f"{len(fresh)} registered, {len(wanted) - len(fresh)} were registered already")
    bring_in_step()


@devices.command("remove")
def device_remove(name: Name, device: Annotated[str, typer.Argument(help="The gateway's name of the device.")]) -> None:
    """End a registration now; what was read before stays the meter's."""
    with registration() as domain:
        domain.execute(_QUERIES["device_unregister"], {"name": name, "device": device, "now": _now()})


def _make_region(domain: psycopg.Connection, device: Device) -> str | None:
    """A sentence where a region was made that is not the first: a slip of the pen makes one."""
    place = {"region": device.region, "timezone": device.timezone, "now": _now()}
    made = domain.execute(_QUERIES["region_make"], place).fetchone()
    return f"The region {device.region} is new; besides it there are: {made[0]}." if made and made[0] else None


def _register(domain: psycopg.Connection, gateway: str, device: Device) -> str:
    """The meter's code."""
    row = domain.execute(_QUERIES["device_register"], device.parameters | {"name": gateway, "now": _now()}).fetchone()
    assert row is not None
    return str(row[1])


def _register_all(
    domain: psycopg.Connection, gateway: str, file: Path, devices: list[Device]
) -> tuple[list[str], list[str]]:
    """The codes of the meters, and what there is to say of regions. Raises CloudError for the first refusal."""
    codes, said, regions = [], [], set()
    for device in devices:
        try:
            if device.region not in regions:
                regions.add(device.region)
                said.append(_make_region(domain, device))
            codes.append(_register(domain, gateway, device))
        except psycopg.Error as error:
            refusal = domain_error(error)
            if refusal is None:
                raise
            raise CloudError(f"{file}: device {device.device!r}: {refusal}; no row was registered") from error
    return codes, [sentence for sentence in said if sentence]


def _now() -> datetime:
    return datetime.now(UTC)
