"""A second PostgreSQL that follows a first one as operators have it: streaming, with commits that wait for it."""

import shutil
import subprocess
import time
from pathlib import Path

import psycopg

from local.servers import PostgresServer
from local.servers.process import account_for, prefix

NAME = "standby"


def standby_of(primary: PostgresServer, data_dir: Path) -> PostgresServer:
    """A running standby of `primary`; every commit of `primary` waits for it from now on."""
    cluster = data_dir / "cluster"
    cluster.mkdir(parents=True, mode=0o700)
    account = account_for(primary.data_dir / "cluster")
    if account:
        account.owns(cluster)
    shutil.copytree(primary.data_dir / "passwords", data_dir / "passwords")
    with (primary.data_dir / "cluster" / "pg_hba.conf").open("a") as access:
        access.write("host replication all 127.0.0.1/32 scram-sha-256\n")
    with psycopg.connect(primary.dsn(), autocommit=True) as connection:
        connection.execute("SELECT pg_reload_conf()")
    program = primary.installation.program("pg_basebackup")
    command = [
        *prefix(account=account, reaches=[program, cluster]),
        *(str(program), f"--pgdata={cluster}", f"--dbname={primary.dsn()}?application_name={NAME}"),
        *("--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast"),
    ]
    subprocess.run(command, check=True, capture_output=True, cwd="/")
    standby = PostgresServer(data_dir=data_dir, bound_to_parent=True)
    standby.start()
    wait_for_standby(primary)
    return standby


def wait_for_standby(primary: PostgresServer) -> None:
    """Let commits of `primary` wait for its standby, and see that it follows."""
    with psycopg.connect(primary.dsn(), autocommit=True) as connection:
        connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{NAME}'")
        connection.execute("SELECT pg_reload_conf()")
        deadline = time.monotonic() + 30
        query = "SELECT FROM pg_stat_replication WHERE sync_state = 'sync' AND state = 'streaming'"
        while connection.execute(query).fetchone() is None:
            assert time.monotonic() < deadline, "the standby does not follow"
            time.sleep(0.05)


def either(*servers: PostgresServer) -> str:
    """DSN of whichever server takes writes."""
    hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
    head = servers[0].dsn().split("@")[0]
    return f"{head}@{hosts}/postgres?target_session_attrs=read-write"


def promote(standby: PostgresServer) -> None:
    with psycopg.connect(standby.dsn(), autocommit=True) as connection:
        assert connection.execute("SELECT pg_promote(true, 30)").fetchone() == (True,)
