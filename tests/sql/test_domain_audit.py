"""Every change is logged by the database itself, secrets are not, and nobody rewrites the log."""

from collections.abc import Iterator

import psycopg
import pytest

from cloud.db.errors import ImmutableError, domain_error

UNAUDITED = {
    # What the release can measure and sums up, and where rules stand with each window: alerts themselves are logged.
    "alert_groups",
    "alert_metrics",
    "alert_states",
    "audit_heads",
    "audit_links",
    "audit_personal",
    "billing_work",
    "idempotency_keys",
    "login_networks",
    "recovery_codes",
    "audit_logs",
    "otp_verifications",
    # Messages, and how each attempt to send one ended.
    "deliveries",
    "outbox",
    "password_proofs",
    "periodic_work",
    "rate_buckets",
    "registry_state",
    "schema_version",
    "sessions",
    "token_blacklist",
    # How far a worker is.
    "region_price_state",
    # What a bill has besides its lines: written with its row, which is audited, and kept with it.
    "invoice_banks",
    "invoice_days",
    # Prices of intervals only grow and say themselves by whom.
    "tariff_prices",
    # The ledger only grows and says itself by whom; the other two are compared with it in each transaction.
    "credit_balances",
    "invoice_series",
    "ledger_entries",
    "ledger_postings",
}


@pytest.fixture
def domain(domain_db: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(domain_db, autocommit=True) as connection:
        connection.execute("INSERT INTO regions (region, name, timezone) VALUES ('north', 'North', 'UTC')")
        connection.execute("INSERT INTO users (email, name, email_verified_at) VALUES ('a@example.org', 'Ada', now())")
        yield connection


def test_a_change_names_actor_row_before_and_after(domain: psycopg.Connection) -> None:
    """D13: the actor comes from the session that the API opened, not from a field of the request."""
    with domain.transaction():
        domain.execute("SET LOCAL segs.actor = 'user:7'")
        domain.execute("SET LOCAL segs.request_id = 'r-1'")
        domain.execute("UPDATE regions SET capacity_w = 5000")

    logged = domain.execute(
        "SELECT actor, request_id, action, table_name, row_key, old -> 'capacity_w', new -> 'capacity_w'"
        " FROM audit_logs WHERE table_name = 'regions' ORDER BY audit_id DESC LIMIT 1"
    ).fetchone()
    assert logged == ("user:7", "r-1", "UPDATE", "regions", "north", None, 5000)


def test_without_an_actor_the_role_that_logged_in_is_named(domain: psycopg.Connection) -> None:
    domain.execute("UPDATE regions SET capacity_w = 6000")

    assert domain.execute("SELECT actor FROM audit_logs ORDER BY audit_id DESC LIMIT 1").fetchone() == ("role:segs",)


def test_an_update_that_changes_nothing_is_not_logged(domain: psycopg.Connection) -> None:
    before = domain.execute("SELECT count(*) FROM audit_logs").fetchone()
    domain.execute("UPDATE regions SET name = name")

    assert domain.execute("SELECT count(*) FROM audit_logs").fetchone() == before


def test_secrets_are_withheld_but_their_change_is_told(domain: psycopg.Connection) -> None:
    """D10."""
    domain.execute("UPDATE users SET password_hash = '$argon2id$one'")
    domain.execute("UPDATE users SET password_hash = '$argon2id$two', name = 'Ada L.'")
    domain.execute("UPDATE users SET name = 'Ada Lovelace'")
    domain.execute("SELECT gateway_add('attic', sha256('key'), now())")

    logged = [
        row[0]
        for row in domain.execute(
            "SELECT new ->> 'password_hash' FROM audit_logs WHERE action = 'UPDATE' ORDER BY audit_id"
        )
    ]
    assert logged == ["[changed]", "[changed]", "[withheld]"]
    everything = domain.execute("SELECT string_agg(a::text, ' ') FROM audit_logs a").fetchone()
    assert everything is not None
    assert "argon2id" not in everything[0]
    assert "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683" not in everything[0]


def test_every_hash_in_an_audited_table_has_a_name_by_which_it_is_withheld(domain: psycopg.Connection) -> None:
    hashes = domain.execute(
        "SELECT table_name, column_name FROM information_schema.columns"
        " WHERE table_schema = 'public' AND data_type = 'bytea' AND column_name !~ '(_hash|_secret|_token)$'"
        " AND table_name NOT LIKE 'registry_%' AND table_name NOT LIKE 'audit_%'"
    ).fetchall()
    assert hashes == []


def test_every_table_but_tokens_and_codes_is_audited(domain: psycopg.Connection) -> None:
    """D13: a table without the trigger is the one that nobody sees changing."""
    tables = {row[0] for row in domain.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}
    audited = {
        row[0]
        for row in domain.execute(
            "SELECT tgrelid::regclass::text FROM pg_trigger WHERE tgfoid = 'audit_change()'::regprocedure"
            " AND tgtype & (4 | 8 | 16) = 28 AND tgtype & 1 = 1"
        )
    }
    assert tables - audited == UNAUDITED


@pytest.mark.parametrize(
    "statement", ["UPDATE audit_logs SET actor = 'x'", "DELETE FROM audit_logs", "TRUNCATE audit_logs"]
)
def test_not_even_the_owner_changes_the_log(domain: psycopg.Connection, statement: str) -> None:
    with pytest.raises(psycopg.Error) as refused:
        domain.execute(statement)

    assert isinstance(domain_error(refused.value), ImmutableError)


def test_a_service_cannot_write_the_log_but_what_it_does_is_in_it(domain: psycopg.Connection) -> None:
    domain.execute("UPDATE users SET role = 'ADMIN'")
    domain.execute("SET ROLE segs_api")
    domain.execute("SET segs.user_id = '1'")
    domain.execute("SELECT gateway_add('attic', sha256('key'), now())")

    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        domain.execute(
            "INSERT INTO audit_logs (actor, database_role, action, table_name, row_key)"
            " VALUES ('x', 'x', 'DELETE', 'x', 'x')"
        )
    with domain.transaction():
        domain.execute("SELECT audit_access('audit', NULL, NULL)")
        assert domain.execute("SELECT table_name FROM audit_logs ORDER BY audit_id DESC LIMIT 3").fetchall() == [
            ("audit",),
            ("gateway_keys",),
            ("gateways",),
        ]
