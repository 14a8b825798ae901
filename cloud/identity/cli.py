"""`segs-cloud keys`: the keys that sign tokens, and what protects secrets."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from cloud.command import group, show, show_json, table, tell
from cloud.identity.keys import KeyFolder, create, rotate, signs_from
from cloud.identity.settings import IdentitySettings
from cloud.instant import written

app = group(help="The keys of the API: what signs tokens, and what protects secrets at rest.")


@app.command("create")
def create_() -> None:
    """Make the folder of keys that SEGS_KEYS names. Back it up: what is sealed with it cannot be read without it."""
    folder = IdentitySettings.load().keys_folder
    typer.echo(create(folder, now=datetime.now(UTC)))
    tell(f"{folder} has all keys. Give every host of the API the same folder, and keep a copy of it in a safe place.")


@app.command("rotate")
def rotate_(
    after_s: Annotated[
        int,
        typer.Option(
            min=0,
            max=7 * 86_400,
            help="Seconds until the new key signs: by then, every host of the API must have its file.",
        ),
    ] = 600,
) -> None:
    """Add a signing key. Nothing is restarted; the keys before it go on verifying until their files are removed."""
    folder = IdentitySettings.load().keys_folder
    at = datetime.now(UTC) + timedelta(seconds=after_s)
    kid = rotate(folder, signs_from=at)
    typer.echo(kid)
    tell(f"{folder / kid}.pem signs from {written(at.replace(microsecond=0))}; give it to every host before that.")


@app.command("list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Signing keys: which one signs, which ones wait, and which ones no valid token needs any more."""
    settings = IdentitySettings.load()
    rows = _rows(KeyFolder(settings.keys_folder), settings.access_token_s, datetime.now(UTC))
    if as_json:
        show_json([{"kid": kid, "signs_from": signs_from(kid), "state": state} for kid, state in rows])
        return
    shown = table("Signing keys", "kid", "state")
    for kid, state in rows:
        shown.add_row(kid, state)
    show(shown)


def _rows(folder: KeyFolder, access_token_s: int, now: datetime) -> list[tuple[str, str]]:
    """`replaced` becomes `unneeded` when the last token that it signed is over, and a minute for clocks."""
    keys = folder.current()
    signer, kids = keys.signer(now), sorted(keys.signing)
    over = now - timedelta(seconds=access_token_s + 60)
    rows = []
    for kid, after in zip(kids, [*kids[1:], None], strict=True):
        ends = None if after is None else signs_from(after)
        if kid == signer:
            state = "signs"
        elif kid > signer:
            state = "waits"
        else:
            state = "unneeded" if ends is not None and ends < over else "replaced"
        rows.append((kid, state))
    return rows
