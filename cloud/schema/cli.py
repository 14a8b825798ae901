"""`segs-cloud schema`: apply, check, status, reference."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cloud.command import group, show_json
from cloud.schema import apply as applying
from cloud.schema import check as checking
from cloud.schema import reference as referring
from cloud.schema import status as stating
from cloud.schema.errors import DATABASES, Database, SchemaError
from cloud.settings import Settings, SettingsError

app = group(name="schema", help="The two master schemas: apply, check, status, reference.")


class Choice(StrEnum):
    """One of the two databases."""

    DOMAIN = "domain"
    TELEMETRY = "telemetry"


Only = Annotated[Choice | None, typer.Option("--database", help="Only this one; both without it.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


@app.command()
def apply(
    database: Only = None,
    again: Annotated[
        bool, typer.Option("--again", help="State functions, views, policies and rights anew where nothing is pending.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring the databases to this release's schema: the master onto an empty one, migrations onto an older one."""
    done = []
    for name in _chosen(database):
        with _failing_cleanly():
            applied = applying.apply(_dsn(name), name, again=again)
        done.append(asdict(applied))
        if not as_json:
            typer.echo(_outcome(applied))
    if as_json:
        show_json({"applied": done})


@app.command()
def check(database: Only = None, as_json: AsJson = False) -> None:
    """Compare the live catalogs with the masters; exit 1 and name every difference when there is one."""
    found = []
    for name in _chosen(database):
        with _failing_cleanly():
            checked = checking.check(_dsn(name), name)
        found.append(checked)
        if not as_json:
            typer.echo("\n".join(_findings(checked)))
    if as_json:
        show_json({"checked": [asdict(checked) for checked in found]})
    if any(checked.differences for checked in found):
        raise typer.Exit(1)


@app.command()
def status(database: Only = None, as_json: AsJson = False) -> None:
    """Versions, edition and counts."""
    found = []
    for name in _chosen(database):
        with _failing_cleanly():
            one = stating.status(_dsn(name), name)
        found.append(asdict(one))
        if not as_json:
            typer.echo(_lines(one))
    if as_json:
        show_json({"status": found})


@app.command()
def reference(
    output: Annotated[Path, typer.Option(help="File to write.")] = Path("docs/schema-reference.md"),
    stale: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 if the file is stale.")] = False,
) -> None:
    """Write the schema reference from the masters, by way of scratch databases on the servers of both DSNs."""
    with _failing_cleanly():
        text = referring.reference({name: _dsn(name) for name in DATABASES})
    if not stale:
        output.write_text(text, encoding="utf-8")
    elif not output.exists() or output.read_text(encoding="utf-8") != text:
        typer.echo(f"{output} is stale: run segs-cloud schema reference", err=True)
        raise typer.Exit(1)


def _dsn(database: Database) -> str:
    settings = Settings()
    return settings.domain if database == "domain" else settings.telemetry


def _chosen(database: Choice | None) -> tuple[Database, ...]:
    return DATABASES if database is None else (database.value,)


@contextmanager
def _failing_cleanly() -> Iterator[None]:
    """Turns what an operator can act on into one message."""
    try:
        yield
    except (SchemaError, SettingsError) as error:
        typer.echo(f"segs-cloud: {error}", err=True)
        raise typer.Exit(error.exit_status) from error


def _outcome(applied: applying.Applied) -> str:
    if not applied.ran:
        return f"{applied.database}: is version {applied.after} already ({applied.checksum[:12]})"
    came = "empty" if applied.before is None else f"version {applied.before}"
    steps = "".join(f"\n  {migration}" for migration in applied.migrations)
    return f"{applied.database}: was {came}, is version {applied.after} ({applied.checksum[:12]}){steps}"


def _findings(checked: checking.Checked) -> list[str]:
    if checked.version is None:
        return [f"{checked.database}: there is no schema: run segs-cloud schema apply"]
    if not checked.differences:
        return [f"{checked.database}: as the master, version {checked.version} ({checked.fingerprint[:12]})"]
    lines = [str(difference) for difference in checked.differences]
    if checked.version != checked.known:
        lines.append(f"{checked.database}: is at version {checked.version}, the master is version {checked.known}")
    return lines


def _lines(one: stating.Status) -> str:
    version = "no schema" if one.version is None else f"version {one.version} of {one.known}"
    if one.version == one.known and not one.checksum_matches:
        version += ", another master: run segs-cloud schema apply"
    server = f"PostgreSQL {one.postgresql}"
    if one.timescaledb:
        server += f", TimescaleDB {one.timescaledb} ({one.edition})"
    counts = f"{one.tables} tables"
    if one.timescaledb:
        counts += f" ({one.hypertables} hypertables, {one.chunks} chunks)"
    return (
        f"{one.database}: {version}\n  {server}\n"
        f"  {counts}, {one.views} views, {one.functions} functions, {one.size_bytes / 2**20:.1f} MiB"
    )
