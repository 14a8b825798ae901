"""`segs-cloud`: the commands of a cloud host."""

import sys
from collections.abc import Iterator
from importlib.metadata import version as release
from pathlib import Path
from typing import Annotated

import psycopg
import typer
import uvloop

from cloud.alerts.cli import app as alerts_app
from cloud.audit.cli import app as audit_app
from cloud.billing.cli import app as billing_app
from cloud.command import group
from cloud.completeness.cli import completeness
from cloud.db.errors import domain_error
from cloud.errors import CloudError
from cloud.gateways.cli import app as gateway_app
from cloud.identity.cli import app as keys_app
from cloud.intervals.cli import command as intervals
from cloud.log import configure
from cloud.meters.cli import app as meter_app
from cloud.notify.cli import app as notify_app
from cloud.payments.cli import app as payment_app
from cloud.regions.cli import app as region_app
from cloud.schema.cli import app as schema_app
from cloud.settings import Settings
from cloud.tariffs.cli import app as tariff_app
from cloud.users.cli import app as user_app
from cloud.vee.cli import app as vee_app
from cloud.workers.cli import worker

app = group(help="The metering cloud.")
app.add_typer(alerts_app, name="alerts")
app.add_typer(audit_app, name="audit")
app.add_typer(billing_app, name="billing")
app.add_typer(gateway_app, name="gateway")
app.add_typer(keys_app, name="keys")
app.add_typer(meter_app, name="meter")
app.add_typer(notify_app, name="notify")
app.add_typer(payment_app, name="payment")
app.add_typer(region_app, name="region")
app.add_typer(schema_app, name="schema")
app.add_typer(tariff_app, name="tariff")
app.add_typer(user_app, name="user")
app.add_typer(vee_app, name="vee")
app.command()(worker)
app.command()(completeness)
app.command("intervals")(intervals)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"segs-cloud {release('segs')}")
        raise typer.Exit


@app.callback()
def _segs_cloud(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """The metering cloud."""


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8080,
) -> None:
    """Receive batches. Run any number behind a load balancer."""
    from cloud.serve import serve as run

    uvloop.run(run(dsn=Settings().telemetry, host=host, port=port))


@app.command()
def api(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8081,
) -> None:
    """Serve the API for people. Run any number behind a load balancer."""
    from cloud.api.serve import serve as run

    settings = Settings()
    uvloop.run(
        run(
            domain_dsn=settings.domain,
            telemetry_dsn=settings.telemetry,
            host=host,
            port=port,
            cors_origins=settings.origins,
        )
    )


@app.command()
def openapi(
    output: Annotated[Path | None, typer.Option(help="File to write; standard output without it.")] = None,
) -> None:
    """Write the description of the API, OpenAPI 3.1. No database is needed."""
    from cloud.api.app import build
    from cloud.api.http.openapi import written

    document = written(build(None).openapi())
    if output is None:
        typer.echo(document, nl=False)
    else:
        output.write_text(document, encoding="utf-8")


def main() -> None:
    """Entry point. What an operator can mend ends in one line, not in a traceback.

    Exit status 1 is an answer: it was refused, or what was looked for is missing. 2 says that nobody has looked: the
    command line, or a file that it names, makes no sense, or there is no database.
    """
    configure()
    try:
        app()
    except Exception as error:
        told = [_told(one) for one in _each(error)]
        if None in told:
            raise
        message, status = next(filter(None, told))
        print(f"segs-cloud: {message}", file=sys.stderr)
        sys.exit(status)


def _each(error: Exception) -> Iterator[Exception]:
    """Groups nest as task groups do."""
    if isinstance(error, ExceptionGroup):
        for one in error.exceptions:
            yield from _each(one)
    else:
        yield error


def _told(error: Exception) -> tuple[str, int] | None:
    """The line and the exit status; None of what is a mistake of ours."""
    if isinstance(error, CloudError):
        return str(error), error.exit_status
    if isinstance(error, OSError):
        return str(error), 1
    if isinstance(error, UnicodeEncodeError):
        return "an argument is no text in UTF-8; write it again, letter by letter", 2
    if isinstance(error, psycopg.Error):
        refusal = domain_error(error)
        if refusal is not None or isinstance(error, psycopg.OperationalError):
            return str(refusal or error).strip(), 1
    return None
