"""A whole stack that alerts: cloud, gateways with simulated meters, people, and who takes their mails."""

import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, LiteralString, Self, cast

import httpx
import psycopg
import trustme

from cloud.identity.keys import create
from local.fleet import Fleet
from local.servers import free_port, segs_home
from local.stack import Stack
from tests.commands import segs_cloud
from tests.integration.notify.conftest import PASSWORD as SMTP_PASSWORD
from tests.integration.notify.conftest import USER as SMTP_USER
from tests.integration.notify.conftest import MailServer
from tests.watch.outpost import Outpost

PASSWORD = "correct horse battery"


@dataclass(frozen=True, order=True)
class Raised:
    """What an alert is about: its rule, the name of a device, gateway, site or region, a phase or 0, how bad it is."""

    rule: str
    subject: str
    phase: int = 0
    severity: str = ""

    def __str__(self) -> str:
        phase = f", phase {self.phase}" if self.phase else ""
        return f"{self.rule} at {self.subject}{phase} ({self.severity})"


class WatchStack(Stack):
    """Everything in `home`, a context manager; `outposts` are its gateways, by name."""

    def __init__(self, *, home: Path) -> None:
        super().__init__(home=home)
        self.outposts: dict[str, Outpost] = {}
        self._exits = ExitStack()
        if (cache := segs_home() / "cache").exists():
            (home / "cache").symlink_to(cache)

    def __enter__(self) -> Self:
        try:
            self._exits.callback(self.stop)
            authority = trustme.CA()
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            authority.issue_cert("127.0.0.1").configure_cert(context)
            authority.cert_pem.write_to_path(str(self.home / "ca.pem"))
            password = self.home / "smtp-password"
            password.touch(0o600)
            password.write_text(f"{SMTP_PASSWORD}\n")
            create(self.home / "keys", now=datetime.now(UTC))
            self.mail = self._exits.enter_context(MailServer(context, free_port()))
            self.start_cloud(Fleet((), (), 1.0, 7))
            self.domain = self._exits.enter_context(
                psycopg.connect(self.databases.dsn("domain"), autocommit=True, row_factory=psycopg.rows.dict_row)
            )
        except BaseException:
            self._exits.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def outpost(self, name: str, fleet: Fleet, environment: Mapping[str, str] | None = None) -> Outpost:
        """A gateway with its meters, registered and not started; it ends with the stack."""
        made = Outpost(stack=self, name=name, fleet=fleet, environment=environment)
        self.outposts[name] = made
        self._exits.callback(made.stop)
        return made

    def cloud(self, *arguments: str, typed: str = "") -> str:
        """The output of `segs-cloud ARGUMENTS`, in this process: there are many."""
        done = segs_cloud(*arguments, environment=self.owner, typed=typed)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def person(self, email: str, role: str, region: str) -> None:
        """Somebody with PASSWORD, as an operator registers them."""
        who = ("--email", email, "--name", email.partition("@")[0], "--role", role, "--region", region)
        self.cloud("user", "create", *who, typed=f"{PASSWORD}\n")

    def code(self, device: str) -> str:
        """The meter of a device, whose names are its own among all gateways."""
        return next(one.codes[device] for one in self.outposts.values() if device in one.codes)

    def set_rule(self, rule: str, *change: str) -> None:
        """As an operator tunes it."""
        self.cloud("alerts", "rules", "set", rule, *change)

    def caller(self, email: str) -> httpx.Client:
        """Somebody who has logged in at the API."""
        said = {"email": email, "password": PASSWORD}
        answer = httpx.post(f"{self.api_url}/auth/login", json=said, timeout=20).raise_for_status()
        token = answer.json()["data"]["access_token"]
        return httpx.Client(base_url=self.api_url, timeout=20, headers={"Authorization": f"Bearer {token}"})

    def alerts(self) -> list[dict[str, Any]]:
        """What is in the domain database, of what is not part of something else; `subject` by the name of a device,
        `place` as mails have it."""
        found = self.rows(
            "SELECT a.*, coalesce((SELECT d.device FROM devices AS d WHERE d.meter_id = a.meter_id), a.site, a.region,"
            " (SELECT g.name FROM gateways AS g WHERE g.gateway_id = a.gateway_id)) AS subject,"
            " coalesce(m.meter_code, g.name, a.site, r.name) AS place"
            " FROM alerts AS a LEFT JOIN meters AS m USING (meter_id) LEFT JOIN gateways AS g USING (gateway_id)"
            " LEFT JOIN regions AS r ON r.region = a.region WHERE a.part_of IS NULL ORDER BY a.alert_id"
        )
        return [row | {"is": Raised(row["rule"], row["subject"], row["phase"], row["severity"])} for row in found]

    def await_heard(self) -> None:
        """Wait until a reading of each meter is stored."""
        meters = sum(len(one.fleet.meters) for one in self.outposts.values())
        heard = "SELECT count(DISTINCT meter_id) FROM raw_readings WHERE time > now() - INTERVAL '1 hour'"
        with psycopg.connect(self.databases.dsn("telemetry"), autocommit=True) as telemetry:
            by = datetime.now(UTC) + timedelta(seconds=60)
            assert self.until(lambda: telemetry.execute(heard).fetchone() == (meters,), by=by)

    def mails(self) -> list[tuple[str, str]]:
        """For whom, and subject, of each that was accepted. A long subject begins on the line after its name."""
        accepted = list(self.mail.accepted)
        return [(to, str(mail["subject"]).strip()) for to, mail in zip(self.mail.to, accepted, strict=False)]

    def rows(self, query: str, *parameters: object) -> list[dict[str, Any]]:
        """Of the domain database, as its owner."""
        return cast(list[dict[str, Any]], self.domain.execute(cast(LiteralString, query), parameters).fetchall())

    def until(self, condition: Callable[[], bool], *, by: datetime) -> bool:
        """Wait until it holds or the time is come; whether it held. Raises ServiceError when something ended."""
        while not (held := condition()) and datetime.now(UTC) < by:
            for name in ("receiver", "worker", "api"):
                self.services[name].expect_alive()
            time.sleep(0.5)
        return held

    def _environment(self, service: str) -> dict[str, str]:
        told = super()._environment(service)
        if service == "worker":
            told |= {
                "SEGS_SMTP_HOST": "127.0.0.1",
                "SEGS_SMTP_PORT": str(self.mail.port),
                "SEGS_SMTP_FROM": "meters@example.com",
                "SEGS_SMTP_USER": SMTP_USER,
                "SEGS_SMTP_PASSWORD_FILE": str(self.home / "smtp-password"),
                "SEGS_SMTP_CA_FILE": str(self.home / "ca.pem"),
                "SEGS_SEALING_KEY": str(self.home / "keys" / "sealing.key"),
                "SEGS_NOTIFY_PER_HOUR": "1000",
            }
        return told


def told_wrong(stack: WatchStack, expected: set[Raised]) -> str:
    """Which of `expected` were not raised, and what else was; "" if neither."""
    found = {row["is"] for row in stack.alerts() if not row["late"]}
    words = [f"not raised: {one}" for one in sorted(expected - found)]
    words += [f"raised, and not expected: {one}" for one in sorted(found - expected)]
    return "\n".join(words)
