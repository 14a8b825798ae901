"""A gateway's report: the newest is kept, and nothing waits for it."""

from datetime import datetime

import msgspec
from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from cloud.db.queries import Queries
from cloud.ingest.errors import Malformed
from cloud.ingest.notes import storable
from cloud.instant import microseconds, moment
from contract.report import Report

_QUERIES = Queries("ingest")
_decoder = msgspec.json.Decoder(Report)


def parse(body: bytes) -> Report:
    """Raises Malformed."""
    try:
        return _decoder.decode(body)
    except msgspec.ValidationError as error:
        where = "$" + str(error).rpartition("`$")[2].rstrip("`") if "`$" in str(error) else "$"
        raise Malformed(str(error), where=where) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(str(error), where="$") from error


async def keep(connection: AsyncConnection, report: Report, gateway_id: int, now: datetime) -> None:
    """Put `report` in the place of the one before."""
    row = {
        "gateway_id": gateway_id,
        "now": now,
        "sent_at": moment(report.sent_us),
        "clock_ahead_s": (report.sent_us - microseconds(now)) / 1e6,
        "software": storable(report.software),
        "report": Jsonb(_storable(msgspec.to_builtins(report))),
    }
    await connection.execute(_QUERIES["report"], row)


def _storable(value: object) -> object:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, list | tuple):
        return [_storable(item) for item in value]
    if isinstance(value, dict):
        return {name: _storable(item) for name, item in value.items()}
    return value
