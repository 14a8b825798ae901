"""The API over a telemetry database that was restored from a dump into a server that is younger."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from cloud.schema.apply import apply
from local.servers import PostgresServer, free_port
from tests.integration.api.conftest import PASSWORD, Api, await_ready, databases, start
from tests.integration.api.measured import register
from tests.integration.api.test_live import store, watching
from tests.sql.people import SEED

NAME = "segs"
SECOND = timedelta(seconds=1)


@pytest.fixture
def old(tmp_path: Path) -> Iterator[PostgresServer]:
    with PostgresServer(data_dir=tmp_path / "old", bound_to_parent=True) as server:
        with psycopg.connect(server.dsn(), autocommit=True) as owner:
            owner.execute(f"CREATE DATABASE {NAME}".encode())
        apply(server.dsn(NAME), "telemetry")
        yield server


@pytest.fixture
def api(pg_server: PostgresServer, domain_template: str, old: PostgresServer, tmp_path: Path) -> Iterator[Api]:
    for (name,) in databases(pg_server, domain_template):
        apply(pg_server.dsn(name), "domain", again=True)
        environment = {
            "SEGS_DOMAIN_DSN": pg_server.dsn(name, "segs_api"),
            "SEGS_TELEMETRY_DSN": old.dsn(NAME, "segs_api"),
            "SEGS_ENV": "development",
            "SEGS_KEYS": str(tmp_path / "keys"),
        }
        with psycopg.connect(pg_server.dsn(name), autocommit=True) as owner:
            owner.execute(SEED)
        port, log = free_port(), tmp_path / "log"
        process = start(environment, log, port)
        try:
            await_ready(f"http://127.0.0.1:{port}", process, log)
            running = Api(f"http://127.0.0.1:{port}", pg_server.dsn(name), old.dsn(NAME), environment, process, log)
            with closing(running):
                told = ("user", "create", "--email", "hash@example.net", "--name", "H")
                assert running.segs_cloud(*told, typed=PASSWORD + "\n").returncode == 0
                yield running
        finally:
            process.terminate()
            process.wait(timeout=20)


def pass_by(dsn: str, transactions: int) -> None:
    """So many transactions of others."""
    with psycopg.connect(dsn, autocommit=True) as owner:
        loop = f"FOR i IN 1..{transactions} LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP"
        owner.execute(f"DO $$ BEGIN {loop}; END $$".encode())


def restored(old: PostgresServer, folder: Path) -> PostgresServer:
    """Another server with what `old` has, as docs/operations.md says to restore; it takes the place of `old`."""
    new = PostgresServer(data_dir=folder / "new", bound_to_parent=True)
    new.data_dir.mkdir()
    shutil.copytree(old.data_dir / "passwords", new.data_dir / "passwords")
    new.start()
    with psycopg.connect(new.dsn(), autocommit=True) as owner:
        owner.execute(f"CREATE DATABASE {NAME} TEMPLATE template0".encode())
    _program(old, "pg_dump", "--format=custom", f"--file={folder}/dump", old.dsn(NAME))
    with psycopg.connect(new.dsn(NAME), autocommit=True) as owner:
        owner.execute("CREATE EXTENSION timescaledb")
        owner.execute("SELECT timescaledb_pre_restore()")
        _program(new, "pg_restore", "--no-privileges", f"--dbname={new.dsn(NAME)}", f"{folder}/dump")
        owner.execute("SELECT timescaledb_post_restore()")
    apply(new.dsn(NAME), "telemetry", again=True)
    new.dsn(NAME, "segs_api")
    new.stop()
    port = old.port
    old.stop()
    return PostgresServer(data_dir=new.data_dir, port=port, bound_to_parent=True)


def _program(server: PostgresServer, name: str, *arguments: str) -> None:
    command = [str(server.installation.program(name)), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.long
def test_readings_go_on_arriving_and_what_was_restored_does_not_arrive_again(
    api: Api, old: PostgresServer, tmp_path: Path
) -> None:
    person, now = api.person(), datetime.now(UTC)
    code = person.meter()
    register(api, code)
    # The server of the dump is far ahead of the one that it is restored into.
    pass_by(api.telemetry, 20_000)
    with watching(api, person, code) as stream:
        store(api, (code, now, 1))
        assert stream.powers(1) == [(code, 1)]
        last_id = stream.last_id
        api.close_owners()
        with restored(old, tmp_path):
            name, told = stream.event()
            assert (name, "begin without an id" in told["reason"]) == ("end", True)
            headers = {"authorization": f"Bearer {person.token}", "last-event-id": str(last_id)}
            refused = api.client.get("/api/v1/telemetry/live", params={"meter": code}, headers=headers)
            assert (refused.status_code, refused.json()["where"]) == (422, "header.Last-Event-ID")
            with watching(api, person, code) as again:
                pass_by(api.telemetry, 40_000)
                store(api, (code, now + SECOND, 2))
                assert again.powers(1) == [(code, 2)]
            latest = api.get(f"/telemetry/meters/{code}/latest", token=person.token)
            assert latest.json()["data"]["reading"]["power_w"] == 2
