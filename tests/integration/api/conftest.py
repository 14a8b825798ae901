"""The API as a process of its own, over loopback, on databases of its own, logged in as the role that it has."""

from __future__ import annotations

import json
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg import sql

from cloud.identity import tokens
from cloud.identity.keys import open_folder
from cloud.identity.tokens import AccessTokens
from local.servers import PostgresServer, free_port
from tests.commands import segs_cloud
from tests.conftest import clone
from tests.programs import Program
from tests.sql.people import SEED

PASSWORD = "correct horse battery"
PROVIDER_SECRET = "the secret of a provider that is simulated"
_NUMBERS = count(1)


@dataclass
class Api:
    """A running API. `domain` and `telemetry` are DSNs of the owner."""

    url: str
    domain: str
    telemetry: str
    environment: dict[str, str]
    process: Program
    log: Path
    client: httpx.Client = field(init=False)
    access: AccessTokens = field(init=False)
    owners: dict[str, psycopg.Connection] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.client = httpx.Client(base_url=self.url, trust_env=False, timeout=20)
        keys = open_folder(Path(self.environment["SEGS_KEYS"]), development=True, now=datetime.now(UTC))
        self.access = AccessTokens(keys=keys, issuer="segs", lifetime_s=900)

    def post(self, path: str, body: dict[str, Any] | None = None, *, token: str | None = None) -> httpx.Response:
        return self.client.post(f"/api/v1{path}", json=body, headers=_bearer(token))

    def get(self, path: str, *, token: str | None = None, **query: object) -> httpx.Response:
        return self.client.get(f"/api/v1{path}", params=query, headers=_bearer(token))

    def patch(self, path: str, body: dict[str, Any], *, token: str | None = None) -> httpx.Response:
        return self.client.patch(f"/api/v1{path}", json=body, headers=_bearer(token))

    def put(self, path: str, body: dict[str, Any], *, token: str | None = None) -> httpx.Response:
        return self.client.put(f"/api/v1{path}", json=body, headers=_bearer(token))

    def delete(self, path: str, *, token: str | None = None) -> httpx.Response:
        return self.client.delete(f"/api/v1{path}", headers=_bearer(token))

    @contextmanager
    def at(self, address: str) -> Iterator[Api]:
        """The same API, asked from another address of this machine: 127.0.0.2."""
        transport = httpx.HTTPTransport(local_address=address)
        with httpx.Client(base_url=self.url, transport=transport, trust_env=False, timeout=60) as client:
            there = Api(self.url, self.domain, self.telemetry, self.environment, self.process, self.log)
            there.client.close()
            there.client = client
            yield there

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        """`body` is sent as JSON, bytes as they are."""
        content = {"content": body} if isinstance(body, bytes) else {"json": body}
        sent = _bearer(token) | (headers or {})
        return self.client.request(method, f"/api/v1{path}", headers=sent, **content)  # type: ignore[arg-type]

    def logged(self, request_id: str) -> list[dict[str, Any]]:
        """The log's lines of a request, the last of which is written just after it was answered."""
        until_s = time.monotonic() + 5
        while True:
            lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
            found = [line for line in lines if line.get("request_id") == request_id]
            if any(line["event"] == "request" for line in found) or time.monotonic() > until_s:
                return found
            time.sleep(0.02)

    def do(self, statement: str, *parameters: object, telemetry: bool = False) -> list[tuple[Any, ...]]:
        """As the owner."""
        dsn = self.telemetry if telemetry else self.domain
        if dsn not in self.owners:
            self.owners[dsn] = psycopg.connect(dsn, autocommit=True)
        cursor = self.owners[dsn].execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []

    def close(self) -> None:
        self.client.close()
        self.close_owners()

    def close_owners(self) -> None:
        """The next `do` connects anew."""
        while self.owners:
            self.owners.popitem()[1].close()

    def segs_cloud(self, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        owner = {"SEGS_DOMAIN_DSN": self.domain, "SEGS_TELEMETRY_DSN": self.telemetry}
        return segs_cloud(*arguments, environment=owner, typed=typed)

    def person(self, role: str = "USER", *regions: str) -> Person:
        """A new account that is logged in, but that its password was not hashed for it: that outlasts most tests."""
        email = f"p{next(_NUMBERS)}@example.net"
        hashed = self.do("SELECT password_hash FROM users WHERE email = 'hash@example.net'")[0][0]
        statement = "SELECT user_create(%s, 'Somebody', NULL, 'north', %s, %s, %s, now())"
        [(user_id,)] = self.do(statement, email, role, hashed, list(regions))
        refresh, now = tokens.generate(), datetime.now(UTC)
        statement = "SELECT family_id FROM login_succeed(%s, %s, %s, 'test', '127.0.0.1', INTERVAL '30 days', %s)"
        [(session_id,)] = self.do(statement, user_id, hashed, tokens.digest(refresh), now)
        access, _ = self.access.issue(user_id=user_id, session_id=session_id, role=role, now=now)
        return Person(self, user_id, email, {"access_token": access, "refresh_token": refresh})

    def login(self, email: str, password: str = PASSWORD) -> httpx.Response:
        # Attempts of other tests, which come from the same address, do not count here.
        self.do("DELETE FROM rate_buckets WHERE starts_with(bucket, 'login:address:')")
        return self.post("/auth/login", {"email": email, "password": password})


@dataclass
class Person:
    """Somebody who is logged in."""

    api: Api
    user_id: int
    email: str
    tokens: dict[str, Any]

    @property
    def token(self) -> str:
        return str(self.tokens["access_token"])

    def meter(self, region: str = "north", zone: str = "UTC") -> str:
        """Code of a new meter of theirs."""
        [(meter_id, code)] = self.api.do("INSERT INTO meters DEFAULT VALUES RETURNING meter_id, meter_code")
        place = "INSERT INTO meter_locations (meter_id, region, timezone) VALUES (%s, %s, %s)"
        self.api.do(place, meter_id, region, zone)
        self.api.do("SELECT meter_give(%s, %s, '-infinity', now())", code, self.user_id)
        return str(code)


def _bearer(token: str | None) -> dict[str, str]:
    return {} if token is None else {"authorization": f"Bearer {token}"}


def databases(server: PostgresServer, *templates: str) -> Iterator[list[str]]:
    """Names of a clone of each template, in which the services' roles may log in."""
    names = [f"api_{uuid.uuid4().hex[:12]}" for _ in templates]
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        for name, template in zip(names, templates, strict=True):
            connection.execute(clone(name, template))
            # A clone does not inherit the rights to connect.
            for right in ("REVOKE ALL ON DATABASE {} FROM PUBLIC", "GRANT CONNECT ON DATABASE {} TO segs_api"):
                connection.execute(sql.SQL(right).format(sql.Identifier(name)))
        try:
            yield names
        finally:
            for name in names:
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def start(environment: dict[str, str], log: Path, port: int) -> Program:
    """`segs-cloud api`; its log goes to `log`."""
    return Program(["api", "--port", str(port)], environment, log)


def await_ready(url: str, process: Program, log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/readyz", trust_env=False).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"the API does not answer: {log.read_text()[-2000:]}")


@pytest.fixture(scope="module")
def api_settings() -> dict[str, str]:
    """Of the API's environment, for a module that has others."""
    return {}


@pytest.fixture(scope="module")
def api(
    pg_server: PostgresServer,
    domain_template: str,
    telemetry_template: str,
    tmp_path_factory: pytest.TempPathFactory,
    api_settings: dict[str, str],
) -> Iterator[Api]:
    folder = tmp_path_factory.mktemp("api")
    for domain, telemetry in databases(pg_server, domain_template, telemetry_template):
        environment = {
            "SEGS_DOMAIN_DSN": pg_server.dsn(domain, "segs_api"),
            "SEGS_TELEMETRY_DSN": pg_server.dsn(telemetry, "segs_api"),
            "SEGS_ENV": "development",
            "SEGS_KEYS": str(folder / "keys"),
            "SEGS_PAYMENT_SIMULATED_SECRETS": PROVIDER_SECRET,
        } | api_settings
        port, log = free_port(), folder / "log"
        process = start(environment, log, port)
        url = f"http://127.0.0.1:{port}"
        try:
            await_ready(url, process, log)
            running = Api(url, pg_server.dsn(domain), pg_server.dsn(telemetry), environment, process, log)
            with closing(running):
                running.do(SEED)
                made = running.segs_cloud(
                    "user", "create", "--email", "hash@example.net", "--name", "H", typed=PASSWORD + "\n"
                )
                assert made.returncode == 0, made.stderr
                yield running
        finally:
            process.terminate()
            status = process.wait(timeout=20)
        assert status == 0, log.read_text()[-2000:]


@pytest.fixture
def reading(api: Api) -> Any:
    """Stores a reading of a meter, of now or of another time."""

    def store(code: str, power_w: float, at: datetime | None = None) -> None:
        api.do(
            "INSERT INTO raw_readings (time, meter_id, batch_id, power_w) VALUES (%s, %s, 1, %s)",
            at or datetime.now(UTC),
            int(code.removeprefix("MTR-")),
            power_w,
            telemetry=True,
        )

    return store
