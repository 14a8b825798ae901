"""Keeps the telemetry database's registry tables equal to the domain database's registry views."""

from typing import Any, LiteralString

from psycopg import Connection, sql

_LOCK = 5_071_001
# Referenced tables first. A gateway or region that the domain no longer shows may still be referenced by what is
# stored, so its row stays, without keys.
_TABLES: tuple[tuple[LiteralString, LiteralString, tuple[LiteralString, ...]], ...] = (
    ("registry_gateways", "gateway_registry", ("gateway_id", "name", "key_hashes")),
    ("registry_regions", "region_registry", ("region", "capacity_w")),
    (
        "registry_devices",
        "device_registry",
        (
            "gateway_id",
            "device",
            "meter_id",
            "meter_code",
            "region",
            "timezone",
            "max_power_w",
            "interval_ms",
            "valid",
        ),
    ),
)


def copy_registry(domain: Connection, telemetry: Connection) -> bool:
    """Bring the registry tables in step; whether anything had to change. One copy at a time, in one transaction.

    Tables that are equal already are not touched, so that receivers need not load them again.
    """
    changed = False
    with telemetry.transaction():
        _same_text(telemetry)
        telemetry.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        with domain.transaction():
            _same_text(domain)
            domain.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            wanted = [_rows(domain, view, columns) for view, _, columns in _TABLES]
        for (_, table, columns), rows in zip(_TABLES, wanted, strict=True):
            present = _rows(telemetry, table, columns)
            if table == "gateway_registry":
                changed |= _free_names(telemetry, present, rows)
                present = _rows(telemetry, table, columns)
                known = {row[0] for row in rows}
                rows |= {(gateway_id, name, "{}") for gateway_id, name, _ in present if gateway_id not in known}
            if table == "device_registry":
                changed |= _delete(telemetry, table, columns, present - rows)
                changed |= _insert(telemetry, table, columns, rows - present)
            else:
                changed |= _upsert(telemetry, table, columns, rows - present)
    return changed


Row = tuple[Any, ...]


def _rows(connection: Connection, table: LiteralString, columns: tuple[LiteralString, ...]) -> set[Row]:
    """Rows as text, so that they compare the same on both sides: infinite ranges and key hashes included."""
    names = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(name)) for name in columns)
    return set(connection.execute(sql.SQL("SELECT {} FROM {}").format(names, sql.Identifier(table))).fetchall())


def _same_text(connection: Connection) -> None:
    """Both servers write a value alike, whatever is set for their databases and roles."""
    for setting in ("timezone = 'UTC'", "datestyle = 'ISO'", "bytea_output = 'hex'", "extra_float_digits = 1"):
        connection.execute(sql.SQL("SET LOCAL ") + sql.SQL(setting))


def _free_names(telemetry: Connection, present: set[Row], wanted: set[Row]) -> bool:
    """Names that other gateways have now; a gateway that the domain no longer shows keeps its own with its number."""
    named = {gateway_id: name for gateway_id, name, _ in wanted}
    taken = set(named.values())
    moved = [gateway_id for gateway_id, name, _ in present if name in taken and named.get(gateway_id) != name]
    for gateway_id in moved:
        telemetry.execute(
            "UPDATE gateway_registry SET name = name || '#' || gateway_id WHERE gateway_id = %s", [gateway_id]
        )
    return bool(moved)


def _delete(connection: Connection, table: str, columns: tuple[str, ...], rows: set[Row]) -> bool:
    match = sql.SQL(" AND ").join(sql.SQL("{}::text = %s").format(sql.Identifier(name)) for name in columns)
    return _each(connection, sql.SQL("DELETE FROM {} WHERE {}").format(sql.Identifier(table), match), rows)


def _insert(connection: Connection, table: str, columns: tuple[str, ...], rows: set[Row]) -> bool:
    return _each(connection, _insertion(table, columns), rows)


def _upsert(connection: Connection, table: str, columns: tuple[str, ...], rows: set[Row]) -> bool:
    updates = sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in columns[1:])
    conflict = sql.SQL(" ON CONFLICT ({}) DO UPDATE SET {}").format(sql.Identifier(columns[0]), updates)
    return _each(connection, _insertion(table, columns) + conflict, rows)


def _insertion(table: str, columns: tuple[str, ...]) -> sql.Composed:
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    # Untyped parameters: the server reads each as its column's type.
    places = sql.SQL(", ").join(sql.Placeholder() for _ in columns)
    return sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(sql.Identifier(table), names, places)


def _each(connection: Connection, statement: sql.Composed, rows: set[Row]) -> bool:
    if rows:
        connection.cursor().executemany(statement, sorted(rows, key=str))
    return bool(rows)
