"""`segs-cloud notify`: what became of messages to people."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer

from cloud.command import group, show, show_json, table, tell
from cloud.db.queries import Queries
from cloud.errors import CloudError
from cloud.instant import written
from cloud.operator import domain_transaction, rows
from cloud.printable import printable

app = group(help="Messages to people: what waits, what is dead, and why.")
_QUERIES = Queries("outbox")


class State(StrEnum):
    """Where a message is."""

    WAITING = "waiting"
    DEAD = "dead"
    EXPIRED = "expired"
    UNWANTED = "unwanted"
    DIGESTED = "digested"
    DELIVERED = "delivered"
    ALL = "all"


class Way(StrEnum):
    """How messages go."""

    EMAIL = "email"
    SMS = "sms"
    PUSH = "push"
    WEBHOOK = "webhook"


class NotDead(CloudError):
    """There is nothing to try again."""

    def __init__(self, number: int) -> None:
        super().__init__(f"message {number} is not dead, or its time is over; see segs-cloud notify list")
        self.number = number


class UnknownPerson(CloudError):
    """Nobody has that address."""

    def __init__(self, email: str) -> None:
        super().__init__(f"nobody has the address {printable(email)}; segs-cloud user list names them")


@app.command("list")
def list_(
    state: Annotated[State, typer.Option(help="Which.")] = State.DEAD,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most, the latest first.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Messages, dead letters without an option. What they say is not shown."""
    with domain_transaction() as domain:
        found = rows(domain, _QUERIES["list"], {"state": state.value, "limit": limit})
    if as_json:
        show_json(found)
        return
    if not found:
        tell(f"No message is {state.value}." if state is not State.ALL else "There is no message.")
        return
    shown = table("Messages", "id", "user", "channel", "template", "written", "attempts", "state", "because")
    for one in found:
        begun = written(one["created_at"].replace(microsecond=0))
        shown.add_row(
            *(str(one["outbox_id"]), str(one["user_id"]), one["channel"], one["template"], begun),
            *(str(one["attempts"]), one["state"], printable(one["last_error"] or "")),
        )
    show(shown)


@app.command()
def retry(number: Annotated[int, typer.Argument(help="Its id, as list shows it.")]) -> None:
    """Have a dead message tried again, under the same key. What is over, such as a code after its time, stays dead."""
    with domain_transaction() as domain:
        [row] = rows(domain, _QUERIES["retry"], {"outbox_id": number, "now": datetime.now(UTC)})
        if not row["again"]:
            raise NotDead(number)
    tell(f"A worker tries message {number} again.")


@app.command("test")
def send_test(
    email: Annotated[str, typer.Argument(help="Address of somebody who has an account.")],
    channel: Annotated[Way, typer.Option(help="How it is to go.")] = Way.EMAIL,
) -> None:
    """Have a worker send somebody a message that says that messages arrive; `list --state all` says how it went."""
    made = {"email": email, "channel": channel.value, "now": datetime.now(UTC)}
    with domain_transaction() as domain:
        found = rows(domain, _QUERIES["test"], made)
        if not found:
            raise UnknownPerson(email)
    typer.echo(found[0]["outbox_id"])
    tell(f"A worker sends {email.lower()} a message by {channel.value}.")
