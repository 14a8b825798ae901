"""Workers side by side, killed and stopped: everybody gets what is theirs, and a repetition can be told as one."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.db.queries import Queries
from cloud.notify.mail import Mail
from cloud.notify.message import Message, Text
from cloud.workers import post
from tests.integration.notify.conftest import CODE, MailServer, World

_QUERIES = Queries("outbox")


@contextmanager
def _worker(environment: Mapping[str, str], world: World, telemetry: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "cloud", "worker"],
        env=os.environ | environment | {"SEGS_DOMAIN_DSN": world.dsn, "SEGS_TELEMETRY_DSN": telemetry},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _until(condition: Callable[[], object], within_s: float = 30) -> None:
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come to pass"
        time.sleep(0.05)


@pytest.mark.long
async def test_of_a_thousand_with_a_poisoned_one_all_others_arrive_once(
    world: World, mail: Mail, mail_server: MailServer
) -> None:
    """C11, C12, D14."""
    ids = [world.put("poison" if number == 500 else "password_changed") for number in range(1000)]

    await world.work(mail, loops=8)

    assert world.states() == {"delivered": 999, "dead": 1}
    assert world.log(ids[500]) == [(1, "dead", "there is no template poison")]
    assert set(Counter(mail["Message-ID"] for mail in mail_server.accepted).values()) == {1}
    assert len(mail_server.accepted) == 999


def test_a_worker_that_is_killed_between_acceptance_and_commit_repeats_under_the_same_id(
    world: World, environment: dict[str, str], telemetry_db: str, mail_server: MailServer
) -> None:
    code = world.put_code()
    world.do("UPDATE outbox SET created_at = now(), expires_at = now() + INTERVAL '10 minutes'")
    with _worker(environment, world, telemetry_db) as first:

        def kill(server: object, mail: EmailMessage) -> None:
            first.kill()
            first.wait()

        mail_server.before_answer = kill
        _until(lambda: mail_server.accepted)
        assert first.wait(10) == -signal.SIGKILL
    found = world.message(code)
    assert (found["delivered_at"], found["attempts"]) == (None, 1)
    assert found["leased_until"] is not None

    mail_server.before_answer = lambda *_: None
    with _worker(environment, world, telemetry_db) as second:
        # The lease is the dead one's still.
        time.sleep(4)
        assert len(mail_server.accepted) == 1
        world.do("UPDATE outbox SET leased_until = now()")
        _until(lambda: world.message(code)["delivered_at"])
        second.send_signal(signal.SIGTERM)
        _, said = second.communicate(timeout=30)
        assert second.returncode == 0
    one, two = mail_server.accepted
    assert one["Message-ID"] == two["Message-ID"]
    assert CODE.encode() not in said
    assert [(attempt, outcome) for attempt, outcome, _ in world.log(code)] == [(2, "delivered")]


def test_a_worker_that_is_told_to_stop_does_not_forget_what_was_accepted(
    world: World, environment: dict[str, str], telemetry_db: str, mail_server: MailServer
) -> None:
    code = world.put_code()
    world.do("UPDATE outbox SET created_at = now(), expires_at = now() + INTERVAL '10 minutes'")
    with _worker(environment, world, telemetry_db) as worker:
        mail_server.before_answer = lambda *_: (worker.send_signal(signal.SIGTERM), time.sleep(0.5), None)[2]
        assert worker.wait(40) == 0
    assert world.states() == {"delivered": 1}
    assert len(world.log(code)) == 1


@pytest.mark.long
def test_without_settings_nothing_is_sent_and_that_is_said_once(world: World, telemetry_db: str) -> None:
    """C12."""
    for _ in range(3):
        world.put(at=world.now)
    with _worker({"SEGS_SMTP_HOST": ""}, world, telemetry_db) as worker:
        time.sleep(15)
        worker.send_signal(signal.SIGTERM)
        _, said = worker.communicate(timeout=30)
    assert said.count(b"messages_wait") == 1
    assert world.states() == {"waiting": 3}


async def test_codes_go_first_and_have_a_loop_of_their_own(world: World, mail: Mail, mail_server: MailServer) -> None:
    for _ in range(5):
        world.put(user=2)
    code = world.put_code()
    await world.work(mail)
    assert mail_server.to[0] == "ada@example.org"

    mail_server.hang_after = {"bob@example.org"}
    for _ in range(5):
        world.put(user=2)
    world.now += timedelta(minutes=1)
    others = asyncio.create_task(world.work(mail, loops=3))
    await asyncio.sleep(0.5)
    code = world.put_code(code="271828")
    await world.work(mail, codes=True)
    assert world.message(code)["delivered_at"] is not None
    assert not others.done()
    await others


async def test_whose_lease_is_over_changes_nothing(world: World) -> None:
    code = world.put_code()

    async def claim() -> tuple[object, ...]:
        wanted = {
            "channel": "email",
            "codes": False,
            "lease": timedelta(seconds=30),
            "per_hour": 5,
            "now": world.now,
        }
        async with world.pool.connection() as connection:
            [row] = await (await connection.execute(_QUERIES["claim"], wanted)).fetchall()
        return row

    async def end(lease: object, outcome: str) -> object:
        ended = {
            "outbox_id": code,
            "members": [],
            "leased_until": lease,
            "outcome": outcome,
            "reply": "x",
            "due_at": None,
            "now": world.now,
        }
        async with world.pool.connection() as connection:
            return await (await connection.execute(_QUERIES["end"], ended)).fetchone()

    slow = await claim()
    world.do("UPDATE outbox SET leased_until = now()")
    quick = await claim()
    assert await end(slow[7], "dead") == (False,)
    assert world.states() == {"waiting": 1}
    assert await end(quick[7], "delivered") == (True,)
    assert await end(quick[7], "dead") == (False,)
    assert world.states() == {"delivered": 1}


@given(attempt=st.integers(1, 10_000), chance=st.floats(0, 1))
def test_pauses_grow_and_have_an_end(attempt: int, chance: float) -> None:
    pause_s = post.wait_s(attempt, chance=lambda: chance)
    whole_s = min(5.0 * 2.0 ** min(attempt - 1, 30), 1800.0)
    assert whole_s / 2 <= pause_s <= whole_s


@pytest.mark.parametrize("role", ["segs_worker"])
async def test_the_workers_role_is_enough(role: str, world: World, mail: Mail, mail_server: MailServer) -> None:
    code = world.put_code()
    one = post.Round(channel=mail, pool=world.pool, sealing=world.keys.sealing, per_hour=5)
    async with world.pool.connection() as connection:
        await connection.execute(f"SET ROLE {role}")
        await connection.commit()
        assert await one.step(connection, world.now)
        await post._Sweep([mail]).step(connection, world.now)
        await connection.execute("RESET ROLE")
    assert world.message(code)["delivered_at"] is not None


async def test_a_database_that_was_away_while_the_server_took_it_hears_of_it(
    world: World, mail: Mail, mail_server: MailServer
) -> None:
    code = world.put_code()

    def restart(*_: object) -> None:
        world.do("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'segs-worker'")

    mail_server.before_answer = restart
    one = post.Round(channel=mail, pool=world.pool, sealing=world.keys.sealing, per_hour=5)
    async with world.pool.connection() as connection:
        assert await one.step(connection, world.now)
    assert world.states() == {"delivered": 1}
    assert [(attempt, outcome) for attempt, outcome, _ in world.log(code)] == [(1, "delivered")]


async def test_a_message_that_breaks_what_nobody_thought_of_is_a_dead_letter_and_others_go_on(
    world: World, mail: Mail, mail_server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C12, D14."""
    broken, other = world.put(), world.put(user=2)
    whole = post.fill

    def fill(message: Message, secret: str) -> Text:
        if message.user_id == 1:
            raise TypeError("Ada lives at 7 Mill Lane")
        return whole(message, secret)

    monkeypatch.setattr(post, "fill", fill)
    await world.work(mail)
    assert world.log(broken) == [(1, "dead", "it could not be made: TypeError; tell us")]
    assert world.log(other) == [(1, "delivered", "250 Accepted")]
