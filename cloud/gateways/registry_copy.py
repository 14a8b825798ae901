"""Keeps the telemetry database's registry tables equal to the domain database's registry views."""

from psycopg import Connection
from psycopg.rows import dict_row

from cloud.db.queries import Queries

_QUERIES = Queries("registry")
# Referenced tables first.
_STEPS = (
    "free_names",
    "merge_gateways",
    "merge_regions",
    "mark_moved",
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

    Tables that are equal already are not touched, so that receivers need not load them again.
    """
    with telemetry.transaction():
        # Before the domain is read: who waits here must not undo what the one before has copied.
        telemetry.execute(_QUERIES["lock"])
        wanted = _wanted(domain)
        if telemetry.execute(_QUERIES["differs"], wanted).fetchone() == (False,):
            return False
        for step in _STEPS:
            telemetry.execute(_QUERIES[step], wanted)
    return True


def _wanted(domain: Connection) -> dict[str, str] | None:
    """Per registry table its rows, a JSON array."""
    with domain.transaction(), domain.cursor(row_factory=dict_row) as cursor:
        cursor.execute(_QUERIES["write_exactly"])
        return cursor.execute(_QUERIES["wanted"]).fetchone()
