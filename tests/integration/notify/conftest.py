"""A domain database with people, a mail server with TLS and login, and rounds that bring one to the other."""

import asyncio
import email
import email.policy
import ssl
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any, LiteralString, cast

import psycopg
import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from cloud.db.pool import make_pool
from cloud.identity.keys import KeyFolder, Keys, create
from cloud.notify.channel import Channel
from cloud.notify.mail import Mail
from cloud.notify.settings import NotifySettings
from cloud.workers import post

USER, PASSWORD = "segs", "correct horse"
CODE = "314159"
_SEED: LiteralString = """
INSERT INTO regions (region, name, timezone) VALUES ('north', 'North', 'Europe/Berlin');
INSERT INTO users (email, name, region, phone) VALUES ('ada@example.org', 'Ada', 'north', '+4930123456'),
    ('bob@example.org', 'Bob', 'north', NULL);
UPDATE user_preferences SET language = 'de' WHERE user_id = 2;
"""


class MailServer:
    """What it accepted, in order. A test puts an answer, or what to do, in place of one of the three stages."""

    def __init__(self, context: ssl.SSLContext, port: int) -> None:
        self.accepted: list[EmailMessage] = []
        self.to: list[str] = []
        self.logins: list[str] = []
        self.mail_answer: Callable[[str], str | None] = lambda sender: None
        self.rcpt_answer: Callable[[str], str | None] = lambda address: None
        self.before_answer: Callable[[SMTP, EmailMessage], str | None] = lambda server, mail: None
        self.hang_after: set[str] = set()
        self.open, self.most = 0, 0
        self.port = port
        self._lock = threading.Lock()
        self._controller = Controller(
            self,
            hostname="127.0.0.1",
            port=port,
            tls_context=context,
            require_starttls=True,
            auth_required=True,
            authenticator=self._login,
            enable_SMTPUTF8=True,
        )

    def _login(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        known = isinstance(data, LoginPassword) and (data.login, data.password) == (USER.encode(), PASSWORD.encode())
        if known:
            self.logins.append(mechanism)
        return AuthResult(success=known, handled=False)

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = self.mail_answer(address)
        if answer is None:
            envelope.mail_from = address
        return answer or "250 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = self.rcpt_answer(address)
        if answer is None:
            envelope.rcpt_tos.append(address)
        return answer or "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.content
        assert isinstance(content, bytes)
        mail = cast(EmailMessage, email.message_from_bytes(content, policy=email.policy.default))
        [to] = envelope.rcpt_tos
        if to in self.hang_after:
            await asyncio.sleep(30)
        with self._lock:
            self.accepted.append(mail)
            self.to.append(to)
        return self.before_answer(server, mail) or "250 Accepted"

    def __enter__(self) -> "MailServer":
        self._controller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._controller.stop()


@dataclass
class World:
    """People 1 (Ada, in English) and 2 (Bob, in German). `now` is two hours ago, so that time can pass."""

    dsn: str
    folder: Path
    keys: Keys
    owner: psycopg.Connection[dict[str, Any]]
    pool: AsyncConnectionPool
    now: datetime = field(default_factory=lambda: datetime.now(UTC) - timedelta(hours=2))
    per_hour: int = 1000

    def rows(self, query: str, *parameters: object) -> list[dict[str, Any]]:
        return self.owner.execute(cast(LiteralString, query), parameters).fetchall()

    def do(self, statement: str, *parameters: object) -> None:
        self.owner.execute(cast(LiteralString, statement), parameters)

    def put(
        self,
        template: str = "password_changed",
        *,
        user: int = 1,
        channel: str = "email",
        at: datetime | None = None,
        **payload: Any,
    ) -> int:
        """A message without a secret."""
        [row] = self.rows(
            "INSERT INTO outbox (user_id, channel, template, payload, created_at) VALUES (%s, %s, %s, %s, %s)"
            " RETURNING outbox_id",
            *(user, channel, template, Jsonb(payload), at or self.now - timedelta(seconds=1)),
        )
        return cast(int, row["outbox_id"])

    def put_code(self, *, user: int = 1, code: str = CODE) -> int:
        """By the function that makes codes."""
        sealed = self.keys.seal(code.encode(), f"code of user {user}")
        digest = uuid.uuid4().bytes * 2
        [row] = self.rows(
            "SELECT otp_issue(%s, 'verify_email', %s, %s, '10 minutes', %s, '192.0.2.1') AS issued",
            *(user, digest, sealed, self.now - timedelta(seconds=1)),
        )
        assert row["issued"]
        return cast(int, self.rows("SELECT max(outbox_id) AS id FROM outbox")[0]["id"])

    def message(self, outbox_id: int) -> dict[str, Any]:
        [row] = self.rows("SELECT * FROM outbox WHERE outbox_id = %s", outbox_id)
        return row

    def states(self) -> dict[str, int]:
        found = [
            row["closed_as"] or ("delivered" if row["delivered_at"] else "waiting")
            for row in self.rows("SELECT closed_as, delivered_at FROM outbox")
        ]
        return {state: found.count(state) for state in set(found)}

    def log(self, outbox_id: int) -> list[tuple[int, str, str]]:
        query = "SELECT attempt, outcome, reply FROM deliveries WHERE outbox_id = %s ORDER BY delivery_id"
        return [(row["attempt"], row["outcome"], row["reply"]) for row in self.rows(query, outbox_id)]

    async def work(self, channel: Channel, *, loops: int = 1, codes: bool = False) -> None:
        """Rounds until nothing is due."""

        async def until_done() -> None:
            one = post.Round(
                channel=channel, pool=self.pool, sealing=self.keys.sealing, per_hour=self.per_hour, codes=codes
            )
            async with self.pool.connection() as connection:
                while await one.step(connection, self.now):
                    pass

        async with asyncio.TaskGroup() as group:
            for _ in range(loops):
                group.create_task(until_done())


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def mail_server(authority: trustme.CA, free_port: Callable[[], int]) -> Iterator[MailServer]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with MailServer(context, free_port()) as server:
        yield server


@pytest.fixture
async def world(domain_db: str, tmp_path: Path) -> AsyncIterator[World]:
    keys = tmp_path / "keys"
    create(keys, now=datetime.now(UTC))
    pool = make_pool(domain_db, name="segs-worker", size=12)
    async with pool:
        with psycopg.connect(domain_db, autocommit=True, row_factory=dict_row) as owner:
            owner.execute("SET timezone = 'UTC'")
            owner.execute(_SEED)
            yield World(domain_db, tmp_path, KeyFolder(keys).current(), owner, pool)


@pytest.fixture
def environment(world: World, mail_server: MailServer, authority: trustme.CA) -> dict[str, str]:
    """What the environment of a worker says."""
    password, trusted = world.folder / "password", world.folder / "ca.pem"
    password.touch(0o600)
    password.write_text(f"{PASSWORD}\n")
    authority.cert_pem.write_to_path(str(trusted))
    return {
        "SEGS_SMTP_HOST": "127.0.0.1",
        "SEGS_SMTP_PORT": str(mail_server.port),
        "SEGS_SMTP_FROM": "meters@example.com",
        "SEGS_SMTP_USER": USER,
        "SEGS_SMTP_PASSWORD_FILE": str(password),
        "SEGS_SMTP_CA_FILE": str(trusted),
        "SEGS_SMTP_TIMEOUT_S": "2",
        "SEGS_SEALING_KEY": str(world.folder / "keys" / "sealing.key"),
    }


@pytest.fixture
def settings(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> NotifySettings:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return NotifySettings.load()


@pytest.fixture
def mail(settings: NotifySettings) -> Mail:
    [channel] = settings.channels()
    assert isinstance(channel, Mail)
    return channel
