"""What the telemetry database holds of a meter: rows of raw_readings, sums of the aggregates."""

import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg
from psycopg import sql

from contract.batch import Flag
from contract.quantities import BY_NAME, QUANTITIES, Kind
from local.proof.errors import ProofError
from local.proof.truth import Values

_COLUMNS = sql.SQL(", ").join(sql.Identifier(quantity.name) for quantity in QUANTITIES)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RAW_KEPT = timedelta(days=7)
_MINUTES_KEPT = timedelta(days=30)
_SINGLE = struct.Struct("f")


@dataclass(frozen=True, slots=True)
class Row:
    """A row of raw_readings without its NULLs; reals as 64-bit floats of the single that is stored."""

    time_us: int
    from_device: bool
    values: Values


def as_stored(name: str, value: float) -> int | float:
    """`value` as raw_readings gives it back: a register as it is, anything else through a single."""
    if BY_NAME[name].kind is Kind.CUMULATIVE:
        return value
    single: float = _SINGLE.unpack(_SINGLE.pack(value))[0]
    return single


def time_us(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def moment(of_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=of_us)


def meter_ids(connection: psycopg.Connection, names: list[str], gateway: str | None, at: datetime) -> dict[str, int]:
    """Which meter each device is at `at`; names that are not registered are absent.

    Raises ProofError when two gateways have a device of the same name and `gateway` names neither.
    """
    found: dict[str, int] = {}
    query = """
        SELECT device, meter_id FROM device_registry JOIN gateway_registry USING (gateway_id)
        WHERE device = ANY(%s) AND valid @> %s AND (%s::text IS NULL OR name = %s)
    """
    for device, meter_id in connection.execute(query, (names, at, gateway, gateway)):
        if device in found:
            raise ProofError(where=f"device {device}", found="several gateways have one", todo="say which gateway")
        found[device] = meter_id
    return found


def rows(connection: psycopg.Connection, meter_id: int, first: datetime, last: datetime) -> list[Row]:
    """The meter's rows from `first` to `last`, both inclusive, by time."""
    query = sql.SQL(
        "SELECT time, flags, {} FROM raw_readings WHERE meter_id = %s AND time >= %s AND time <= %s ORDER BY time"
    ).format(_COLUMNS)
    found = []
    for at, flags, *columns in connection.execute(query, (meter_id, first, last)):
        values = {
            quantity.name: as_stored(quantity.name, value)
            for quantity, value in zip(QUANTITIES, columns, strict=True)
            if value is not None
        }
        found.append(Row(time_us(at), bool(flags & Flag.TIME_FROM_DEVICE), values))
    return found


def register_span(connection: psycopg.Connection, meter_id: int, register: str, until: datetime) -> int | None:
    """Last minus first value of `register` over all rows that the database keeps; None without any.

    Raises ProofError when the meter has intervals older than its oldest row: their sum has no register to match.
    """
    query = sql.SQL("""
        SELECT min(time), (array_agg({0} ORDER BY time DESC))[1] - (array_agg({0} ORDER BY time))[1]
        FROM raw_readings WHERE meter_id = %s AND time >= %s AND time <= %s AND {0} IS NOT NULL
    """).format(sql.Identifier(register))
    first, span = _one(connection, query, (meter_id, until - _RAW_KEPT, until))
    if first is None:
        return None
    older = sql.SQL("""
        SELECT count(*) FROM aggregates_1m WHERE meter_id = %s AND {0} <> 0 AND bucket >= %s
        AND bucket < date_trunc('minute', %s::timestamptz, 'UTC')
    """).format(sql.Identifier(register))
    (count,) = _one(connection, older, (meter_id, until - _MINUTES_KEPT, first))
    if count:
        raise ProofError(
            where=f"meter {meter_id}",
            found=f"{count} one-minute intervals are older than the oldest reading",
            todo="prove on a database that is younger than the retention of readings",
        )
    assert isinstance(span, int)
    return span


def energy_sum(connection: psycopg.Connection, table: str, meter_id: int, register: str, until: datetime) -> int:
    """Sum of the intervals of `register` in `table` over the time for which rows are kept; 0 without any."""
    query = sql.SQL(
        "SELECT coalesce(sum({}), 0)::bigint FROM {} WHERE meter_id = %s AND bucket >= %s AND bucket <= %s"
    ).format(sql.Identifier(register), sql.Identifier(table))
    (total,) = _one(connection, query, (meter_id, until - _RAW_KEPT - timedelta(hours=1), until))
    assert isinstance(total, int)
    return total


def _one(connection: psycopg.Connection, query: sql.Composed, parameters: tuple[object, ...]) -> tuple[object, ...]:
    row = connection.execute(query, parameters).fetchone()
    assert row is not None
    return row
