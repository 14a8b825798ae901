"""What can go wrong with the servers of one machine; every message says what was found and what to do."""

from __future__ import annotations

INSTEAD = (
    "Instead, run them yourself (`docker compose up -d` with compose.yaml does) and set SEGS_DOMAIN_DSN and "
    "SEGS_TELEMETRY_DSN, or set SEGS_PG_BIN to the bin folder of a PostgreSQL 16+ that has TimescaleDB."
)


class ServerError(Exception):
    """A local server can't be found, fetched, started or stopped."""


class NotFoundError(ServerError):
    """No usable server on this machine, and none can be fetched for it."""


class FetchError(ServerError):
    """The server packages could not be downloaded, verified or unpacked."""


class StartError(ServerError):
    """A server did not become ready; `log` is the tail of what it said."""

    def __init__(self, message: str, *, log: str = "") -> None:
        super().__init__(f"{message}\n{log}".rstrip())
        self.log = log


class PortTakenError(StartError):
    """The port asked for belongs to another process."""

    def __init__(self, port: int) -> None:
        super().__init__(f"port {port} on 127.0.0.1 is taken by another process; free it or choose another port")
        self.port = port


class StopError(ServerError):
    """A server is still there after its time to stop."""
