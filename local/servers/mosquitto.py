"""A private Mosquitto broker on 127.0.0.1, all of it in one folder."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from local.servers.errors import PortTakenError, StartError
from local.servers.home import locked
from local.servers.installation import Installation, locate_mosquitto
from local.servers.ports import choose_port
from local.servers.process import end, is_running, prefix

_POLL_S = 0.02
# The broker writes its sessions and queues to disk at every change of a session (autosave_interval counts them then),
# so that kill -9 loses what it had in hand, not the sessions. What it sent to a gateway that is there is no change: it
# is in hand until the next one. Without limits it queues for as long as a gateway is away. The price is a whole file a
# round: some 900 messages/s to a gateway that is there, 450 at 3,000 waiting, then fewer.
_CONFIGURATION = """\
listener {port} 127.0.0.1
allow_anonymous true
{user}persistence true
persistence_location {data_dir}/
persistence_file sessions.db
autosave_on_changes true
autosave_interval 1
max_queued_messages 0
max_inflight_messages 1000
log_dest stderr
log_timestamp_format %Y-%m-%dT%H:%M:%S
"""


class MosquittoBroker:
    """One broker with its sessions in `data_dir`; anybody on this machine may connect.

    Without `port` it keeps the one of its last start, or picks a free one. A broker of the same folder that already
    runs is adopted by `start`. With `bound_to_parent` it ends with the thread that started it. `settings` are further
    lines of its configuration: another listener, or other limits.
    """

    def __init__(
        self,
        *,
        data_dir: Path,
        port: int | None = None,
        program: Path | None = None,
        bound_to_parent: bool = False,
        settings: str = "",
    ) -> None:
        self.data_dir = data_dir.resolve()
        self._settings = settings
        self._asked_port = port
        self._program = program
        self._bound_to_parent = bound_to_parent
        self._installation: Installation | None = None

    @property
    def installation(self) -> Installation:
        """The programs; located (fetched, the first time on a machine) when first asked for."""
        if self._installation is None:
            self._installation = locate_mosquitto()
        return self._installation

    @property
    def pid(self) -> int | None:
        """Process id of the running broker, None when it doesn't run."""
        try:
            pid = int((self.data_dir / "mosquitto.pid").read_text())
        except (OSError, ValueError):
            return None
        return pid if is_running(pid, "-c", str(self._configuration)) else None

    @property
    def port(self) -> int:
        """Port on 127.0.0.1: of the running broker, else of the next start. Raises StartError before the first one."""
        if self._asked_port is not None and self.pid is None:
            return self._asked_port
        try:
            return int((self.data_dir / "port").read_text())
        except (OSError, ValueError):
            raise StartError(f"the broker in {self.data_dir} has no port: it was never started") from None

    def start(self, timeout_s: float = 20.0) -> None:
        """Start the broker and return when it accepts connections; two starts at once give one broker.

        Raises StartError, PortTakenError (only for a port that was asked for).
        """
        with locked(self.data_dir / "lock"):
            if self.pid is None:
                self._launch(time.monotonic() + timeout_s)
            elif self._asked_port not in (None, self.port):
                raise StartError(f"the broker in {self.data_dir} already runs on port {self.port}; stop it first")

    def stop(self, timeout_s: float = 20.0) -> None:
        """Let the broker save its sessions and end. Raises StopError."""
        end(self.pid, signal.SIGTERM, timeout_s=timeout_s)

    def kill(self) -> None:
        """kill -9: messages of the last instant may be lost to the broker, not the sessions."""
        end(self.pid, signal.SIGKILL, timeout_s=10.0)

    def save(self) -> None:
        """Have the running broker write its sessions and queues soon. Raises StartError when it does not run."""
        if (pid := self.pid) is None:
            raise StartError(f"the broker in {self.data_dir} does not run")
        os.kill(pid, signal.SIGUSR1)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def _configuration(self) -> Path:
        return self.data_dir / "mosquitto.conf"

    def _launch(self, deadline: float) -> None:
        program = self._program or self.installation.program("mosquitto")
        log_file = self.data_dir / "mosquitto.log"
        while True:
            port = choose_port(asked=self._asked_port, kept_in=self.data_dir / "port")
            # As root Mosquitto becomes the user `mosquitto`, who may not exist and can't reach the folder.
            user = "user root\n" if os.geteuid() == 0 else ""
            configuration = _CONFIGURATION.format(port=port, user=user, data_dir=self.data_dir)
            self._configuration.write_text(configuration + self._settings)
            if log_file.exists():
                log_file.replace(log_file.with_suffix(".log.1"))
            with log_file.open("wb") as log:
                process = subprocess.Popen(
                    [
                        *prefix(account=None, reaches=[], bound_to_parent=self._bound_to_parent),
                        *(str(program), "-c", str(self._configuration)),
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd="/",
                    start_new_session=True,
                )
            (self.data_dir / "mosquitto.pid").write_text(str(process.pid))
            (self.data_dir / "port").write_text(str(port))
            if self._await_connections(process, port, deadline):
                # Not waited for: it is meant to go on. `end` reaps it if it is still our child then.
                process.returncode = 0
                return
            said = log_file.read_text(errors="replace")
            if "Address already in use" not in said:
                raise StartError(f"Mosquitto in {self.data_dir} ended with status {process.returncode}", log=said)
            if self._asked_port is not None:
                raise PortTakenError(port)
            (self.data_dir / "port").unlink(missing_ok=True)

    def _await_connections(self, process: subprocess.Popen[bytes], port: int, deadline: float) -> bool:
        """True when the broker answers, False when it ended. Raises StartError at the deadline."""
        while time.monotonic() < deadline:
            if process.poll() is not None:
                return False
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
            except OSError:
                time.sleep(_POLL_S)
                continue
            return True
        process.kill()
        process.wait()
        raise StartError(f"Mosquitto in {self.data_dir} (pid {process.pid}) is not ready in time")
