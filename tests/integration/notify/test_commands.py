"""segs-cloud notify."""

import json
from datetime import UTC, datetime

import pytest

from cloud.notify.mail import Mail
from tests import commands
from tests.integration.notify.conftest import MailServer, World


@pytest.fixture(autouse=True)
def _database(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGS_DOMAIN_DSN", world.dsn)


async def test_a_dead_letter_is_listed_and_tried_again(world: World, mail: Mail, mail_server: MailServer) -> None:
    """C12: what caused errors is kept nowhere."""
    mail_server.rcpt_answer = lambda _: "550 No such user"
    dead, other = world.put(), world.put(user=2, at=world.now.replace(year=2030))
    await world.work(mail)

    listed = commands.segs_cloud("notify", "list")
    assert "550 No such user" in listed.stdout
    [row] = json.loads(commands.segs_cloud("notify", "list", "--json").stdout)
    assert (row["outbox_id"], row["state"], row["attempts"]) == (dead, "dead", 1)
    assert "payload" not in row
    refused = commands.segs_cloud("notify", "retry", str(other))
    assert (refused.returncode, f"message {other} is not dead" in refused.stderr) == (1, True)

    mail_server.rcpt_answer = lambda _: None
    assert commands.segs_cloud("notify", "retry", str(dead)).returncode == 0
    world.now = datetime.now(UTC)
    await world.work(mail)
    assert [outcome for _, outcome, _ in world.log(dead)] == ["dead", "delivered"]
    assert commands.segs_cloud("notify", "list").stderr == "No message is dead.\n"


async def test_a_test_arrives(world: World, mail: Mail, mail_server: MailServer) -> None:
    sent = commands.segs_cloud("notify", "test", "Ada@example.org")
    assert (sent.returncode, sent.stderr) == (0, "A worker sends ada@example.org a message by email.\n")
    world.now = datetime.now(UTC)
    await world.work(mail)
    assert [mail["Subject"] for mail in mail_server.accepted] == ["Messages arrive"]
    assert world.log(int(sent.stdout))[0][1] == "delivered"
    assert commands.segs_cloud("notify", "test", "eve@example.org").returncode == 1
