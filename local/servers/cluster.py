"""The files of a private PostgreSQL cluster: made, configured, and read after a crash."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from local.servers.errors import StartError
from local.servers.installation import Installation
from local.servers.process import Account, is_running, prefix
from local.servers.tree import ZONEINFO_LINK

OWNER = "segs"
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


class Cluster:
    """Data directory (`cluster/`), passwords, port and start log of one server, all below `folder`."""

    def __init__(self, *, folder: Path, settings: Mapping[str, str]) -> None:
        self.folder = folder
        self.data = folder / "cluster"
        self.port_file = folder / "port"
        self.start_log = folder / "start.log"
        self._settings = {**_SETTINGS, **settings}

    def running(self) -> tuple[int, int] | None:
        """(pid, port) of the postmaster that runs on these files."""
        lines = self.pid_lines()
        if len(lines) < 4 or not lines[0].isdigit() or not is_running(int(lines[0]), "-D", str(self.data)):
            return None
        return int(lines[0]), int(lines[3])

    def pid_lines(self) -> list[str]:
        """The lines of postmaster.pid: process id first, port fourth, state ("ready") eighth."""
        try:
            return (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return []

    def password(self, user: str) -> str:
        """The password kept for `user`; a new one is made and kept when there is none."""
        file = self.folder / "passwords" / user
        if not file.exists():
            file.parent.mkdir(mode=0o700, exist_ok=True)
            _write_secret(file, secrets.token_urlsafe(24))
        return file.read_text().strip()

    def create(self, installation: Installation, account: Account | None) -> None:
        """initdb unless done, into a folder that gets its name only when it is complete. Raises StartError."""
        if (self.data / "PG_VERSION").exists():
            self._check_version(installation)
            return
        partial = self.folder / "cluster.partial"
        for leftover in (partial, self.data):
            shutil.rmtree(leftover, ignore_errors=True)
        partial.mkdir(mode=0o700)
        password_file = partial.with_suffix(".password")
        password_file.unlink(missing_ok=True)
        _write_secret(password_file, self.password(OWNER))
        if account:
            account.owns(partial)
            account.owns(password_file)
        locale = ["--locale=C.UTF-8"]
        if int(installation.version.split(".")[0]) >= 17:
            # Needs no locale of the machine, and sorts the same everywhere.
            locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        initdb = installation.program("initdb")
        command = [
            *prefix(account=account, reaches=[initdb, partial]),
            *(str(initdb), "-D", str(partial), "-U", OWNER, "--encoding=UTF8", *locale),
            *("--auth=scram-sha-256", f"--pwfile={password_file}", "--no-instructions"),
            *(["--no-sync"] if self._settings.get("fsync") == "off" else []),
        ]
        # GMT is the one zone that needs no time zone database, to which the folder is not linked yet.
        environment = {**os.environ, "LC_ALL": "C", "TZ": "GMT"}
        done = subprocess.run(command, capture_output=True, text=True, cwd="/", env=environment, check=False)
        password_file.unlink(missing_ok=True)
        if done.returncode:
            raise StartError(f"initdb failed in {partial}", log=_tail(done.stdout + done.stderr))
        partial.rename(self.data)

    def configure(self, installation: Installation, account: Account | None) -> None:
        """Write the configuration; at every start, so that newer settings reach older clusters."""
        lines = [f"{name} = '{value}'\n" for name, value in self._settings.items()]
        for name, content in (("postgresql.conf", "".join(lines)), ("pg_hba.conf", _ACCESS)):
            (self.data / name).write_text(content)
            if account:
                account.owns(self.data / name)
        link = self.data / ZONEINFO_LINK
        link.unlink(missing_ok=True)
        if installation.zoneinfo:
            link.symlink_to(installation.zoneinfo)

    def disown_stranger(self) -> None:
        """A crashed server's pid file may name a living process that isn't PostgreSQL, which then refuses to start.

        Our own number, its parent's, takes the place: PostgreSQL passes that over, and still checks the shared memory
        that the file names for survivors of the crash, which removing the file would prevent.
        """
        lines = self.pid_lines()
        if lines and lines[0].isdigit() and is_running(int(lines[0])):
            with (self.data / "postmaster.pid").open("r+") as content:
                content.write("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
                content.truncate()

    def log_sizes(self) -> dict[Path, int]:
        """Bytes of each log so far, for `said`."""
        return {file: file.stat().st_size for file in (self.data / "log").glob("*.log")}

    def said(self, since: Mapping[Path, int]) -> str:
        """The end of what the server wrote after `since`, to its log and before it had one."""
        said = self.start_log.read_text(errors="replace")
        for file in sorted((self.data / "log").glob("*.log")):
            said += file.read_bytes()[since.get(file, 0) :].decode(errors="replace")
        return _tail(said)

    def _check_version(self, installation: Installation) -> None:
        has = (self.data / "PG_VERSION").read_text().strip()
        runs = installation.version.split(".")[0]
        if has != runs:
            raise StartError(
                f"{self.data} was made by PostgreSQL {has}, and {installation.bin_dir} is PostgreSQL {runs}; "
                "use the programs of that version (SEGS_PG_BIN) or move the folder away"
            )


def _write_secret(file: Path, secret: str) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as content:
        content.write(secret + "\n")


def _tail(text: str, lines: int = 20) -> str:
    return "\n".join(text.splitlines()[-lines:])
