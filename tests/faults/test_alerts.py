"""From a reading to the mail that somebody gets, by real workers, one of which dies on the way."""

import os
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
import trustme

from cloud.identity.keys import KeyFolder, create
from tests.integration.alerts.conftest import DOMAIN, TELEMETRY, World
from tests.integration.notify.conftest import PASSWORD, USER, MailServer

_WITHIN_S = 90


@pytest.fixture
def mail_server(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[MailServer]:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with MailServer(context, free_port()) as server:
        yield server


@pytest.fixture
def world(domain_db: str, telemetry_db: str) -> Iterator[World]:
    for dsn, rows in ((domain_db, DOMAIN), (telemetry_db, TELEMETRY)):
        with psycopg.connect(dsn, autocommit=True) as owner:
            owner.execute(rows)
    made = World(domain_db, telemetry_db)
    yield made
    made.domain.close()
    made.telemetry.close()


@pytest.fixture
def worker(world: World, mail_server: MailServer, tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Starts one; all end with the test."""
    create(tmp_path / "keys", now=datetime.now(UTC))
    KeyFolder(tmp_path / "keys").current()
    password = tmp_path / "password"
    password.touch(0o600)
    password.write_text(f"{PASSWORD}\n")
    environment = {
        **os.environ,
        "SEGS_DOMAIN_DSN": world.domain_dsn,
        "SEGS_TELEMETRY_DSN": world.telemetry_dsn,
        "SEGS_SMTP_HOST": "127.0.0.1",
        "SEGS_SMTP_PORT": str(mail_server.port),
        "SEGS_SMTP_FROM": "meters@example.com",
        "SEGS_SMTP_USER": USER,
        "SEGS_SMTP_PASSWORD_FILE": str(password),
        "SEGS_SMTP_CA_FILE": str(tmp_path / "ca.pem"),
        "SEGS_SEALING_KEY": str(tmp_path / "keys" / "sealing.key"),
    }
    running: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        running.append(
            subprocess.Popen(
                [sys.executable, "-m", "cloud", "worker"],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.wait()


def _read(world: World, meter: int, power_w: float) -> datetime:
    """One reading of now, as the receiver stores it: with the mark of its minute."""
    now = datetime.now(UTC)
    with world.telemetry.transaction():
        world.measure_do(
            "INSERT INTO raw_readings (time, meter_id, batch_id, power_w, voltage_l1_v) VALUES (%s, %s, 1, %s, 230)",
            *(now, meter, power_w),
        )
        world.measure_do("SELECT mark_meters(1, ARRAY[%s::integer], %s, %s, %s)", meter, now, now, now)
    return now


@pytest.mark.long
def test_a_mail_is_accepted_within_ninety_seconds_of_the_reading_and_once_though_a_worker_dies(
    world: World, mail_server: MailServer, worker: Callable[[], subprocess.Popen[bytes]]
) -> None:
    """C11 and C12: each instance publishes half, or errors are swallowed and then committed."""
    [meter] = world.meters(exports=False, interval_s=1)
    world.do("UPDATE alert_rules SET for_s = 60 WHERE rule = 'reverse_power'")
    doomed = worker()
    worker()
    began = _read(world, meter, -900)
    while not mail_server.accepted and datetime.now(UTC) - began < timedelta(seconds=_WITHIN_S):
        time.sleep(1)
        _read(world, meter, -900)
        if datetime.now(UTC) - began > timedelta(seconds=20):
            doomed.kill()
    took_s = (datetime.now(UTC) - began).total_seconds()
    time.sleep(3)

    assert took_s < _WITHIN_S
    assert mail_server.to == ["ops@example.org"]
    assert world.alerts("rule, meter_id, state") == [("reverse_power", meter, "firing")]


@pytest.mark.long
def test_a_silence_is_noticed_within_three_intervals_and_thirty_seconds(
    world: World, worker: Callable[[], subprocess.Popen[bytes]]
) -> None:
    meter, _ = world.meters(2, exports=True, interval_s=2)
    worker()
    last = _read(world, meter, 100)
    while not (found := world.alerts("rule, meter_id, started_at, created_at")):
        assert datetime.now(UTC) - last < timedelta(seconds=60)
        time.sleep(0.5)

    [(rule, silent, since, noticed)] = found
    assert (rule, silent, since) == ("no_data", meter, last)
    assert (noticed - last).total_seconds() <= 3 * 2 + 30
