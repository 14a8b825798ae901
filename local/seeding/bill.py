"""One bill of the history, made in its time and paid by nobody, so that there is one that is overdue."""

from datetime import UTC, datetime, timedelta

import psycopg

from cloud.billing.run import Run
from cloud.db.queries import Queries
from local.databases import Databases
from local.seeding.folder import Note, month_with_bills
from local.seeding.registration import ACTOR, serial

_QUERIES = Queries("seeding")
# Then the month is over in every zone, and its late readings have come.
_AFTER = timedelta(hours=50)
_DEVICE, _TO_PAY_DAYS = "south-1", 0


def bill_one(databases: Databases, note: Note, *, now: datetime) -> None:
    """Nothing, where the history does not have the whole month. Raises psycopg's errors."""
    month = month_with_bills(now)
    if note.begin.date() >= month:
        return
    end = (month + timedelta(days=32)).replace(day=1)
    then = datetime(end.year, end.month, end.day, tzinfo=UTC) + _AFTER
    with (
        psycopg.connect(databases.dsn("domain"), autocommit=True) as domain,
        psycopg.connect(databases.dsn("telemetry"), autocommit=True) as telemetry,
    ):
        found = domain.execute(_QUERIES["to_bill"], {"serial": serial(_DEVICE)}).fetchone()
        assert found is not None
        code, payment_days = found
        domain.execute(_QUERIES["actor_of_session"], {"actor": ACTOR})
        domain.execute(_QUERIES["set_payment_days"], {"days": _TO_PAY_DAYS})
        try:
            for _ in Run(domain, telemetry, month=month, meters=(code,), clock=lambda: then):
                pass
        finally:
            domain.execute(_QUERIES["set_payment_days"], {"days": payment_days})
