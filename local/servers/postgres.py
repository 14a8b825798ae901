"""A private PostgreSQL cluster with TimescaleDB on 127.0.0.1, all of it in one folder."""

from __future__ import annotations

import os
import secrets
import shutil
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

from local.servers.errors import PortTakenError, StartError
from local.servers.home import locked
from local.servers.installation import Installation, inspect_postgres, locate_postgres
from local.servers.ports import free_port, is_free, kept_port
from local.servers.process import Account, account_for, end, is_running, prefix
from local.servers.tree import ZONEINFO_LINK

Edition = Literal["community", "apache"]
StopMode = Literal["smart", "fast", "immediate"]

_OWNER = "segs"
_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
_POLL_S = 0.02
# Why each of them: TimescaleDB's workers (one per database and job, plus the launcher) come out of the common pool;
# a chunk is a relation, so its locks are many; a commit that we acknowledge must be on the disk.
_SETTINGS: Mapping[str, str] = {
    "shared_preload_libraries": "timescaledb",
    "timescaledb.telemetry_level": "off",
    "timescaledb.max_background_workers": "32",
    "max_worker_processes": "48",
    "max_locks_per_transaction": "512",
    "max_connections": "200",
    "synchronous_commit": "on",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "password_encryption": "scram-sha-256",
    # Nothing of the cluster lives outside its folder, not even after kill -9.
    "unix_socket_directories": "",
    "dynamic_shared_memory_type": "mmap",
    "listen_addresses": "127.0.0.1",
    # A log per weekday, each at most a day old: bounded without anybody's help.
    "logging_collector": "on",
    "log_directory": "log",
    "log_filename": "postgresql-%a.log",
    "log_rotation_age": "1d",
    "log_rotation_size": "0",
    "log_truncate_on_rotation": "on",
    "log_line_prefix": "%m [%p] %q%u@%d ",
}
_ACCESS = """\
# Passwords for everybody: other users of this machine reach 127.0.0.1 too.
host all all 127.0.0.1/32 scram-sha-256
"""


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
        self.data_dir = data_dir.absolute()
        self._asked_port = port
        self._bin_dir = bin_dir
        self._settings = dict(settings or {})
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
        lines = self._pid_lines()
        if not lines or not lines[0].isdigit() or not is_running(int(lines[0]), "-D", str(self._cluster)):
            return None
        return int(lines[0])

    @property
    def port(self) -> int:
        """Port on 127.0.0.1: of the running server, else of the next start. Raises StartError before the first one."""
        if self.pid is not None:
            return int(self._pid_lines()[3])
        if self._asked_port is not None:
            return self._asked_port
        try:
            return int(self._port_file.read_text())
        except (OSError, ValueError):
            raise StartError(f"the PostgreSQL server in {self.data_dir} has no port: it was never started") from None

    @property
    def edition(self) -> Edition:
        """TimescaleDB's edition as the running server has it."""
        if self._edition is None:
            self._edition = self._detect_edition()
        return self._edition

    def dsn(self, database: str = "postgres", user: str = _OWNER) -> str:
        """libpq URL of a database.

        A user other than `segs` must exist as a role and is given a password of its own; the server must run then.
        """
        if user != _OWNER:
            self._give_password(user)
        port = self.port
        password = self._password_file(user).read_text().strip()
        return f"postgresql://{quote(user, safe='')}:{password}@127.0.0.1:{port}/{quote(database, safe='')}"

    def start(self, timeout_s: float = 60.0) -> None:
        """Create the cluster if need be, start the server, return when it accepts connections.

        Two starts at once give one server. Raises StartError, PortTakenError (only for a port that was asked for).
        """
        self.data_dir.mkdir(parents=True, exist_ok=True)
        with locked(self.data_dir / "lock"):
            if self.pid is None:
                account = account_for(self._cluster)
                self._create(account)
                self._launch(account, time.monotonic() + timeout_s)
            elif self._asked_port not in (None, self.port):
                raise StartError(f"PostgreSQL in {self.data_dir} already runs on port {self.port}; stop it first")
            self._await_connections(time.monotonic() + timeout_s)

    def stop(self, mode: StopMode = "fast", timeout_s: float = 60.0) -> None:
        """Shut down and wait for the end; fast rolls open transactions back. Raises StopError."""
        pid = self.pid
        if pid is not None:
            end(pid, _SIGNALS[mode], timeout_s=timeout_s)

    def kill(self) -> None:
        """kill -9 the postmaster, as a crash would; its children notice and leave by themselves."""
        pid = self.pid
        if pid is not None:
            end(pid, signal.SIGKILL, timeout_s=10.0)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def _cluster(self) -> Path:
        return self.data_dir / "cluster"

    @property
    def _port_file(self) -> Path:
        return self.data_dir / "port"

    @property
    def _start_log(self) -> Path:
        return self.data_dir / "start.log"

    def _password_file(self, user: str) -> Path:
        return self.data_dir / "passwords" / user

    def _pid_lines(self) -> list[str]:
        try:
            return (self._cluster / "postmaster.pid").read_text().splitlines()
        except OSError:
            return []

    def _create(self, account: Account | None) -> None:
        """initdb into a folder that gets its name only when it is complete."""
        if (self._cluster / "PG_VERSION").exists():
            self._check_version()
            return
        partial = self.data_dir / "cluster.partial"
        for leftover in (partial, self._cluster):
            shutil.rmtree(leftover, ignore_errors=True)
        partial.mkdir(mode=0o700)
        password = self._password(_OWNER)
        password_file = partial.with_suffix(".password")
        password_file.unlink(missing_ok=True)
        _write_secret(password_file, password)
        if account:
            account.owns(partial)
            account.owns(password_file)
        provider = ["--locale=C.UTF-8"]
        if int(self.installation.version.split(".")[0]) >= 17:
            # Needs no locale of the machine, and sorts the same everywhere.
            provider = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        initdb = self.installation.program("initdb")
        command = [
            *prefix(account=account, reaches=[initdb, partial]),
            *(str(initdb), "-D", str(partial), "-U", _OWNER, "--encoding=UTF8", *provider),
            *("--auth=scram-sha-256", f"--pwfile={password_file}", "--no-sync", "--no-instructions"),
        ]
        # GMT is the one zone that needs no time zone database, to which the folder is not linked yet.
        environment = {**os.environ, "LC_ALL": "C", "TZ": "GMT"}
        done = subprocess.run(command, capture_output=True, text=True, cwd="/", env=environment, check=False)
        password_file.unlink(missing_ok=True)
        if done.returncode:
            raise StartError(f"initdb failed in {partial}", log=_tail(done.stdout + done.stderr))
        self._configure(partial, account)
        partial.rename(self._cluster)

    def _check_version(self) -> None:
        has = (self._cluster / "PG_VERSION").read_text().strip()
        runs = self.installation.version.split(".")[0]
        if has != runs:
            raise StartError(
                f"{self._cluster} was made by PostgreSQL {has}, and {self.installation.bin_dir} is PostgreSQL {runs}; "
                "use the programs of that version (SEGS_PG_BIN) or move the folder away"
            )

    def _configure(self, cluster: Path, account: Account | None) -> None:
        """Write the configuration; at every start, so that newer settings reach older clusters."""
        lines = [f"{name} = '{value}'\n" for name, value in {**_SETTINGS, **self._settings}.items()]
        (cluster / "postgresql.conf").write_text("".join(lines))
        (cluster / "pg_hba.conf").write_text(_ACCESS)
        link = cluster / ZONEINFO_LINK
        link.unlink(missing_ok=True)
        if self.installation.zoneinfo:
            link.symlink_to(self.installation.zoneinfo)
        if account:
            for name in ("postgresql.conf", "pg_hba.conf"):
                account.owns(cluster / name)

    def _launch(self, account: Account | None, deadline: float) -> None:
        self._configure(self._cluster, account)
        postgres = self.installation.program("postgres")
        command = [
            *prefix(
                account=account, reaches=[postgres, self._cluster / "PG_VERSION"], bound_to_parent=self._bound_to_parent
            ),
            *(str(postgres), "-D", str(self._cluster)),
        ]
        said = ""
        while True:
            port = self._choose_port()
            self._disown_foreign_pid()
            with self._start_log.open("wb") as log:
                process = subprocess.Popen(
                    [*command, "-p", str(port)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self._cluster,  # the settings' time zone is looked up before PostgreSQL goes there itself
                    start_new_session=True,
                    env={**os.environ, "LC_ALL": "C"},
                )
            self._port_file.write_text(str(port))
            if self._await_ready(process, deadline, said):
                # Not waited for: it is meant to go on. `end` reaps it if it is still our child then.
                process.returncode = 0
                return
            said = self._said()
            taken = "could not bind" in said
            if taken and self._asked_port is not None:
                raise PortTakenError(port)
            # Children of a killed postmaster may still be on their way out. PostgreSQL does not wait for them: we do.
            if not (taken or "pre-existing shared memory block" in said) or time.monotonic() > deadline:
                raise StartError(f"PostgreSQL in {self.data_dir} ended with status {process.returncode}", log=said)
            if taken:
                self._port_file.unlink(missing_ok=True)
            time.sleep(_POLL_S)

    def _choose_port(self) -> int:
        if self._asked_port is not None:
            if not is_free(self._asked_port):
                raise PortTakenError(self._asked_port)
            return self._asked_port
        return kept_port(self._port_file) or free_port()

    def _disown_foreign_pid(self) -> None:
        """A crashed server's pid file may name a process that isn't PostgreSQL; PostgreSQL would refuse to start.

        Our own number, its parent's, takes the place: PostgreSQL passes that over, and still checks the shared memory
        that the file names for survivors of the crash, which removing the file would prevent.
        """
        lines = self._pid_lines()
        if not lines:
            return
        file = self._cluster / "postmaster.pid"
        with file.open("r+") as content:
            content.write("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
            content.truncate()

    def _await_ready(self, process: subprocess.Popen[bytes], deadline: float, said_before: str) -> bool:
        """True when the server says it is ready, False when it ended. Raises StartError at the deadline."""
        while time.monotonic() < deadline:
            lines = self._pid_lines()
            if len(lines) >= 8 and lines[0] == str(process.pid) and lines[7].strip() == "ready":
                return True
            if process.poll() is not None:
                return False
            time.sleep(_POLL_S)
        process.kill()
        process.wait()
        raise StartError(f"PostgreSQL in {self.data_dir} is not ready in time", log=said_before or self._said())

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

    def _password(self, user: str) -> str:
        """The password kept for `user`; a new one is made and kept when there is none."""
        file = self._password_file(user)
        if not file.exists():
            file.parent.mkdir(mode=0o700, exist_ok=True)
            _write_secret(file, secrets.token_urlsafe(24))
        return file.read_text().strip()

    def _give_password(self, user: str) -> None:
        with locked(self.data_dir / "lock"):
            password = self._password(user)
            # Again each time: the role may have been dropped and made anew since.
            with psycopg.connect(self.dsn(), autocommit=True) as connection:
                connection.execute(
                    sql.SQL("ALTER ROLE {} WITH LOGIN PASSWORD {}").format(sql.Identifier(user), sql.Literal(password))
                )

    def _said(self) -> str:
        logs = sorted((self._cluster / "log").glob("*.log"), key=lambda file: file.stat().st_mtime)
        return "\n".join(_tail(file.read_text(errors="replace")) for file in [self._start_log, *logs[-1:]])


def _write_secret(file: Path, secret: str) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as content:
        content.write(secret + "\n")


def _tail(text: str, lines: int = 20) -> str:
    return "\n".join(text.splitlines()[-lines:])
