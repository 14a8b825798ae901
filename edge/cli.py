"""segs-edge: run the gateway, check its configuration, see how it is; find, read, record and write meters by hand."""

import errno
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from edge import VERSION
from edge.errors import ConfigError, DataDirUnusable, EdgeError

if TYPE_CHECKING:
    from edge.config.models import Config

# Whatever a command needs it imports itself: the daemon must not carry the tools, nor a tool the daemon.
_APP = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None, help=__doc__
)
_OWN = ("run", "check-config", "status", "--version")
_TOOLS = ("scan", "read", "decode", "record", "write", "rejected", "explain", "profiles")
_CONFIG_ERROR = 2
_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)
_ConfigOption = Annotated[Path, typer.Option("--config", help="the gateway's TOML file")]


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"segs-edge {VERSION}")
        raise typer.Exit


@_APP.callback()
def _segs_edge(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="show the version and exit")
    ] = False,
) -> None:
    pass


@_APP.command()
def run(config_file: _ConfigOption) -> None:
    """Poll, buffer and sync until SIGTERM."""
    import structlog

    from edge import app, log

    settings = _load(config_file)
    log.configure(settings.log)
    try:
        app.main(settings)
    except ConfigError as error:
        _fail(error, _CONFIG_ERROR)
    except EdgeError as error:
        structlog.get_logger("edge.cli").error("ended", reason=str(error))
        raise typer.Exit(1) from error


@_APP.command("check-config")
def check_config(
    config_file: Annotated[Path, typer.Argument(help="the gateway's TOML file")],
    devices_csv: Annotated[bool, typer.Option("--devices-csv", help="print the meters for registration")] = False,
) -> None:
    """Check a configuration and name everything that is wrong with it."""
    from edge.config.files import unusable
    from edge.config.warnings import warnings

    settings = _load(config_file)
    if problems := [f"{config_file.name}: {line}" for line in unusable(settings)]:
        _fail(ConfigError(problems), _CONFIG_ERROR)
    for warning in warnings(settings):
        typer.echo(f"{config_file}: warning: {warning}", err=True)
    if devices_csv:
        rows = [f"{key},{profile},{interval_ms}" for key, profile, interval_ms in settings.devices()]
        typer.echo("\n".join(["device,model,interval_ms", *rows]))
    else:
        typer.echo(f"{config_file}: good, {len(list(settings.devices()))} meters")


@_APP.command("status")
def show_status(
    config_file: _ConfigOption,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object")] = False,
) -> None:
    """What the gateway has read, kept and synced, whether it runs or not."""
    import msgspec

    from edge.clock import Clock
    from edge.status import status
    from edge.status.lines import lines

    try:
        found = status.read(_load(config_file), clock=Clock())
    except DataDirUnusable as error:
        _fail(error, 1)
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode(found) + b"\n")
    else:
        typer.echo("\n".join(lines(found)))


def _load(path: Path) -> "Config":
    from edge.config.load import load

    try:
        return load(path)
    except ConfigError as error:
        _fail(error, _CONFIG_ERROR)


def _fail(error: EdgeError, code: int) -> NoReturn:
    typer.echo(str(error), err=True)
    raise typer.Exit(code)


def main() -> None:
    if sys.stdout is None:
        # It was closed: writing must fail, and no socket may get its number.
        sys.stdout = open(os.open(os.devnull, os.O_RDONLY), "w")  # noqa: SIM115 - for as long as the program runs
    asked = sys.argv[1] if len(sys.argv) > 1 else ""
    needed = (asked,) if asked in _TOOLS else () if asked in _OWN else _TOOLS
    for name in needed:
        _APP.command(name)(import_module(f"edge.tools.{name}").command)
    try:
        _APP()
    except OSError as error:
        # Files are named in their errors, and connections have other ones.
        if asked == "run" or error.filename is not None or error.errno not in _UNWRITABLE:
            raise
        # What waits to be written would be tried again at exit, for a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        typer.echo(f"standard output: {error.strerror}; not everything could be shown", err=True)
        raise SystemExit(1) from None
