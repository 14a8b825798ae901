"""Tables change through migrations and nothing else: what is forgotten in one of the two places is noticed."""

import shutil
from pathlib import Path

import psycopg
import pytest

from cloud.schema.apply import apply
from cloud.schema.check import check
from cloud.schema.connection import connect, run
from cloud.schema.errors import DATABASES, Database, DriftError, ScriptError, VersionError
from cloud.schema.loader import SQL_ROOT, Script, load
from cloud.schema.status import status

BASELINE = Path(__file__).parent / "baseline"
TABLES = {"domain": "regions", "telemetry": "region_registry"}
FILES = {"domain": "domain/tables/regions.sql", "telemetry": "telemetry/tables/registry.sql"}
COMMENT = "COMMENT ON COLUMN {}.note IS 'Words about the region';\n"


class Tree:
    """A copy of the sql folder that a test may edit."""

    def __init__(self, root: Path, database: Database) -> None:
        shutil.copytree(SQL_ROOT, root)
        self.root, self.database, self.table = root, database, TABLES[database]
        self.version = load(database).version
        self.migration = f"migrations/{database}/{self.version + 1:04}-note.sql"

    def add_column_to_master(self) -> None:
        """`note text`, after the capacity."""
        self.edit(
            FILES[self.database], "    capacity_w double precision", "    note text,\n    capacity_w double precision"
        )
        with (self.root / FILES[self.database]).open("a") as file:
            file.write(COMMENT.format(self.table))

    def raise_version(self) -> None:
        before, after = f"master_version = '{self.version}'", f"master_version = '{self.version + 1}'"
        self.edit(f"{self.database}/version.sql", before, after)

    def add_migration(self, statement: str) -> None:
        (self.root / self.migration).parent.mkdir(parents=True, exist_ok=True)
        (self.root / self.migration).write_text(statement)

    def edit(self, file: str, old: str, new: str) -> None:
        text = (self.root / file).read_text()
        assert old in text
        (self.root / file).write_text(text.replace(old, new, 1))


@pytest.fixture(params=DATABASES)
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Tree:
    return Tree(tmp_path / "sql", request.param)


@pytest.fixture
def live(request: pytest.FixtureRequest, tree: Tree) -> str:
    """A database with the master as it is, of the kind that `tree` edits."""
    dsn: str = request.getfixturevalue(f"{tree.database}_db")
    apply(dsn, tree.database, again=True)  # a clone does not inherit the rights to connect
    return dsn


@pytest.mark.parametrize("database", DATABASES)
def test_version_1_as_it_was_frozen_and_all_migrations_make_the_master(empty_db: str, database: Database) -> None:
    """D17."""
    with connect(empty_db) as connection:
        run(connection, [Script(f"{database}-1.sql", (BASELINE / f"{database}-1.sql").read_text())])

    apply(empty_db, database)

    assert [str(difference) for difference in check(empty_db, database).differences] == []


def test_what_gateways_delivered_before_version_2_is_counted_by_its_migration(empty_db: str) -> None:
    with connect(empty_db) as connection:
        run(connection, [Script("telemetry-1.sql", (BASELINE / "telemetry-1.sql").read_text())])
        connection.execute("INSERT INTO gateway_registry (gateway_id, name) VALUES (1, 'attic'), (2, 'barn')")
        connection.execute(
            "INSERT INTO ingest_batches (gateway_id, stream, seq, sha256, received_at, readings, stored, duplicates)"
            " SELECT 1, gen_random_uuid(), n, sha256('x'), '2026-03-01'::timestamptz + n * INTERVAL '1 s', 10, 10, 0"
            " FROM generate_series(1, 5) AS n"
        )

    apply(empty_db, "telemetry")

    with connect(empty_db) as connection:
        found = connection.execute("SELECT gateway_id, batches, readings, last_seq FROM delivery_tallies").fetchall()
    assert found == [(1, 5, 50, 5)]


def test_whose_a_meter_was_before_domain_version_4_is_kept_and_the_api_loses_its_wider_rights(empty_db: str) -> None:
    """D10, D17."""
    with connect(empty_db) as connection:
        run(connection, [Script("domain-1.sql", (BASELINE / "domain-1.sql").read_text())])
        connection.execute("INSERT INTO regions (region, name, timezone) VALUES ('north', 'North', 'UTC')")
        connection.execute("INSERT INTO users (email, name) VALUES ('ada@example.org', 'Ada')")
        connection.execute(
            "INSERT INTO meters (region, timezone, user_id) VALUES ('north', 'UTC', 1), ('north', 'UTC', NULL)"
        )

    apply(empty_db, "domain")

    with connect(empty_db) as connection:
        owners = connection.execute("SELECT meter_id, user_id, valid::text FROM meter_owners").fetchall()
        shown = connection.execute("SELECT meter_id, user_id FROM meters_now ORDER BY 1").fetchall()
        hashes = connection.execute(
            "SELECT has_column_privilege('segs_api', 'users', 'password_hash', 'SELECT'),"
            " has_any_column_privilege('segs_api', 'otp_verifications', 'SELECT'),"
            " has_column_privilege('segs_api', 'sessions', 'token_hash', 'SELECT')"
        ).fetchone()
    assert owners == [(1, 1, "[-infinity,infinity)")]
    assert shown == [(1, 1), (2, None)]
    assert hashes == (False, False, False)


def test_what_waited_before_anybody_delivered_messages_is_not_sent_after_all(empty_db: str) -> None:
    migrations = load("domain").migrations
    [step] = [m.version for m in migrations if m.script.name.endswith("-notifications.sql")]
    before = [m for m in migrations if m.version < step]
    with connect(empty_db) as connection:
        run(connection, [Script("domain-1.sql", (BASELINE / "domain-1.sql").read_text())])
        connection.execute("INSERT INTO regions (region, name, timezone) VALUES ('north', 'North', 'UTC')")
        connection.execute("INSERT INTO users (email, name) VALUES ('ada@example.org', 'Ada')")
        run(connection, [m.script for m in before])
        connection.execute("INSERT INTO schema_version (version, master) VALUES (%s, 'domain')", [step - 1])
        connection.execute(
            "INSERT INTO outbox (user_id, channel, template, sealed_secret, created_at, delivered_at) VALUES"
            " (1, 'email', 'verify_email', 'x', now() - INTERVAL '1 year', NULL),"
            " (1, 'email', 'password_changed', NULL, now() - INTERVAL '1 year', now())"
        )

    apply(empty_db, "domain")

    with connect(empty_db) as connection:
        found = connection.execute(
            "SELECT closed_as, sealed_secret, delivered_at IS NULL FROM outbox ORDER BY 1"
        ).fetchall()
        left = connection.execute("SELECT count(*) FROM outbox_claim('email', false, '1 min', 5, now())").fetchone()
    assert found == [("expired", None, True), (None, None, False)]
    assert left == (0,)


def test_an_older_database_gets_the_migration_and_is_then_the_new_master(tree: Tree, live: str) -> None:
    tree.add_column_to_master()
    tree.raise_version()
    tree.add_migration(f"ALTER TABLE {tree.table} ADD COLUMN note text;")

    applied = apply(live, tree.database, root=tree.root)

    assert (applied.before, applied.after) == (tree.version, tree.version + 1)
    assert applied.migrations == (tree.migration,)
    assert not check(live, tree.database, root=tree.root).differences
    assert status(live, tree.database, root=tree.root).current
    with pytest.raises(VersionError):
        apply(live, tree.database)


def test_a_master_edited_without_a_migration_is_refused_and_named(tree: Tree, live: str) -> None:
    """D17: the edit would never reach this database."""
    tree.add_column_to_master()

    with pytest.raises(DriftError, match=rf"table {tree.table}: missing column note text") as refused:
        apply(live, tree.database, root=tree.root)

    assert tree.migration.replace("note", "name") in str(refused.value)
    assert f"{tree.database}: table {tree.table}: missing column note text" in [
        str(difference) for difference in check(live, tree.database, root=tree.root).differences
    ]


def test_a_migration_that_forgets_part_of_the_master_is_rolled_back(tree: Tree, live: str) -> None:
    tree.add_column_to_master()
    tree.raise_version()
    tree.add_migration(f"ALTER TABLE {tree.table} ADD COLUMN note integer;")

    with pytest.raises(DriftError, match="column note is 'integer', the master says 'text'"):
        apply(live, tree.database, root=tree.root)

    assert status(live, tree.database).current
    assert not check(live, tree.database).differences


def test_a_table_that_only_the_migration_or_only_the_master_has_is_noticed(tree: Tree, live: str) -> None:
    tree.raise_version()
    tree.add_migration("CREATE TABLE notes (note text);")

    with pytest.raises(DriftError, match="unexpected table notes"):
        apply(live, tree.database, root=tree.root)

    tree.edit(FILES[tree.database], "CREATE TABLE", "CREATE TABLE IF NOT EXISTS words (word text);\nCREATE TABLE")
    tree.add_migration("SELECT 1;")
    with pytest.raises(DriftError, match="missing table words"):
        apply(live, tree.database, root=tree.root)


def test_a_migration_that_fails_names_file_and_line_and_changes_nothing(tree: Tree, live: str) -> None:
    tree.raise_version()
    tree.add_migration(
        f"-- a note\nALTER TABLE {tree.table} ADD COLUMN note text;\nALTER TABLE missing ADD COLUMN x text;\n"
    )

    with pytest.raises(ScriptError, match=rf"{tree.migration}(:3)?: relation \"missing\" does not exist"):
        apply(live, tree.database, root=tree.root)

    assert not check(live, tree.database).differences


def test_functions_rights_and_comments_need_no_migration(tree: Tree, live: str) -> None:
    tree.edit(
        "lockdown.sql",
        "-- Last part",
        "CREATE OR REPLACE FUNCTION one() RETURNS integer LANGUAGE sql AS 'SELECT 1';\n"
        f"GRANT DELETE ON {tree.table} TO segs_api;\nCOMMENT ON TABLE {tree.table} IS 'Other words';\n-- Last part",
    )

    applied = apply(live, tree.database, root=tree.root)

    assert (applied.before, applied.after) == (tree.version, tree.version)
    assert not check(live, tree.database, root=tree.root).differences
    assert status(live, tree.database, root=tree.root).current


def test_a_database_that_somebody_altered_is_not_taken_for_an_edited_master_in_silence(tree: Tree, live: str) -> None:
    with psycopg.connect(live) as connection:
        connection.execute(f"ALTER TABLE {tree.table} ADD COLUMN x integer")
    tree.edit("lockdown.sql", "-- Last part", "-- The last part")

    with pytest.raises(DriftError, match="unexpected column x integer"):
        apply(live, tree.database, root=tree.root)
