"""Keeps the telemetry database's registry tables equal to the domain database's registry views."""

from typing import Any

from psycopg import Connection, IsolationLevel

from cloud.db.queries import Queries

PAUSE_S = 10
"""A worker looks this often whether there is anything to copy, seconds."""
_QUERIES = Queries("registry")
_TABLES = ("gateways", "regions", "capacities", "devices", "epochs")
# Referenced tables first.
_STEPS = (
    "free_names",
    "merge_gateways",
    "merge_regions",
    "mark_moved",
    "mark_registers",
    "delete_capacities",
    "insert_capacities",
    "delete_devices",
    "insert_devices",
    "mark_exchanges",
    "delete_epochs",
    "insert_epochs",
)


def copy_registry(domain: Connection, telemetry: Connection) -> bool:
    """Bring the registry tables in step; whether anything had to change. One copy at a time, in one transaction.

    A state that was copied before is known by its token and not read again. Tables that are equal already are not
    touched, so that receivers need not load them again. `domain` is at rest.
    """
    with telemetry.transaction():
        # Before the domain is read: who waits here must not undo what the one before has copied.
        telemetry.execute(_QUERIES["lock"])
        copied = telemetry.execute(_QUERIES["copied"]).fetchone()
        # All of it is of one moment.
        domain.isolation_level = IsolationLevel.REPEATABLE_READ
        with domain.transaction():
            token = _one(domain, "state")
            if copied == (token,):
                return False
            _stage(domain, telemetry)
        changed = bool(_one(telemetry, "differs"))
        for step in _STEPS if changed else ():
            telemetry.execute(_QUERIES[step])
        telemetry.execute(_QUERIES["remember"], {"token": token})
    return changed


def _stage(domain: Connection, telemetry: Connection) -> None:
    """What is wanted, in temporary tables of `telemetry`."""
    domain.execute(_QUERIES["write_exactly"])
    telemetry.execute(_QUERIES["stage"])
    for table in _TABLES:
        with (
            domain.cursor().copy(_QUERIES[f"read_{table}"]) as rows,
            telemetry.cursor().copy(_QUERIES[f"write_{table}"]) as room,
        ):
            for some in rows:
                room.write(some)
    telemetry.execute(_QUERIES["analyse"])


def _one(connection: Connection, query: str) -> Any:
    row = connection.execute(_QUERIES[query]).fetchone()
    assert row is not None
    return row[0]
