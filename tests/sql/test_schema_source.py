"""Rules that every object of both masters keeps: documented, pinned, and the reference fresh."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from cloud.schema.errors import DATABASES
from cloud.schema.reference import reference

PAGE = Path(__file__).resolve().parents[2] / "docs" / "schema-reference.md"
OURS = (
    "NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = '{0}'::regclass AND e.objid = {1}.oid AND e.deptype = 'e')"
)


@pytest.fixture(params=DATABASES)
def database(request: pytest.FixtureRequest) -> Iterator[psycopg.Connection]:
    with psycopg.connect(request.getfixturevalue(f"{request.param}_db"), autocommit=True) as connection:
        yield connection


def names(connection: psycopg.Connection, query: str) -> list[str]:
    return [row[0] for row in connection.execute(query)]


def test_every_table_view_column_and_index_has_a_comment(database: psycopg.Connection) -> None:
    undocumented = names(
        database,
        "SELECT c.relname::text FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace"
        " AND c.relkind IN ('r', 'p', 'v', 'm', 'i') AND obj_description(c.oid, 'pg_class') IS NULL"
        # A key's index is told by the key, which needs no more words than its columns.
        " AND NOT EXISTS (SELECT FROM pg_constraint o WHERE o.conindid = c.oid AND o.contype IN ('p', 'u', 'x')) AND "
        + OURS.format("pg_class", "c")
        + " UNION ALL SELECT c.relname || '.' || a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm') AND a.attnum > 0"
        " AND NOT a.attisdropped AND col_description(c.oid, a.attnum) IS NULL AND " + OURS.format("pg_class", "c"),
    )
    assert undocumented == []


def test_every_function_has_a_comment_and_a_pinned_search_path(database: psycopg.Connection) -> None:
    of_ours = " FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND " + OURS.format("pg_proc", "p")
    undocumented = names(
        database, "SELECT p.oid::regprocedure::text" + of_ours + " AND obj_description(p.oid, 'pg_proc') IS NULL"
    )
    # A function that is inlined cannot have a setting; it has to qualify what it names, and most are one expression.
    unpinned = names(
        database,
        "SELECT p.oid::regprocedure::text"
        + of_ours
        + " AND NOT coalesce(p.proconfig::text LIKE '%search_path=%', false)"
        " AND (p.prolang = (SELECT oid FROM pg_language WHERE lanname = 'plpgsql') OR p.prosecdef)",
    )
    assert (undocumented, unpinned) == ([], [])


def test_quantities_have_their_unit_in_the_comment_of_every_column(database: psycopg.Connection) -> None:
    unit = {"w": "W", "wh": "Wh", "v": "V", "a": "A", "hz": "Hz", "va": "VA", "var": "var", "varh": "varh"}
    for name, comment in database.execute(
        "SELECT a.attname, col_description(c.oid, a.attnum) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped"
    ):
        suffix = name.rsplit("_", 1)[-1]
        if "_" in name and suffix in unit:
            assert f" {unit[suffix]}" in comment, f"{name}: {comment}"


def test_the_schema_reference_is_fresh(domain_db: str, telemetry_db: str) -> None:
    """D18: after an edit of a master, run segs-cloud schema reference."""
    assert PAGE.read_text(encoding="utf-8") == reference({"domain": domain_db, "telemetry": telemetry_db})
