"""`segs-cloud user`: accounts, for who runs the system; the first admin comes from here."""

import asyncio
import sys
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer

from cloud.command import group, show_json, table, tell
from cloud.command import show as show_parts
from cloud.db.queries import Queries
from cloud.errors import InputError
from cloud.identity.passwords import Passwords, require_strong
from cloud.operator import domain_transaction, rows

app = group(help="People who log in: customers, operators, admins.")
_QUERIES = Queries("people")
Email = Annotated[str, typer.Argument(help="Address that they log in with.")]


class Role(StrEnum):
    """What an account may do: see its own meters, those of its regions, or all."""

    USER = "USER"
    OPERATOR = "OPERATOR"
    ADMIN = "ADMIN"


class Staff(StrEnum):
    """Roles that may have to have a second factor."""

    OPERATOR = "OPERATOR"
    ADMIN = "ADMIN"


@app.command()
def create(
    email: Annotated[str, typer.Option(help="Address that they log in with; you vouch for it.")],
    name: Annotated[str, typer.Option(help="Name for letters and bills.")],
    role: Annotated[Role, typer.Option(help="What they may do.")] = Role.USER,
    region: Annotated[
        list[str] | None, typer.Option(help="Region of an operator, any number; where a user lives, one.")
    ] = None,
    phone: Annotated[str | None, typer.Option(help="E.164 number.")] = None,
) -> None:
    """Make an account. Its password is asked for, or is the first line of standard input where that is no terminal."""
    regions = region or []
    if role is not Role.OPERATOR and len(regions) > 1:
        raise typer.BadParameter("several regions are for an operator; give one --region")
    password = _password()
    require_strong(password, email=email, name=name)
    with Passwords(threads=1, queue=0) as passwords:
        hashed = asyncio.run(passwords.hash(password))
    made = {
        "email": email,
        "name": name,
        "phone": phone,
        "role": role.value,
        "region": regions[0] if regions else None,
        "regions": regions if role is Role.OPERATOR else [],
        "password_hash": hashed,
        "now": datetime.now(UTC),
    }
    with domain_transaction() as domain:
        [row] = rows(domain, _QUERIES["create"], made)
    typer.echo(row["user_create"])
    tell(f"{email.lower()} is {role.value} and may log in.")


@app.command("list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Everybody who has an account."""
    with domain_transaction() as domain:
        found = rows(domain, _QUERIES["list"])
    if as_json:
        show_json(found)
        return
    shown = table("Users", "id", "email", "name", "role", "regions", "suspended")
    for user in found:
        regions = " ".join(user["regions"]) or user["region"] or ""
        suspended = "yes" if user["suspended_at"] else ""
        shown.add_row(str(user["user_id"]), user["email"], user["name"], user["role"], regions, suspended)
    show_parts(shown)


@app.command()
def suspend(email: Email) -> None:
    """End all sessions of a user, who may not log in again. It counts from the next request on."""
    with domain_transaction() as domain:
        domain.execute(_QUERIES["suspend"], {"email": email, "now": datetime.now(UTC)})
    tell(f"{email.lower()} is suspended.")


@app.command()
def role(email: Email, role: Annotated[Role, typer.Argument(help="What they may do from now on.")]) -> None:
    """Give a user another role. Their sessions end; they log in anew."""
    with domain_transaction() as domain:
        domain.execute(_QUERIES["role"], {"email": email, "role": role.value, "now": datetime.now(UTC)})
    tell(f"{email.lower()} is {role.value}.")


@app.command()
def resume(email: Email) -> None:
    """Let a suspended user log in again."""
    with domain_transaction() as domain:
        domain.execute(_QUERIES["resume"], {"email": email})
    tell(f"{email.lower()} may log in.")


@app.command("require-second-factor")
def require_second_factor(
    role: Annotated[Staff, typer.Argument(help="Whose.")],
    off: Annotated[bool, typer.Option("--off", help="No longer.")] = False,
) -> None:
    """Have users of a role do nothing until they have a second factor. It counts from the next request on."""
    with domain_transaction() as domain:
        required = {"role": role.value, "required": not off, "now": datetime.now(UTC)}
        domain.execute(_QUERIES["require_second_factor"], required)
    tell(f"{role.value} {'may do without' if off else 'has to have'} a second factor.")


@app.command("forget-second-factor")
def forget_second_factor(email: Email) -> None:
    """For who lost app and recovery codes, and has shown you otherwise who they are: the password alone is enough."""
    with domain_transaction() as domain:
        domain.execute(_QUERIES["forget_second_factor"], {"email": email, "now": datetime.now(UTC)})
    tell(f"{email.lower()} logs in with the password alone.")


def _password() -> str:
    """Raises InputError."""
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    line = sys.stdin.readline().rstrip("\r\n")
    if not line:
        raise InputError("no password: its line on standard input is empty")
    return line
