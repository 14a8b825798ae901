"""What providers and operators tell of money."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from threading import Barrier
from typing import Any, LiteralString

import psycopg
import pytest

from cloud.db.queries import Queries
from cloud.payments.simulated import Simulated
from tests.integration.billing.conftest import World

_QUERIES = Queries("payment")
PROVIDER = Simulated([b"s" * 32])


def _told(
    world: World, dsn: str, number: str, event_id: str, payment: str, amount: str, status: str = "succeeded"
) -> Any:
    """As the webhook does it: verified, read, and told to the database in a transaction of its own."""
    body, signature = PROVIDER.tell(
        event_id=event_id,
        payment=payment,
        invoice=number,
        amount=Decimal(amount),
        currency="EUR",
        status=status,
        at=world.now,
    )
    event = PROVIDER.read(body, signature, world.now)
    with psycopg.connect(dsn) as connection:
        said = {name: getattr(event, name) for name in type(event).__dataclass_fields__} | {"now": world.now}
        return connection.execute(_QUERIES["event"], said).fetchone()


@pytest.mark.parametrize("events", [["e1", "e1"], ["e1", "e2"]])
def test_two_webhooks_of_one_payment_at_the_same_instant_make_one_transaction(world: World, events: list[str]) -> None:
    """D1: no lock, paid twice. The same event twice, and two events of the same payment."""
    for n in range(10):
        bill = world.invoice(world.final(world.meter(), "100.00"))
        together = Barrier(2)

        def tell(event: str, bill: Any = bill, together: Barrier = together, n: int = n) -> Any:
            together.wait()
            return _told(world, world.domain_dsn, bill["invoice_number"], f"{event}-{n}", f"p{n}", "100.00")

        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(tell, events))

        assert len({payment_id for payment_id, _ in answers}) == 1
        found = world.rows("SELECT status, amount FROM payment_transactions WHERE invoice_id = %s", bill["invoice_id"])
        assert found == [{"status": "succeeded", "amount": Decimal(100)}]
        paid = world.invoice(bill["invoice_id"])
        assert (paid["status"], paid["paid_amount"], world.owed()) == ("paid", 100, 0)


def test_two_payments_at_the_same_instant_pay_once_and_the_rest_is_credit(world: World) -> None:
    """D1."""
    bill = world.invoice(world.final(world.meter(), "100.00"))
    with ThreadPoolExecutor(8) as pool:
        for n in range(8):
            pool.submit(_told, world, world.domain_dsn, bill["invoice_number"], f"e{n}", f"p{n}", "30.00")

    assert (world.invoice(bill["invoice_id"])["status"], world.owed()) == ("paid", 140)


def test_an_event_counts_once_and_another_by_its_number_is_refused(world: World) -> None:
    number = world.invoice(world.final(world.meter(), "100.00"))["invoice_number"]

    first = _told(world, world.domain_dsn, number, "e1", "p1", "40.00")
    again = _told(world, world.domain_dsn, number, "e1", "p1", "40.00")
    with pytest.raises(psycopg.Error) as other:
        _told(world, world.domain_dsn, number, "e1", "p2", "50.00")
    with pytest.raises(psycopg.Error) as more:
        _told(world, world.domain_dsn, number, "e2", "p1", "50.00")

    assert (first[0], first[1], again[0], again[1]) == (again[0], False, first[0], True)
    assert (other.value.sqlstate, more.value.sqlstate) == ("SG105", "SG105")


def test_a_payment_is_pending_and_then_succeeds_or_fails_once(world: World) -> None:
    bill = world.invoice(world.final(world.meter(), "100.00"))
    for n, status in enumerate(("pending", "succeeded", "failed", "pending")):
        _told(world, world.domain_dsn, bill["invoice_number"], f"e{n}", "p1", "100.00", status)

    assert world.one("SELECT status FROM payment_transactions") == "succeeded"
    assert world.invoice(bill["invoice_id"])["status"] == "paid"


@pytest.mark.parametrize("order", [("failed", "succeeded", "failed", "succeeded"), ("pending", "failed", "succeeded")])
def test_money_that_came_counts_once_whatever_was_told_before(world: World, order: tuple[str, ...]) -> None:
    """Or a payment was made and is nowhere. Reports come in any order, and a failed one may be tried again."""
    bill = world.invoice(world.final(world.meter(), "100.00"))
    for n, status in enumerate(order):
        _told(world, world.domain_dsn, bill["invoice_number"], f"e{n}", "p1", "100.00", status)

    assert world.one("SELECT status FROM payment_transactions") == "succeeded"
    paid = world.invoice(bill["invoice_id"])
    assert (paid["status"], paid["paid_amount"], paid["open_amount"]) == ("paid", Decimal("100.00"), 0)
    assert world.one("SELECT count(*) FROM ledger_postings WHERE kind = 'payment'") == 1


@pytest.mark.parametrize(
    ("what", "sqlstate"),
    [
        ({"p_amount": "0"}, "SG104"),
        ({"p_amount": "-5"}, "SG104"),
        ({"p_amount": "0.001"}, "SG104"),
        ({"p_amount": "NaN"}, "SG104"),
        ({"p_currency": "USD"}, "SG104"),
        ({"p_invoice": 999}, "SG100"),
    ],
)
def test_what_is_no_payment_is_refused(world: World, what: dict[str, Any], sqlstate: str) -> None:
    bill = world.final(world.meter(), "100.00")
    said = {"p_invoice": bill, "p_amount": "5", "p_currency": "EUR", "now": world.now} | what
    with pytest.raises(psycopg.Error) as refused:
        world.domain.execute(
            "SELECT payment_record(%(p_invoice)s, 'simulated', 'p1', %(p_amount)s, %(p_currency)s, 'succeeded', NULL,"
            " NULL, %(now)s, %(now)s)",
            said,
        )
    assert refused.value.sqlstate == sqlstate


def test_nobody_settles_their_own_bill_whatever_their_role(world: World) -> None:
    """D1: an operator who is a customer too records no payment of theirs, takes nothing back, pays
    nothing out, decides no dispute and makes no draft final."""
    bill = world.final(world.meter(user=3), "100.00", user=3)
    record = "SELECT payment_record(%s, 'manual', 'r1', 100, 'EUR', 'succeeded', 'cash', %s, %s, %s)"

    theirs: LiteralString = "SELECT set_config('segs.user_id', '3', true)"
    for recorded_by in (3, 1):
        assert world.refusal(theirs, record, bill, recorded_by, world.now, world.now) == "SG102"
    for statement in (
        "SELECT bill_credit(%s, NULL, 'x', now())",
        "SELECT bill_dispute_resolve(%s, 'upheld', NULL, 'x', now())",
        "SELECT credit_refund(%s, 'manual', 'r2', 1, 'bank', NULL, now())",
        "SELECT credit_refund(%s, 'simulated', 'r2', 1, NULL, NULL, now())",
    ):
        assert world.refusal(theirs, statement, bill) == "SG102"
    assert world.refusal("SELECT 1", "SELECT credit_refund(%s, 'manual', 'r2', 1, 'bank', 3, now())", bill) == "SG102"
    draft = world.draft(world.meter(user=3), "100.00", user=3)
    assert world.refusal(theirs, "SELECT bill_finalise(%s, now())", draft) == "SG102"
    world.do(record, bill, 1, world.now, world.now)
    assert world.invoice(bill)["status"] == "paid"


def test_a_payment_of_a_bill_that_was_taken_back_is_credit(world: World) -> None:
    bill = world.final(world.meter(), "100.00")
    world.credit(bill)
    world.now += timedelta(days=1)
    world.pay(bill, "100.00", "p1")

    assert (world.invoice(bill)["status"], world.owed()) == ("cancelled", 100)
