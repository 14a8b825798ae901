"""segs-edge profiles: which meters the gateway knows, and what it knows of one."""

from typing import Annotated, Any

import msgspec
import typer

from edge.errors import ConfigError
from edge.profiles import catalog
from edge.profiles.modbus.schema import ModbusProfile
from edge.tools import options, table
from edge.tools.outcome import USAGE, fail, show_json


def command(
    name: Annotated[str | None, typer.Argument(help="one profile in detail", show_default=False)] = None,
    as_json: options.AsJson = False,
) -> None:
    """List the known meter profiles, or show one with its registers.

    \b
    Examples:
      segs-edge profiles
      segs-edge profiles eastron-sdm630
    """
    try:
        if name is None:
            _list(as_json=as_json)
        else:
            if options.known_profile(name) == catalog.SUNSPEC:
                fail("sunspec: its registers are what the meter says; segs-edge read shows them", USAGE)
            _one(name, as_json=as_json)
    except ConfigError as error:
        fail(error, USAGE)


class Known(msgspec.Struct, frozen=True):
    """A line of the list. `verified` says that the maker's own document was read."""

    name: str
    kind: str
    model: str
    verified: bool


def _list(*, as_json: bool) -> None:
    meters = {name: catalog.modbus(name) for name in catalog.names("modbus")}
    known = [
        Known(name, "modbus", f"{profile.maker} {profile.model}", profile.verified) for name, profile in meters.items()
    ]
    known.append(Known(catalog.SUNSPEC, "modbus", "any SunSpec meter, by discovery", True))
    dialects = {name: catalog.mqtt(name) for name in catalog.names("mqtt")}
    known += [Known(name, "mqtt", profile.model, profile.verified) for name, profile in dialects.items()]
    if as_json:
        show_json(known)
        return
    rows = [(item.name, item.kind, "verified" if item.verified else "unverified", item.model) for item in known]
    typer.echo("\n".join(table.lines(rows)))


def _one(name: str, *, as_json: bool) -> None:
    kind = "mqtt" if name in catalog.names("mqtt") else "modbus"
    profile = catalog.mqtt(name) if kind == "mqtt" else catalog.modbus(name)
    document: dict[str, Any] = {"name": name, **profile.model_dump(mode="json", exclude_defaults=True)}
    if as_json:
        show_json(document)
        return
    plain = {key: value for key, value in document.items() if not isinstance(value, list | dict) and value != ""}
    typer.echo("\n".join(table.lines([(key, str(value)) for key, value in plain.items()])))
    if isinstance(profile, ModbusProfile):
        blocks = profile.blocks()
        rows = [
            (
                row.quantity,
                row.key,
                row.type,
                row.word_order,
                f"x {row.scale}" if row.scale != 1 else "",
                f"/ {row.divisor}" if row.divisor != 1 else "",
            )
            for row in sorted(profile.registers, key=lambda row: (row.function, row.address))
        ]
        typer.echo("\n" + "\n".join(table.lines(rows)))
        typer.echo(f"\nread in {len(blocks)} requests: {'; '.join(map(str, blocks))}")
