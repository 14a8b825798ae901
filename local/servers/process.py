"""Server processes: who runs them, whether they are alive and ours, and how they end."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from local.servers.errors import StartError, StopError

_POLL_S = 0.02


@dataclass(frozen=True, kw_only=True)
class Account:
    """The unprivileged user that runs PostgreSQL for root, which PostgreSQL refuses to run as."""

    name: str
    uid: int
    gid: int

    def owns(self, path: Path) -> None:
        """Give `path` to this account."""
        os.chown(path, self.uid, self.gid)


def account_for(folder: Path) -> Account | None:
    """None for an ordinary user; for root the owner of `folder` when it has an ordinary one, else `nobody`.

    `nobody` is there on every machine, so no user is added. Raises StartError.
    """
    if os.geteuid() != 0:
        return None
    uid = folder.stat().st_uid if folder.exists() else 0
    try:
        entry = pwd.getpwuid(uid) if uid else pwd.getpwnam("nobody")
    except KeyError:
        raise StartError(
            f"PostgreSQL refuses to run as root, and there is no user {uid or 'nobody'} on this machine to run it as; "
            "run this as an ordinary user"
        ) from None
    return Account(name=entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid)


def prefix(*, account: Account | None, reaches: Sequence[Path], bound_to_parent: bool = False) -> list[str]:
    """The start of a command line that runs the rest as `account`.

    All of `reaches` must be within the account's reach. Where a parent folder is closed to it (a checkout below /root),
    it keeps root's right to pass (CAP_DAC_OVERRIDE, which containers have by default) and no other.
    With `bound_to_parent` the server is shut down by the kernel when the thread that starts it ends, however it ends.
    """
    if account is None and not bound_to_parent:
        return []
    setpriv = shutil.which("setpriv", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/bin"]))
    if setpriv is None:
        raise StartError("the program setpriv is missing; on Debian it is in the package util-linux")
    command = [setpriv]
    if account is not None:
        command += [f"--reuid={account.uid}", f"--regid={account.gid}", "--clear-groups"]
        if not all(_reaches(command, path) for path in reaches):
            # Without the secure bit, access(2), which PostgreSQL asks about its own files, would overlook the right.
            command += ["--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--securebits=+no_setuid_fixup"]
            blocked = [str(path) for path in reaches if not _reaches(command, path)]
            if blocked:
                raise StartError(
                    f"PostgreSQL refuses to run as root, and the user {account.name} can't reach {', '.join(blocked)}; "
                    "set SEGS_HOME to a folder that everybody may enter, or run this as an ordinary user"
                )
    if bound_to_parent:
        command.append("--pdeathsig=INT")
    return command


def is_running(pid: int, *arguments: str) -> bool:
    """Whether `pid` lives and has all `arguments` on its command line: a number alone proves nothing.

    After a crash or a reboot the number in a pid file may be anybody's.
    """
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return False
    return start_ticks(pid) is not None and all(argument in words for argument in arguments)


def end(pid: int | None, signal_number: signal.Signals, *, timeout_s: float) -> None:
    """Signal the process, if any, and wait until it is gone, its ports too. Raises StopError after `timeout_s`."""
    if pid is None or (started := start_ticks(pid)) is None:
        return
    try:
        os.kill(pid, signal_number)
    except ProcessLookupError:
        return
    except PermissionError:
        raise StopError(f"process {pid} belongs to another user; stop it as that user or as root") from None
    deadline = time.monotonic() + timeout_s
    # By state and not by command line, which a dying process loses before its sockets.
    while start_ticks(pid) == started:
        if time.monotonic() > deadline:
            raise StopError(f"process {pid} still runs {timeout_s:g} s after {signal_number.name}")
        time.sleep(_POLL_S)
    _reap(pid)


def start_ticks(pid: int) -> int | None:
    """Start of a living process in clock ticks since boot, which tells it from a later one of the same number.

    None when no process has that number, or one that is dead and not yet reaped.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return  # started by another process


def _reaches(command: Sequence[str], path: Path) -> bool:
    return subprocess.run([*command, "test", "-r", str(path)], capture_output=True, check=False).returncode == 0
