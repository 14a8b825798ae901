"""A bill that is final stays as it is, for whom ever."""

from typing import LiteralString

import psycopg
import pytest

from tests.integration.billing.conftest import World

ROLES: tuple[LiteralString, ...] = (
    "SET LOCAL ROLE segs_api; SELECT set_config('segs.user_id', '3', true)",
    "SET LOCAL ROLE segs_worker",
    "SET LOCAL ROLE segs_ingest",
    "SET LOCAL ROLE segs_readonly",
    "RESET ROLE",  # the owner, and here a superuser
    "SET LOCAL session_replication_role = replica",
)
CHANGES: tuple[LiteralString, ...] = (
    "UPDATE invoices SET net_amount = 1",
    "UPDATE invoices SET status = 'draft'",
    "UPDATE invoices SET status = 'paid', paid_at = now() + INTERVAL '1 year'",
    "UPDATE invoices SET status = 'paid', paid_at = now() + INTERVAL '1 year', paid_amount = net_amount + tax_amount",
    "UPDATE invoices SET status = 'cancelled', credited_amount = net_amount + tax_amount, cancelled_at = now()"
    " + INTERVAL '1 year'",
    "UPDATE invoices SET paid_amount = 1",
    "UPDATE invoices SET recipient_name = 'Bob'",
    "UPDATE invoices SET user_id = 2",
    "UPDATE invoices SET due_date = due_date + 1",
    "UPDATE invoices SET invoice_number = 'INV-7'",
    "UPDATE invoices SET period_end = period_end - 1",
    "UPDATE invoices SET intervals_version = 1",
    "DELETE FROM invoices",
    "TRUNCATE invoices CASCADE",
    "UPDATE invoice_line_items SET amount = 1",
    "DELETE FROM invoice_line_items",
    "TRUNCATE invoice_line_items",
    "INSERT INTO invoice_line_items (invoice_id, position, component, description, quantity, unit, unit_price, amount)"
    " SELECT invoice_id, 9, 'adjustment', 'x', 1, 'x', 1, 1 FROM invoices",
    "UPDATE invoice_days SET energy_import_wh = 0",
    "DELETE FROM invoice_days",
    "UPDATE payment_transactions SET amount = 1",
    "UPDATE payment_transactions SET status = 'failed'",
    "DELETE FROM payment_transactions",
    "UPDATE ledger_entries SET amount = amount * 2",
    "DELETE FROM ledger_entries",
    "TRUNCATE ledger_postings CASCADE",
    "DELETE FROM ledger_postings",
    "UPDATE credit_balances SET amount = amount + 5",
)
REFUSED = {"42501", "SG031", "SG033", "SG034", "23514"}


@pytest.fixture
def bill(world: World) -> int:
    invoice_id: int = world.bill()["invoice_id"]
    world.pay(invoice_id, "20.00", "p1")
    return invoice_id


@pytest.mark.parametrize("role", ROLES)
def test_no_role_changes_a_final_bill_or_what_was_paid(world: World, bill: int, role: LiteralString) -> None:
    """D1: users mark their own invoices paid. Not the owner of the database either, and not as a replica."""

    def all_of_it() -> list[object]:
        tables: tuple[LiteralString, ...] = (
            "SELECT * FROM invoices ORDER BY 1",
            "SELECT * FROM invoice_line_items ORDER BY 1",
            "SELECT * FROM invoice_days ORDER BY 1, 2",
            "SELECT * FROM ledger_entries ORDER BY 1",
            "SELECT * FROM payment_transactions ORDER BY 1",
        )
        return [world.rows(table) for table in tables]

    before = all_of_it()
    for change in CHANGES:
        assert world.refusal(role, change) in REFUSED, change
    assert all_of_it() == before


def test_a_bill_begins_as_a_draft_for_whoever_makes_it(world: World) -> None:
    meter = world.meter()
    with pytest.raises(psycopg.Error) as refused:
        world.do(
            "INSERT INTO invoices (meter_id, user_id, period_start, period_end, timezone, currency, net_amount,"
            " tax_amount, status) VALUES (%s, 1, '2026-03-01', '2026-04-01', 'UTC', 'EUR', 0, 0, 'paid')",
            meter,
        )
    assert refused.value.sqlstate == "SG031"


def test_lines_that_do_not_add_up_make_no_bill(world: World) -> None:
    """D8: line items never written."""
    draft = world.draft(world.meter(), 10, 2)
    world.do("UPDATE invoices SET net_amount = 11 WHERE invoice_id = %s", draft)

    with pytest.raises(psycopg.Error) as refused:
        world.do("SELECT bill_finalise(%s, %s)", draft, world.now)

    assert refused.value.sqlstate == "SG034"


def test_who_leaves_keeps_their_bills_with_name_and_address(world: World) -> None:
    """D7: deleting a user deletes the invoices. The log forgets them, however often a bill of theirs changes."""
    world.do("INSERT INTO billing_addresses (user_id, address) VALUES (1, 'Am Tor 1')")
    bill = world.bill()
    with world.domain.transaction():
        world.do("SELECT set_config('segs.user_id', '1', true)")
        world.do("SELECT account_delete(1, %s)", world.now)

    assert world.invoice(bill["invoice_id"]) == bill
    assert (bill["recipient_name"], bill["recipient_address"]) == ("Ada", "Am Tor 1")
    world.pay(bill["invoice_id"], "1.00", "p1")
    assert world.rows("SELECT value FROM audit_personal WHERE user_id = 1") == []
    logged = world.one("SELECT string_agg(new::text, '') FROM audit_logs WHERE table_name = 'invoices'")
    assert "Ada" not in logged
    assert "Am Tor" not in logged
