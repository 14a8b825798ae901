"""The private PostgreSQL cluster: crashes, stale files, ports, users."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from local.servers import PortTakenError, PostgresServer, StartError, free_port, locate_postgres
from local.servers.process import account_for, prefix


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PostgresServer]:
    """A cluster with every setting as in production, so that a commit means durable."""
    server = PostgresServer(data_dir=tmp_path / "pg", bound_to_parent=True)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(server.data_dir)


def _one(dsn: str, query: str) -> object:
    with psycopg.connect(dsn, autocommit=True) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def test_what_was_committed_is_there_after_kill_9_and_the_address_is_the_same(server: PostgresServer) -> None:
    dsn, first_pid = server.dsn(), server.pid
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS n")

    server.kill()
    assert server.pid is None
    assert (server.data_dir / "cluster/postmaster.pid").exists()
    server.start()

    assert server.pid not in (None, first_pid)
    assert server.dsn() == dsn
    assert _one(dsn, "SELECT n FROM kept") == 7


def test_a_stale_pid_file_that_names_another_living_process_does_not_prevent_the_start(server: PostgresServer) -> None:
    server.kill()
    pid_file = server.data_dir / "cluster/postmaster.pid"
    account = account_for(pid_file)
    # Of the same user, so that PostgreSQL by itself would take it for its predecessor.
    with subprocess.Popen([*prefix(account=account, reaches=[]), "sleep", "60"]) as stranger:
        lines = pid_file.read_text().splitlines()
        pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
        assert server.pid is None

        server.start()

        assert server.pid not in (None, stranger.pid)
        assert stranger.poll() is None
        stranger.kill()


@pytest.mark.long
@pytest.mark.parametrize("number_reused", [False, True])
def test_survivors_of_a_killed_postmaster_keep_the_next_one_out(server: PostgresServer, number_reused: bool) -> None:
    """Two postmasters on one data directory destroy it, so nothing that makes a start succeed may forget survivors."""
    pid_file = server.data_dir / "cluster/postmaster.pid"
    with (
        subprocess.Popen([*prefix(account=account_for(pid_file), reaches=[]), "sleep", "60"]) as stranger,
        psycopg.connect(server.dsn()) as connection,
    ):
        os.kill(connection.info.backend_pid, signal.SIGSTOP)
        server.kill()
        if number_reused:
            pid_file.write_text("\n".join([str(stranger.pid), *pid_file.read_text().splitlines()[1:]]) + "\n")
        try:
            with pytest.raises(StartError, match="shared memory"):
                server.start(timeout_s=1.0)
        finally:
            os.kill(connection.info.backend_pid, signal.SIGCONT)
            stranger.kill()
    server.start()
    assert _one(server.dsn(), "SELECT 1") == 1


def test_two_starts_at_once_give_one_server(tmp_path: Path) -> None:
    program = "import sys; from pathlib import Path; from local.servers import PostgresServer\n"
    program += "s = PostgresServer(data_dir=Path(sys.argv[1])); s.start(); print(s.pid, s.dsn())"
    folder = tmp_path / "pg"
    starters = [
        subprocess.Popen([sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    try:
        said = {starter.communicate(timeout=60)[0] for starter in starters}
        assert [starter.returncode for starter in starters] == [0, 0, 0]
        assert len(said) == 1
    finally:
        PostgresServer(data_dir=folder).stop()
    assert PostgresServer(data_dir=folder).pid is None


def test_a_port_that_was_asked_for_and_is_taken_is_an_error_that_names_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortTakenError, match=f"port {port} .* taken"):
            PostgresServer(data_dir=tmp_path / "pg", port=port).start()


def test_a_kept_port_that_somebody_took_meanwhile_is_replaced(server: PostgresServer) -> None:
    port = server.port
    server.stop()
    with socket.create_server(("127.0.0.1", port)):
        server.start()
    assert server.port != port
    assert f":{server.port}/" in server.dsn()
    assert _one(server.dsn(), "SELECT 1") == 1


def test_a_running_server_is_adopted_with_its_real_port(server: PostgresServer) -> None:
    """The starter may have been killed before it noted anything."""
    (server.data_dir / "port").unlink()
    other = PostgresServer(data_dir=server.data_dir)
    other.start()
    assert (other.pid, other.dsn()) == (server.pid, server.dsn())
    with pytest.raises(StartError, match=f"already runs on port {server.port}"):
        PostgresServer(data_dir=server.data_dir, port=free_port()).start()


def test_an_interrupted_initdb_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    partial = tmp_path / "pg/cluster.partial"
    partial.mkdir(parents=True)
    (partial / "PG_VERSION").write_text("17\n")
    with PostgresServer(data_dir=tmp_path / "pg", bound_to_parent=True) as server:
        assert _one(server.dsn(), "SELECT 1") == 1
    shutil.rmtree(server.data_dir)


def test_a_cluster_of_another_version_is_left_alone(tmp_path: Path) -> None:
    cluster = tmp_path / "pg/cluster"
    cluster.mkdir(parents=True)
    (cluster / "PG_VERSION").write_text("9.6\n")
    with pytest.raises(StartError, match=r"made by PostgreSQL 9\.6"):
        PostgresServer(data_dir=tmp_path / "pg").start()
    assert (cluster / "PG_VERSION").read_text() == "9.6\n"


def test_nobody_enters_without_a_password_and_only_its_owner_can_read_it(server: PostgresServer) -> None:
    password_file = server.data_dir / "passwords/segs"
    assert stat.S_IMODE(password_file.stat().st_mode) == 0o600
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        psycopg.connect(f"postgresql://segs@127.0.0.1:{server.port}/postgres", passfile="/dev/null")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(f"postgresql://segs:wrong@127.0.0.1:{server.port}/postgres")


def test_a_service_role_gets_a_password_of_its_own_and_keeps_it(server: PostgresServer) -> None:
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute("CREATE ROLE segs_api")
    dsn = server.dsn("postgres", "segs_api")
    assert _one(dsn, "SELECT current_user") == "segs_api"
    assert server.dsn("postgres", "segs_api") == dsn
    with pytest.raises(psycopg.errors.UndefinedObject, match="segs_missing"):
        server.dsn("postgres", "segs_missing")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SHOW synchronous_commit", "on"),
        ("SHOW fsync", "on"),
        ("SHOW listen_addresses", "127.0.0.1"),
        ("SHOW unix_socket_directories", ""),
        ("SHOW server_encoding", "UTF8"),
        ("SHOW timezone", "UTC"),
        ("SHOW timescaledb.telemetry_level", "off"),
        ("SELECT current_setting('max_locks_per_transaction')::int >= 256", True),
        # Knows daylight saving from the time zone database: 01:30 UTC is after the change of 29 March 2026.
        ("SELECT ('2026-03-29 01:30+00'::timestamptz AT TIME ZONE 'Europe/Berlin')::text", "2026-03-29 03:30:00"),
        # Sorts by code point, on every machine alike.
        ("SELECT string_agg(c, '' ORDER BY c) FROM unnest(ARRAY['ä', 'a', 'Z', 'B']) AS c", "BZaä"),
        ("SELECT upper('ä')", "Ä"),
        ("SELECT count(*) > 400 FROM pg_timezone_names", True),
    ],
)
def test_the_cluster_is_set_up_the_same_on_every_machine(
    pg_durable: PostgresServer, query: str, expected: object
) -> None:
    assert _one(pg_durable.dsn(), query) == expected


@pytest.fixture(scope="module")
def pg_durable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    folder = tmp_path_factory.mktemp("pgd")
    with PostgresServer(data_dir=folder, bound_to_parent=True) as server:
        yield server
    shutil.rmtree(folder)


def test_a_bound_server_ends_with_its_starter_even_by_kill_9(tmp_path: Path) -> None:
    program = "import sys, time; from pathlib import Path; from local.servers import PostgresServer\n"
    program += "s = PostgresServer(data_dir=Path(sys.argv[1]), bound_to_parent=True); s.start()\n"
    program += "print('up', flush=True); time.sleep(60)"
    folder = tmp_path / "pg"
    with subprocess.Popen([sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == "up\n"
        assert PostgresServer(data_dir=folder).pid is not None
        starter.kill()
    deadline = time.monotonic() + 20
    while PostgresServer(data_dir=folder).pid is not None:
        assert time.monotonic() < deadline, "the server outlived the process it was bound to"
        time.sleep(0.05)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to close a folder to others")
def test_root_runs_it_in_a_folder_that_other_users_cannot_enter() -> None:
    closed = Path(tempfile.mkdtemp(prefix="segs-closed-"))
    try:
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
        with PostgresServer(data_dir=closed / "pg", bound_to_parent=True) as server:
            status = Path(f"/proc/{server.pid}/status").read_text()
            assert "\nUid:\t0" not in status
            assert _one(server.dsn(), "SELECT 1") == 1
    finally:
        shutil.rmtree(closed)


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests run as an ordinary user already")
def test_an_ordinary_user_runs_it_without_help() -> None:
    home = Path(tempfile.mkdtemp(prefix="segs-user-"))
    programs = locate_postgres().bin_dir
    account = account_for(home / "missing")
    assert account is not None
    account.owns(home)
    reachable = subprocess.run(
        [*prefix(account=account, reaches=[])[:4], "test", "-x", str(programs / "postgres")], check=False
    )
    if reachable.returncode:
        root = programs.parents[4] if (programs.parents[4] / "complete.json").exists() else programs.parent
        subprocess.run(["cp", "-a", str(root), str(home / "copy")], check=True)
        programs = home / "copy" / programs.relative_to(root)
    with warnings.catch_warnings():
        # Forked, because the interpreter itself may be where other users can't run it.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _become_and_run(account.uid, account.gid, home / "pg", programs)
    _, status = os.waitpid(child, 0)
    said = (home / "pg/said").read_text() if (home / "pg/said").exists() else "nothing"
    shutil.rmtree(home)
    assert said == f"segs {account.uid}"
    assert os.waitstatus_to_exitcode(status) == 0


def _become_and_run(uid: int, gid: int, folder: Path, programs: Path) -> None:
    status = 1
    try:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
        with PostgresServer(data_dir=folder, bin_dir=programs, bound_to_parent=True) as server:
            user = _one(server.dsn(), "SELECT current_user")
            server.kill()
            server.start()
            owner = Path(f"/proc/{server.pid}").stat().st_uid
            (folder / "said").write_text(f"{user} {owner}")
        status = 0
    finally:
        os._exit(status)


def test_the_edition_is_what_the_server_can_do(pg_durable: PostgresServer) -> None:
    with psycopg.connect(pg_durable.dsn(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE probe TEMPLATE template0")
        with psycopg.connect(pg_durable.dsn("probe"), autocommit=True) as probe:
            probe.execute("SET client_min_messages = error")
            probe.execute("CREATE EXTENSION timescaledb")
            try:
                probe.execute("SELECT time_bucket_gapfill('1 h', now(), now(), now()) GROUP BY 1")
                found = "community"
            except psycopg.errors.FeatureNotSupported:
                found = "apache"
        connection.execute("DROP DATABASE probe WITH (FORCE)")
    assert pg_durable.edition == found


def test_ports_are_free_when_they_are_given() -> None:
    ports = {free_port() for _ in range(5)}
    for port in ports:
        socket.create_server(("127.0.0.1", port)).close()
