"""The domain's invariants, each by a statement that breaks it and the constraint that says no."""

from collections.abc import Iterator
from decimal import Decimal
from typing import LiteralString

import psycopg
import pytest
from psycopg import errors

from cloud.db.errors import ConflictError, ImmutableError, InvalidError, domain_error

SEED: LiteralString = """
INSERT INTO regions (region, name, timezone) VALUES ('north', 'North', 'Europe/Berlin');
INSERT INTO users (email, name, region) VALUES ('ada@example.org', 'Ada', 'north');
INSERT INTO meters (model, serial) VALUES ('sdm630', '77');
INSERT INTO meter_owners (meter_id, user_id, valid) VALUES (1, 1, '[-infinity, infinity)');
INSERT INTO meter_locations (meter_id, region, timezone) VALUES (1, 'north', 'Europe/Berlin');
INSERT INTO gateways (name) VALUES ('attic');
INSERT INTO gateway_keys (gateway_id, key_hash) VALUES (1, sha256('key'));
INSERT INTO devices (gateway_id, device, meter_id, interval_ms) VALUES (1, 'm1', 1, 1000);
INSERT INTO tariffs (code, name, currency, timezone, document, valid)
VALUES ('home', 'Home', 'EUR', 'Europe/Berlin', '{}', '[2026-01-01, infinity)');
INSERT INTO invoices (meter_id, user_id, period_start, period_end, timezone, span, currency, net_amount, tax_amount)
VALUES (1, 1, '2026-01-01', '2026-02-01', 'Europe/Berlin', '[2025-12-31 23:00Z, 2026-01-31 23:00Z)', 'EUR', 10, 1.9);
INSERT INTO invoice_line_items (invoice_id, position, component, description,
    tariff_id, quantity, unit, unit_price, amount)
VALUES (1, 1, 'fixed', 'Basic charge', 1, 31, 'day', 0.32258065, 10), (1, 2, 'tax', 'VAT', 1, 19, 'percent', 0.1, 1.9);
INSERT INTO alerts (rule, meter_id, category, severity, state, message, started_at, fired_at)
VALUES ('under_voltage', 1, 'supply', 'warning', 'firing', 'Voltage is low', '2026-01-10 00:00Z', '2026-01-10 00:10Z');
INSERT INTO otp_verifications (user_id, purpose, code_hash, created_at, expires_at)
VALUES (1, 'verify_email', sha256('123456'), '2026-01-01 00:00Z', '2026-01-01 00:10Z');
INSERT INTO sessions (user_id, token_hash, created_at, expires_at)
VALUES (1, sha256('token'), '2026-01-01 00:00Z', '2026-02-01 00:00Z');
"""
FINAL: LiteralString = "SELECT bill_finalise(1, '2026-02-02 00:00Z');"
# What a draft gets when it becomes final, but for number, time and due date.
COMPLETE: LiteralString = "serial_number = 1, recipient_name = 'Ada', issuer = 'x', language = 'en', made_by = 'x'"
PAYMENT: LiteralString = (
    "INSERT INTO payment_transactions"
    " (invoice_id, kind, provider, provider_reference, amount, currency, status, occurred_at)"
)
PENDING: LiteralString = (
    FINAL + PAYMENT + " VALUES (1, 'payment', 'simulated', 'tx-1', 11.9, 'EUR', 'pending', '2026-02-10 00:00Z');"
)
POSTED: LiteralString = (
    FINAL + "SELECT payment_record(1, 'simulated', 'x', 11.9, 'EUR', 'succeeded', NULL, NULL, now(), now());"
)


@pytest.fixture
def domain(domain_db: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(domain_db, autocommit=True) as connection:
        connection.execute(SEED)
        yield connection


BROKEN: list[tuple[str, LiteralString]] = [
    # people
    ("users_email_key", "INSERT INTO users (email, name) VALUES ('ada@example.org', 'Another Ada')"),
    ("users_email_check", "UPDATE users SET email = 'Ada@example.org'"),
    ("users_email_check", "UPDATE users SET email = 'ada'"),
    ("users_phone_check", "UPDATE users SET phone = '0171 123'"),
    ("users_role_check", "UPDATE users SET role = 'admin'"),
    ("users_password_hash_check", "UPDATE users SET email_verified_at = now(), password_hash = 'secret'"),
    ("users_password_needs_verified_email", "UPDATE users SET password_hash = '$argon2id$v=19$x'"),
    ("users_email_unless_deleted", "UPDATE users SET deleted_at = now(), name = NULL"),
    (
        "users_nothing_personal_after_deletion",
        "UPDATE users SET deleted_at = now(), email = NULL, name = NULL, phone = '+4930123456'",
    ),
    ("invoices_user_id_fkey", "DELETE FROM meter_owners; DELETE FROM users"),
    (
        "meter_owners_user_id_fkey",
        "DELETE FROM invoice_line_items; DELETE FROM payment_transactions; DELETE FROM invoices; DELETE FROM users",
    ),
    ("user_preferences_timezone_is_known", "UPDATE user_preferences SET timezone = 'Mars/Olympus'"),
    ("user_preferences_quiet_hours_have_both_ends", "UPDATE user_preferences SET quiet_from = '22:00'"),
    # proof of identity
    (
        "otp_verifications_open_key",
        "INSERT INTO otp_verifications (user_id, purpose, code_hash, created_at, expires_at)"
        " VALUES (1, 'verify_email', sha256('654321'), '2026-01-01 00:01Z', '2026-01-01 00:11Z')",
    ),
    ("otp_verifications_attempts_check", "UPDATE otp_verifications SET attempts = 6"),
    ("otp_verifications_code_hash_check", "UPDATE otp_verifications SET code_hash = '123456'"),
    (
        "otp_verifications_live_at_most_10_minutes",
        "UPDATE otp_verifications SET expires_at = expires_at + INTERVAL '1 second'",
    ),
    ("otp_verifications_used_in_time", "UPDATE otp_verifications SET used_at = '2026-01-01 00:10:01Z'"),
    ("sessions_token_hash_check", "UPDATE sessions SET token_hash = 'token'"),
    (
        "sessions_live_key",
        "INSERT INTO sessions (user_id, token_hash, created_at, expires_at, family_id)"
        " SELECT user_id, sha256('next'), created_at, expires_at, family_id FROM sessions",
    ),
    ("sessions_revoked_for_a_reason", "UPDATE sessions SET revoked_at = now()"),
    # gateways, meters, devices
    ("gateways_name_key", "INSERT INTO gateways (name) VALUES ('attic')"),
    ("gateways_name_check", "INSERT INTO gateways (name) VALUES ('attic 2')"),
    ("gateway_keys_key_hash_key", "INSERT INTO gateway_keys (gateway_id, key_hash) VALUES (1, sha256('key'))"),
    ("gateway_keys_key_hash_check", "INSERT INTO gateway_keys (gateway_id, key_hash) VALUES (1, 'segs_plain')"),
    ("regions_timezone_is_known", "UPDATE regions SET timezone = 'Europe/Berlin5'"),
    ("regions_timezone_is_known", "UPDATE regions SET timezone = 'XYZ5'"),
    ("regions_region_check", "INSERT INTO regions (region, name, timezone) VALUES ('North Sea', 'x', 'UTC')"),
    ("meter_locations_timezone_is_known", "UPDATE meter_locations SET timezone = 'CEST'"),
    ("meter_locations_region_fkey", "UPDATE meter_locations SET region = 'south'"),
    ("meter_locations_valid_is_half_open", "UPDATE meter_locations SET valid = '[2026-01-01, 2026-02-01]'"),
    (
        "meter_locations_one_at_a_time",
        "INSERT INTO meter_locations (meter_id, region, timezone) VALUES (1, 'north', 'UTC')",
    ),
    (
        "region_capacities_capacity_w_check",
        "INSERT INTO region_capacities (region, capacity_w, valid) VALUES ('north', 0, '[-infinity, infinity)')",
    ),
    (
        "meter_owners_one_at_a_time",
        "INSERT INTO meter_owners (meter_id, user_id, valid) VALUES (1, 1, '[2026-01-01, infinity)')",
    ),
    ("meter_owners_valid_is_half_open", "UPDATE meter_owners SET valid = '[2026-01-01, 2026-02-01]'"),
    ("operator_regions_key", "INSERT INTO operator_regions (user_id, region) VALUES (1, 'north'), (1, 'north')"),
    (
        "password_proofs_live_at_most_15_minutes",
        "INSERT INTO password_proofs (token_hash, user_id, created_at, expires_at)"
        " VALUES (sha256('proof'), 1, '2026-01-01 00:00Z', '2026-01-01 00:15:01Z')",
    ),
    (
        "outbox_secret_goes_with_delivery",
        "INSERT INTO outbox (user_id, channel, template, sealed_secret, created_at, delivered_at)"
        " VALUES (1, 'email', 'verify_email', 'x', '2026-01-01 00:00Z', '2026-01-01 00:01Z')",
    ),
    ("meters_model_serial_key", "INSERT INTO meters (model, serial) VALUES ('sdm630', '77')"),
    ("meters_max_power_w_check", "UPDATE meters SET max_power_w = 'NaN'"),
    ("meters_location_has_both_coordinates", "UPDATE meters SET latitude_deg = 52.5"),
    (
        "devices_one_meter_per_device",
        "INSERT INTO meters DEFAULT VALUES;"
        " INSERT INTO devices (gateway_id, device, meter_id, interval_ms) VALUES (1, 'm1', 2, 1000)",
    ),
    (
        "devices_one_device_per_meter",
        "INSERT INTO devices (gateway_id, device, meter_id, interval_ms) VALUES (1, 'm2', 1, 1000)",
    ),
    ("devices_valid_is_half_open", "UPDATE devices SET valid = '[2026-01-01, 2026-02-01]'"),
    ("devices_valid_is_half_open", "UPDATE devices SET valid = '[2026-01-01,)'"),
    # tariffs
    (
        "tariffs_one_at_a_time",
        "INSERT INTO tariffs (code, name, currency, timezone, document, valid)"
        " VALUES ('home', 'Home', 'EUR', 'UTC', '{}', '[2027-01-01, 2028-01-01)')",
    ),
    ("tariffs_override_has_end_and_reason", "UPDATE tariffs SET origin = 'override', reason = 'storm'"),
    ("tariffs_load_has_region", "UPDATE tariffs SET origin = 'load'"),
    ("invoice_line_items_tariff_id_fkey", "DELETE FROM tariffs"),
    (
        "tariff_rules_key",
        "INSERT INTO tariff_rules (tariff_id, component, period, tier, unit, rate)"
        " VALUES (1, 'energy', 0, 0, 'kWh', 0.3), (1, 'energy', 0, 0, 'kWh', 0.4)",
    ),
    (
        "tariff_rules_unit_fits_component",
        "INSERT INTO tariff_rules"
        " (tariff_id, component, period, tier, unit, rate) VALUES (1, 'energy', 0, 0, 'kW', 0.3)",
    ),
    # alerts
    (
        "alerts_open_key",
        "INSERT INTO alerts (rule, meter_id, category, severity, state, message, started_at, fired_at)"
        " VALUES ('under_voltage', 1, 'supply', 'critical', 'firing', 'again', '2026-01-11Z', '2026-01-11Z')",
    ),
    ("alerts_have_one_subject", "UPDATE alerts SET region = 'north'"),
    ("alerts_late_are_not_told", "UPDATE alerts SET late = true, tell_at = now()"),
    ("alerts_told_of_something", "UPDATE alerts SET told_at = now()"),
    (
        "alert_rules_one_at_a_time",
        "INSERT INTO alert_rules (rule, metric, above, raise_at, clear_at, severity, window_min, category)"
        " VALUES ('over_voltage', 'voltage_percent', true, 120, 119, 'high', 10, 'supply')",
    ),
    ("alert_rules_thresholds_in_order", "UPDATE alert_rules SET clear_at = 120 WHERE rule = 'over_voltage'"),
    ("alert_rules_worse_than_what", "UPDATE alert_rules SET worse_at = 120 WHERE rule = 'over_voltage'"),
    ("alert_rules_raise_and_clear", "UPDATE alert_rules SET raise_at = NULL WHERE rule = 'over_voltage'"),
    ("alert_rules_have_one_scope", "UPDATE alert_rules SET region = 'north', meter_id = 1 WHERE rule = 'unbalance'"),
    (
        "maintenance_windows_have_one_subject",
        "INSERT INTO maintenance_windows (valid, reason) VALUES ('[2026-01-01Z, 2026-01-02Z)', 'x')",
    ),
    (
        "alert_events_by_somebody",
        "INSERT INTO alert_events (alert_id, kind, event_at) VALUES (1, 'acknowledged', now())",
    ),
    ("alerts_resolved_with_time", "UPDATE alerts SET state = 'resolved'"),
    ("alerts_acknowledged_by_somebody", "UPDATE alerts SET acknowledged_at = now()"),
    # bills
    (
        "invoices_one_per_meter_and_period",
        "INSERT INTO invoices (meter_id, user_id, period_start, period_end, timezone, currency, net_amount, tax_amount)"
        " VALUES (1, 1, '2026-01-31', '2026-03-01', 'UTC', 'EUR', 1, 0)",
    ),
    ("invoices_number_from_final_on", "UPDATE invoices SET invoice_number = 'R-1'"),
    (
        "invoices_number_from_final_on",
        "UPDATE invoices SET status = 'final', finalised_at = now(), due_date = '2026-03-01', " + COMPLETE,
    ),
    (
        "invoices_final_with_due_date",
        "UPDATE invoices SET status = 'final', invoice_number = 'R-1', finalised_at = now(), " + COMPLETE,
    ),
    (
        "invoices_final_is_complete",
        "UPDATE invoices SET status = 'final', invoice_number = 'R-1', serial_number = 1, finalised_at = now(),"
        " due_date = '2026-03-01'",
    ),
    (
        "invoices_paid_with_time",
        "UPDATE invoices SET status = 'paid', invoice_number = 'R-1', finalised_at = now(), paid_amount = total_amount,"
        " due_date = '2026-03-01', " + COMPLETE,
    ),
    (
        "invoices_invoice_number_key",
        FINAL
        + "INSERT INTO invoices (meter_id, user_id, period_start, period_end, timezone, span, currency, net_amount,"
        " tax_amount) VALUES (1, 1, '2026-02-01', '2026-03-01', 'UTC', '[2026-02-01, 2026-03-01)', 'EUR', 1, 0);"
        " UPDATE invoices SET status = 'final', invoice_number = 'INV-0000000001', serial_number = 2, issuer = 'x',"
        " recipient_name = 'x', language = 'en', made_by = 'x', finalised_at = now(), due_date = '2026-03-15'"
        " WHERE status = 'draft'",
    ),
    ("invoices_draft_is_unsettled", "UPDATE invoices SET paid_amount = 1"),
    ("invoices_serial_from_final_on", "UPDATE invoices SET serial_number = 1"),
    ("invoices_span_is_half_open", "UPDATE invoices SET span = '[2026-01-01, 2026-02-01]'"),
    ("invoices_paid_is_settled", FINAL + "UPDATE invoices SET status = 'paid', paid_at = finalised_at"),
    ("invoices_open_is_not_settled", FINAL + "UPDATE invoices SET paid_amount = total_amount"),
    ("invoices_never_more_than_settled", FINAL + "UPDATE invoices SET paid_amount = 12, status = 'disputed'"),
    ("invoices_overdue_with_time", FINAL + "UPDATE invoices SET status = 'overdue'"),
    (
        "invoices_cancelled_is_credited",
        FINAL + "UPDATE invoices SET status = 'cancelled', cancelled_at = finalised_at",
    ),
    (
        "invoices_credit_note_takes_back",
        "INSERT INTO invoices (kind, credits_invoice_id, meter_id, user_id, period_start, period_end, timezone,"
        " currency, net_amount, tax_amount) VALUES ('credit_note', 1, 1, 1, '2026-01-01', '2026-02-01', 'UTC', 'EUR',"
        " -10, -1.9)",
    ),
    (
        "invoice_disputes_open_key",
        FINAL
        + "SELECT bill_dispute(1, 'x', now()); INSERT INTO invoice_disputes (invoice_id, reason, opened_by, opened_at)"
        " VALUES (1, 'x', 'x', now())",
    ),
    (
        "invoice_disputes_resolved_by_somebody_for_a_reason",
        FINAL + "SELECT bill_dispute(1, 'x', now()); UPDATE invoice_disputes SET outcome = 'rejected'",
    ),
    (
        "ledger_postings_payment_key",
        POSTED + "INSERT INTO ledger_postings (kind, user_id, currency, invoice_id, payment_id, posted_by, posted_at)"
        " VALUES ('payment', 1, 'EUR', 1, 1, 'x', now())",
    ),
    ("credit_balances_never_below_zero", POSTED + "UPDATE credit_balances SET amount = -1"),
    ("billing_work_blocked_for_a_reason", "INSERT INTO billing_work VALUES ('2026-01-01', 1, 'blocked')"),
    ("billing_work_month_check", "INSERT INTO billing_work VALUES ('2026-01-02', 1)"),
    ("billing_addresses_say_something", "INSERT INTO billing_addresses (user_id) VALUES (1)"),
    (
        "invoices_credit_note_names_invoice",
        "INSERT INTO invoices"
        " (kind, meter_id, user_id, period_start, period_end, timezone, currency, net_amount, tax_amount, reason)"
        " VALUES ('credit_note', 1, 1, '2026-01-01', '2026-02-01', 'UTC', 'EUR', -10, -1.9, 'x')",
    ),
    (
        "payment_transactions_invoice_id_fkey",
        PAYMENT + " VALUES (99, 'payment', 'simulated', 'tx-1', 11.9, 'EUR', 'pending', now())",
    ),
    (
        "invoice_line_items_position_key",
        "INSERT INTO invoice_line_items (invoice_id, position, component, description, tariff_id,"
        " quantity, unit, unit_price, amount) VALUES (1, 1, 'fixed', 'Twice', 1, 1, 'day', 1, 1)",
    ),
    (
        "invoice_line_items_energy_is_traced",
        "INSERT INTO invoice_line_items"
        " (invoice_id, position, component, description, tariff_id, quantity, unit, unit_price, amount)"
        " VALUES (1, 2, 'energy', 'Energy', 1, 100, 'kWh', 0.3, 30)",
    ),
    (
        "payment_transactions_provider_key",
        PENDING + PAYMENT + " VALUES (1, 'payment', 'simulated', 'tx-1', 11.9, 'EUR', 'pending', now())",
    ),
    (
        "payment_transactions_amount_check",
        FINAL + PAYMENT + " VALUES (1, 'payment', 'simulated', 'tx-1', -1, 'EUR', 'pending', now())",
    ),
    (
        "payment_transactions_manual_is_recorded_by_somebody",
        FINAL + PAYMENT + " VALUES (1, 'payment', 'manual', 'tx-1', 11.9, 'EUR', 'pending', now())",
    ),
    (
        "payment_transactions_settled_with_time",
        PENDING + "UPDATE payment_transactions SET status = 'succeeded'",
    ),
]


@pytest.mark.parametrize(("constraint", "statement"), BROKEN)
def test_an_invariant_holds(domain: psycopg.Connection, constraint: str, statement: LiteralString) -> None:
    """D3 one invoice per meter and period, D7 bills outlive users, D9 tariffs keep their history, D10 hashes only."""
    with pytest.raises(errors.IntegrityError) as refused:
        domain.execute(statement)

    assert refused.value.diag.constraint_name == constraint
    meaning = domain_error(refused.value)
    assert isinstance(meaning, InvalidError | ConflictError)
    assert meaning.constraint == constraint


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE invoices SET net_amount = 1",
        "UPDATE invoices SET user_id = 1, status = 'draft'",
        "UPDATE invoices SET due_date = '2026-12-31'",
        "DELETE FROM payment_transactions; DELETE FROM invoices",
        "UPDATE invoice_line_items SET amount = 1",
        "DELETE FROM invoice_line_items",
        "INSERT INTO invoice_line_items"
        " (invoice_id, position, component, description, quantity, unit, unit_price, amount)"
        " VALUES (1, 2, 'adjustment', 'Later', 1, 'day', 1, 1)",
    ],
)
def test_a_final_invoice_and_its_lines_cannot_change(domain: psycopg.Connection, statement: LiteralString) -> None:
    """D1, D8: whatever the code does, a bill that was sent stays as it was."""
    domain.execute(FINAL)

    with pytest.raises(psycopg.Error) as refused:
        domain.execute(statement)

    assert isinstance(domain_error(refused.value), ImmutableError)


def test_a_final_invoice_is_paid_and_a_cancelled_one_makes_room_for_its_replacement(domain: psycopg.Connection) -> None:
    domain.execute(FINAL)
    states = []
    for done in (
        "SELECT bills_overdue(10, '2026-02-20 00:00Z')",
        "SELECT payment_record(1, 'simulated', 'x', 11.9, 'EUR', 'succeeded', NULL, NULL, '2026-02-20Z', now())",
        "SELECT bill_credit(1, NULL, 'Misread', '2026-02-21 00:00Z')",
    ):
        domain.execute(done)
        states += domain.execute("SELECT status FROM invoices WHERE invoice_id = 1").fetchall()
    assert states == [("overdue",), ("paid",), ("cancelled",)]

    domain.execute(
        "INSERT INTO invoices (meter_id, user_id, period_start, period_end, timezone, currency, net_amount, tax_amount)"
        " VALUES (1, 1, '2026-01-01', '2026-02-01', 'Europe/Berlin', 'EUR', 9, 1.71)"
    )
    total = domain.execute("SELECT total_amount FROM invoices WHERE status = 'draft'").fetchone()
    assert total == (Decimal("10.71"),)


def test_a_deleted_draft_takes_its_lines_along(domain: psycopg.Connection) -> None:
    domain.execute("DELETE FROM payment_transactions")
    domain.execute("DELETE FROM invoices")

    assert domain.execute("SELECT count(*) FROM invoice_line_items").fetchone() == (0,)


def test_a_new_user_has_preferences_in_the_zone_of_the_region(domain: psycopg.Connection) -> None:
    assert domain.execute("SELECT timezone, notify_email FROM user_preferences WHERE user_id = 1").fetchone() == (
        "Europe/Berlin",
        True,
    )


def test_updated_at_moves_with_a_change_and_only_with_a_change(domain: psycopg.Connection) -> None:
    stamp: LiteralString = "SELECT updated_at FROM meters"
    before = domain.execute(stamp).fetchone()
    domain.execute("UPDATE meters SET site = site")
    unchanged = domain.execute(stamp).fetchone()
    domain.execute("UPDATE meters SET site = 'barn'")
    after = domain.execute(stamp).fetchone()

    assert before is not None
    assert after is not None
    assert before == unchanged
    assert before < after


def test_a_meter_code_is_the_key_with_at_least_eight_digits(domain: psycopg.Connection) -> None:
    domain.execute("INSERT INTO meters (meter_id) OVERRIDING SYSTEM VALUE VALUES (123456789)")

    codes = [row[0] for row in domain.execute("SELECT meter_code FROM meters ORDER BY meter_id")]

    assert codes == ["MTR-00000001", "MTR-123456789"]
    with pytest.raises(errors.GeneratedAlways):
        domain.execute("UPDATE meters SET meter_code = 'MTR-00000002'")


@pytest.mark.parametrize(
    "zone", ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "America/Port-au-Prince", "Etc/GMT+5"]
)
def test_zones_that_the_server_knows_are_accepted(domain: psycopg.Connection, zone: str) -> None:
    assert domain.execute("SELECT is_timezone(%s)", [zone]).fetchone() == (True,)


@pytest.mark.parametrize(
    "zone", ["", "Berlin", "europe/berlin", "Europe/Berlin ", "Europe/Berlin5", "EST5EDT", "+02:00", "posix/UTC"]
)
def test_what_is_no_zone_or_only_looks_like_one_is_refused(domain: psycopg.Connection, zone: str) -> None:
    """D5: a typo must not become UTC or somebody's POSIX string."""
    assert domain.execute("SELECT is_timezone(%s)", [zone]).fetchone() == (False,)


def test_every_generated_column_is_known_to_the_trigger_that_stamps_changes(domain: psycopg.Connection) -> None:
    """Before the row is stored it is empty, and would make every UPDATE look like a change."""
    unknown = domain.execute(
        "SELECT a.attrelid::regclass::text, a.attname FROM pg_attribute a"
        " JOIN pg_trigger t ON t.tgrelid = a.attrelid AND t.tgfoid = 'touch_updated_at()'::regprocedure"
        " WHERE a.attgenerated <> '' AND position(a.attname IN encode(t.tgargs, 'escape')) = 0"
    ).fetchall()
    assert unknown == []
