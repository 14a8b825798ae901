"""A private PostgreSQL server with TimescaleDB on 127.0.0.1, all of it in one folder."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from urllib.parse import quote

import psycopg
from psycopg import sql

from local.servers.cluster import OWNER, Cluster
from local.servers.errors import PortTakenError, StartError
from local.servers.home import locked
from local.servers.installation import Installation, inspect_postgres, locate_postgres
from local.servers.ports import choose_port
from local.servers.process import Account, account_for, end, prefix

Edition = Literal["community", "apache"]
StopMode = Literal["smart", "fast", "immediate"]

_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
_POLL_S = 0.02


class PostgresServer:
    """One cluster in `data_dir`, with the superuser `segs` and a generated password (`data_dir/passwords/`, mode 0600).

    Without `port` it keeps the one of its last start, or picks a free one. `settings` go over the built-in ones.
    A server of the same folder that already runs, started by whomever, is adopted by `start`.
    With `bound_to_parent` it ends with the thread that started it; else it outlives this process.
    """

    def __init__(
        self,
        *,
        data_dir: Path,
        port: int | None = None,
        bin_dir: Path | None = None,
        settings: Mapping[str, str] | None = None,
        bound_to_parent: bool = False,
    ) -> None:
        self.data_dir = data_dir.resolve()
        self._asked_port = port
        self._bin_dir = bin_dir
        self._cluster = Cluster(folder=self.data_dir, settings=settings or {})
        self._bound_to_parent = bound_to_parent
        self._installation: Installation | None = None
        self._edition: Edition | None = None

    @property
    def installation(self) -> Installation:
        """The programs; located (fetched, the first time on a machine) when first asked for."""
        if self._installation is None:
            self._installation = inspect_postgres(self._bin_dir, origin="given") if self._bin_dir else locate_postgres()
        return self._installation

    @property
    def pid(self) -> int | None:
        """Process id of the running postmaster, None when it doesn't run."""
        running = self._cluster.running()
        return running[0] if running else None

    @property
    def port(self) -> int:
        """Port on 127.0.0.1: of the running server, else of the next start. Raises StartError before the first one."""
        if running := self._cluster.running():
            return running[1]
        if self._asked_port is not None:
            return self._asked_port
        try:
            return int(self._cluster.port_file.read_text())
        except (OSError, ValueError):
            raise StartError(f"the PostgreSQL server in {self.data_dir} has no port: it was never started") from None

    @property
    def edition(self) -> Edition:
        """TimescaleDB's edition as the running server has it."""
        if self._edition is None:
            self._edition = self._detect_edition()
        return self._edition

    def dsn(self, database: str = "postgres", user: str = OWNER) -> str:
        """libpq URL of a database.

        A user other than `segs` must exist as a role and is given a password of its own; the server must run then.
        """
        if user != OWNER:
            self._give_password(user)
        port = self.port
        password = self._cluster.password(user)
        return f"postgresql://{quote(user, safe='')}:{password}@127.0.0.1:{port}/{quote(database, safe='')}"

    def start(self, timeout_s: float = 60.0) -> None:
        """Create the cluster if need be, start the server, return when it accepts connections.

        Two starts at once give one server. Raises StartError, PortTakenError (only for a port that was asked for).
        """
        with locked(self.data_dir / "lock"):
            if self.pid is None:
                account = account_for(self._cluster.data)
                self._cluster.create(self.installation, account)
                self._cluster.configure(self.installation, account)
                self._launch(account, time.monotonic() + timeout_s)
            elif self._asked_port not in (None, self.port):
                raise StartError(f"PostgreSQL in {self.data_dir} already runs on port {self.port}; stop it first")
            self._await_connections(time.monotonic() + timeout_s)

    def stop(self, mode: StopMode = "fast", timeout_s: float = 60.0) -> None:
        """Shut down and wait for the end; fast rolls open transactions back. Raises StopError."""
        end(self.pid, _SIGNALS[mode], timeout_s=timeout_s)

    def kill(self) -> None:
        """kill -9 the postmaster, as a crash would; its children notice and leave by themselves."""
        end(self.pid, signal.SIGKILL, timeout_s=10.0)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _launch(self, account: Account | None, deadline: float) -> None:
        postgres = self.installation.program("postgres")
        within_reach = [postgres, self._cluster.data / "PG_VERSION"]
        command = [
            *prefix(account=account, reaches=within_reach, bound_to_parent=self._bound_to_parent),
            *(str(postgres), "-D", str(self._cluster.data)),
        ]
        said = ""
        while True:
            port = choose_port(asked=self._asked_port, kept_in=self._cluster.port_file)
            self._cluster.disown_stranger()
            since = self._cluster.log_sizes()
            with self._cluster.start_log.open("wb") as log:
                process = subprocess.Popen(
                    [*command, "-p", str(port)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self._cluster.data,  # the settings' time zone is looked up before PostgreSQL goes there itself
                    start_new_session=True,
                    env={**os.environ, "LC_ALL": "C"},
                )
            self._cluster.port_file.write_text(str(port))
            if self._await_ready(process, deadline):
                # Not waited for: it is meant to go on. `end` reaps it if it is still our child then.
                process.returncode = 0
                return
            if process.returncode is None:
                process.kill()
                process.wait()
                raise StartError(
                    f"PostgreSQL in {self.data_dir} is not ready in time", log=said or self._cluster.said(since)
                )
            said = self._cluster.said(since)
            taken = "could not bind" in said
            if taken and self._asked_port is not None:
                raise PortTakenError(port)
            # Children of a killed postmaster may still be on their way out. PostgreSQL does not wait for them: we do.
            if not taken and "pre-existing shared memory block" not in said:
                raise StartError(f"PostgreSQL in {self.data_dir} ended with status {process.returncode}", log=said)
            time.sleep(_POLL_S)

    def _await_ready(self, process: subprocess.Popen[bytes], deadline: float) -> bool:
        """True when the server says it is ready; False when it ended (it has a returncode then) or at the deadline."""
        while time.monotonic() < deadline:
            lines = self._cluster.pid_lines()
            if len(lines) >= 8 and lines[0] == str(process.pid) and lines[7].strip() == "ready":
                return True
            if process.poll() is not None:
                return False
            time.sleep(_POLL_S)
        return False

    def _await_connections(self, deadline: float) -> None:
        while True:
            try:
                with psycopg.connect(self.dsn(), connect_timeout=10, autocommit=True) as connection:
                    connection.execute("SET timezone = 'Europe/Berlin'")
                return
            except psycopg.errors.InvalidParameterValue as error:
                raise StartError(
                    f"PostgreSQL in {self.installation.bin_dir} knows no time zones ({error}); install tzdata"
                ) from error
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline:
                    raise StartError(f"PostgreSQL on port {self.port} refuses connections: {error}") from error
            time.sleep(_POLL_S)

    def _detect_edition(self) -> Edition:
        with psycopg.connect(self.dsn()) as connection:
            connection.execute("SET client_min_messages = error")
            connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
            row = connection.execute(
                "SELECT _timescaledb_functions.tsl_loaded() AND current_setting('timescaledb.license') = 'timescale'"
            ).fetchone()
            connection.rollback()
        return "community" if row and row[0] else "apache"

    def _give_password(self, user: str) -> None:
        with locked(self.data_dir / "lock"):
            password = self._cluster.password(user)
            # Again each time: the role may have been dropped and made anew since.
            with psycopg.connect(self.dsn(), autocommit=True) as connection:
                connection.execute(
                    sql.SQL("ALTER ROLE {} WITH LOGIN PASSWORD {}").format(sql.Identifier(user), sql.Literal(password))
                )
