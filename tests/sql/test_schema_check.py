"""`schema check` names every difference between a live database and its master, in one line each."""

import json
from typing import LiteralString

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from typer.testing import CliRunner

from cloud.schema.apply import apply
from cloud.schema.check import check
from cloud.schema.cli import app


@pytest.fixture
def domain_db(domain_db: str) -> str:
    apply(domain_db, "domain", again=True)  # a clone does not inherit the rights to connect
    return domain_db


@pytest.fixture
def telemetry_db(telemetry_db: str) -> str:
    apply(telemetry_db, "telemetry", again=True)
    return telemetry_db


def differences(dsn: str, database: str, statement: LiteralString) -> list[str]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(statement)
    return [str(difference) for difference in check(dsn, database).differences]


DOMAIN: dict[LiteralString, str] = {
    "ALTER TABLE meters ADD COLUMN x int": "table meters: unexpected column x integer",
    "ALTER TABLE regions DROP COLUMN name": "table regions: missing column name text NOT NULL",
    "ALTER TABLE meters ALTER COLUMN max_power_w DROP NOT NULL": (
        "table meters: column max_power_w is 'double precision DEFAULT 1000000', the master says 'double "
        "precision NOT NULL DEFAULT 1000000'"
    ),
    "DROP INDEX meters_site_idx": (
        "table meters: missing index meters_site_idx CREATE INDEX meters_site_idx ON public.meters USING "
        "btree (site) WHERE (site IS NOT NULL)"
    ),
    "ALTER TABLE invoices DROP CONSTRAINT invoices_one_per_meter_and_period": (
        "table invoices: missing constraint invoices_one_per_meter_and_period EXCLUDE USING gist "
        "(meter_id WITH =, daterange(period_start, period_end) WITH &&) WHERE (((kind = 'invoice'::text) "
        "AND (status <> 'cancelled'::text)))"
    ),
    "ALTER TABLE audit_logs DISABLE TRIGGER audit_logs_immutable": (
        "table audit_logs: trigger audit_logs_immutable is 'CREATE TRIGGER audit_logs_immutable BEFORE "
        "DELETE OR UPDATE OR TRUNCATE ON public.audit_logs FOR EACH STATEMENT EXECUTE FUNCTION "
        "refuse_audit_change() (enabled: D)', the master says 'CREATE TRIGGER audit_logs_immutable BEFORE"
        " DELETE OR UPDATE OR TRUNCATE ON public.audit_logs FOR EACH STATEMENT EXECUTE FUNCTION "
        "refuse_audit_change()'"
    ),
    "CREATE OR REPLACE FUNCTION touch_updated_at() RETURNS trigger LANGUAGE plpgsql SET search_path ="
    " public, pg_temp AS 'BEGIN RETURN NEW; END'": (
        "function touch_updated_at(): definition differs from the master's"
    ),
    "GRANT DELETE ON invoices TO segs_readonly": (
        "table invoices: rights of segs_readonly is 'DELETE, SELECT', the master says 'SELECT'"
    ),
    "GRANT SELECT (password_hash) ON users TO segs_readonly": (
        "table users: unexpected rights of segs_readonly on column password_hash SELECT"
    ),
    "GRANT CREATE ON SCHEMA public TO PUBLIC": "schema public: unexpected rights of PUBLIC CREATE",
    "GRANT EXECUTE ON FUNCTION gateway_add(text, bytea, timestamptz, text) TO PUBLIC": (
        "function gateway_add(text,bytea,timestamp with time zone,text): unexpected rights of PUBLIC EXECUTE"
    ),
    "CREATE VIEW people AS SELECT name FROM users": "unexpected view people",
    "ALTER VIEW registry_devices SET (security_invoker = true)": (
        "view registry_devices: definition differs from the master's"
    ),
    "COMMENT ON COLUMN meters.site IS NULL": (
        "table meters: missing comment on column site Building or plant: meters of one site that go "
        "silent together are one alert"
    ),
    "ALTER TABLE users DISABLE ROW LEVEL SECURITY": "table users is '', the master says 'row security'",
    "CREATE POLICY everybody ON users FOR SELECT TO segs_api USING (true)": (
        "table users: unexpected policy everybody r permissive {segs_api} USING (true)"
    ),
}


@pytest.mark.parametrize("statement", DOMAIN)
def test_a_change_of_the_domain_database_is_named(domain_db: str, statement: LiteralString) -> None:
    assert f"domain: {DOMAIN[statement]}" in differences(domain_db, "domain", statement)


TELEMETRY: dict[LiteralString, str] = {
    "SELECT set_chunk_time_interval('raw_readings', INTERVAL '2 days')": (
        "table raw_readings: hypertable dimension time is 'Time 2 days', the master says 'Time 1 day'"
    ),
    "DROP INDEX quarantine_open_idx": (
        "table quarantine: missing index quarantine_open_idx CREATE INDEX quarantine_open_idx ON "
        "public.quarantine USING btree (gateway_id, device, reason) WHERE (released_at IS NULL)"
    ),
    "REVOKE INSERT ON raw_readings FROM segs_ingest": (
        "table raw_readings: rights of segs_ingest is 'SELECT', the master says 'INSERT, SELECT'"
    ),
    "CREATE TABLE notes (note text)": "unexpected table notes",
    "CREATE RULE forget AS ON INSERT TO quarantine DO INSTEAD NOTHING": "table quarantine: unexpected rule forget",
    "CREATE TRIGGER lazy BEFORE UPDATE ON quarantine FOR EACH ROW"
    " EXECUTE FUNCTION suppress_redundant_updates_trigger()": (
        "table quarantine: unexpected trigger lazy CREATE TRIGGER lazy BEFORE UPDATE ON public.quarantine FOR EACH ROW "
        "EXECUTE FUNCTION suppress_redundant_updates_trigger()"
    ),
    "ALTER SEQUENCE quarantine_quarantine_id_seq MAXVALUE 100 CYCLE": (
        "table quarantine: identity of column quarantine_id is 'from 1 by 1 between 1 and 100 cycle', the master says "
        "'from 1 by 1 between 1 and 9223372036854775807'"
    ),
    "DROP TABLE aggregates_15m": "missing table aggregates_15m",
}


@pytest.mark.parametrize("statement", TELEMETRY)
def test_a_change_of_the_telemetry_database_is_named(telemetry_db: str, statement: LiteralString) -> None:
    assert f"telemetry: {TELEMETRY[statement]}" in differences(telemetry_db, "telemetry", statement)


@pytest.mark.community
def test_a_policy_that_somebody_removed_is_named(telemetry_db: str) -> None:
    found = differences(telemetry_db, "telemetry", "SELECT remove_retention_policy('aggregates_15m')")
    assert any("table aggregates_15m: missing policy policy_retention" in line for line in found)


def test_data_and_chunks_are_no_difference(telemetry_db: str) -> None:
    statement: LiteralString = (
        "INSERT INTO raw_readings (time, meter_id, batch_id) VALUES ('2026-01-01', 1, 1), ('2026-02-01', 1, 1)"
    )
    assert differences(telemetry_db, "telemetry", statement) == []


def test_the_command_exits_1_naming_the_column_and_leaves_no_scratch_database(
    domain_db: str, telemetry_db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGS_DOMAIN_DSN", domain_db)
    monkeypatch.setenv("SEGS_TELEMETRY_DSN", telemetry_db)
    good = CliRunner().invoke(app, ["check"])
    with psycopg.connect(domain_db) as connection:
        connection.execute("ALTER TABLE meters ADD COLUMN x int")

    drifted = CliRunner().invoke(app, ["check"])
    narrowed = CliRunner().invoke(app, ["check", "--database", "telemetry", "--json"])

    assert good.exit_code == 0
    assert (drifted.exit_code, drifted.stdout.splitlines()[0]) == (
        1,
        "domain: table meters: unexpected column x integer",
    )
    assert (narrowed.exit_code, json.loads(narrowed.stdout)["checked"][0]["differences"]) == (0, [])
    with psycopg.connect(domain_db) as connection:
        assert connection.execute(
            "SELECT count(*) FROM pg_database WHERE datname LIKE 'segs\\_scratch\\_%'"
        ).fetchone() == (0,)


def test_an_unreachable_database_is_exit_2_with_one_message(domain_db: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGS_DOMAIN_DSN", domain_db.replace(str(conninfo_to_dict(domain_db)["dbname"]), "nowhere"))

    failed = CliRunner().invoke(app, ["status", "--database", "domain"])

    assert failed.exit_code == 2
    assert "no connection to the database" in failed.stderr


def test_status_counts_tables_and_hypertables_and_names_the_edition(
    domain_db: str, telemetry_db: str, edition: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGS_DOMAIN_DSN", domain_db)
    monkeypatch.setenv("SEGS_TELEMETRY_DSN", telemetry_db)

    domain, telemetry = json.loads(CliRunner().invoke(app, ["status", "--json"]).stdout)["status"]

    assert (domain["version"], domain["tables"], domain["timescaledb"]) == (21, 65, None)
    assert (telemetry["version"], telemetry["hypertables"], telemetry["edition"]) == (10, 4, edition)


def test_a_scratch_database_that_a_killed_check_left_is_dropped_by_a_later_one(domain_db: str) -> None:
    with psycopg.connect(domain_db, autocommit=True) as connection:
        connection.execute("CREATE DATABASE segs_scratch_1700000000_0123abcd")

        check(domain_db, "domain")

        left = connection.execute("SELECT count(*) FROM pg_database WHERE datname LIKE 'segs\\_scratch\\_17000%'")
        assert left.fetchone() == (0,)
