"""Numbers of invoices and of credit notes: two series without gaps, whoever is rolled back."""

import random
import re
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from tests.integration.billing.conftest import World

_ROLLED_BACK = (psycopg.Rollback, psycopg.errors.RaiseException)


def test_fifty_finalisations_at_once_some_of_them_rolled_back_leave_no_gap_and_no_number_twice(world: World) -> None:
    """D3: the number of the last one plus one is a row under a lock, and no count."""
    draw = random.Random(7)
    drafts = [world.draft(world.meter(), draw.randint(1, 500)) for _ in range(50)]
    dies = {invoice_id: draw.choice((None, None, "rollback", "kill")) for invoice_id in drafts}

    def finalise(invoice_id: int) -> None:
        with psycopg.connect(world.domain_dsn) as connection:
            connection.execute("SELECT bill_finalise(%s, %s)", [invoice_id, world.now])
            if dies[invoice_id] == "rollback":
                connection.rollback()
            elif dies[invoice_id] == "kill":
                world_pid = connection.info.backend_pid
                with psycopg.connect(world.domain_dsn, autocommit=True) as other:
                    other.execute("SELECT pg_terminate_backend(%s, 5000)", [world_pid])

    with ThreadPoolExecutor(12) as pool:
        for done in [pool.submit(finalise, invoice_id) for invoice_id in drafts]:
            try:
                done.result()
            except psycopg.OperationalError:
                continue
    lived = [invoice_id for invoice_id in drafts if dies[invoice_id] is None]
    assert 10 < len(lived) < 45

    numbered = world.rows(
        "SELECT invoice_id, serial_number, invoice_number FROM invoices WHERE status <> 'draft' ORDER BY 2"
    )
    assert {row["invoice_id"] for row in numbered} == set(lived)
    assert [row["serial_number"] for row in numbered] == list(range(1, len(lived) + 1))
    assert [row["invoice_number"] for row in numbered] == [f"INV-{n:010}" for n in range(1, len(lived) + 1)]


def test_credit_notes_count_by_themselves(world: World) -> None:
    first, second = (world.final(world.meter(), 10) for _ in range(2))

    notes = [world.invoice(world.credit(invoice))["invoice_number"] for invoice in (second, first)]

    assert notes == ["CRN-0000000001", "CRN-0000000002"]
    assert world.invoice(world.final(world.meter(), 10))["invoice_number"] == "INV-0000000003"


@pytest.mark.parametrize(
    ("statement", "sqlstate"),
    [
        ("UPDATE invoice_series SET last_number = last_number + 1 WHERE kind = 'invoice'", "SG034"),
        ("UPDATE invoice_series SET last_number = last_number + 2 WHERE kind = 'invoice'", "SG033"),
        ("UPDATE invoice_series SET last_number = 0 WHERE kind = 'invoice'", "SG033"),
        ("UPDATE invoice_series SET prefix = 'X-' WHERE kind = 'invoice'", "SG033"),
        ("DELETE FROM invoice_series", "SG033"),
    ],
)
def test_nobody_takes_a_number_out_of_a_series_or_sets_it_back(world: World, statement: str, sqlstate: str) -> None:
    """D3, the owner included."""
    world.final(world.meter(), 10)

    with pytest.raises(psycopg.Error) as refused:
        world.domain.execute(statement)

    assert refused.value.sqlstate == sqlstate
    assert re.fullmatch(r"INV-0{9}2", world.invoice(world.final(world.meter(), 10))["invoice_number"])


def test_a_meter_has_one_invoice_for_a_period_however_many_runs_there_are(world: World) -> None:
    """D3: no unique (meter, period)."""
    meter = world.meter()
    world.bill(meter)

    assert world.run() == []
    with pytest.raises(psycopg.errors.ExclusionViolation):
        world.draft(meter, 10)
