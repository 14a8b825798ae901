"""What providers and operators tell of money."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta
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
    world: World,
    dsn: str,
    number: str,
    event_id: str,
    payment: str,
    amount: str,
    status: str = "succeeded",
    at: datetime | None = None,
) -> Any:
    """As the webhook does it: verified, read, and told to the database in a transaction of its own."""
    body, signature = PROVIDER.tell(
        event_id=event_id,
        payment=payment,
        invoice=number,
        amount=Decimal(amount),
        currency="EUR",
        status=status,
        at=at or world.now,
        signed_at=world.now,
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


def _state(world: World, bill: int) -> tuple[str, Decimal, Decimal]:
    found = world.invoice(bill)
    return found["status"], found["paid_amount"], found["open_amount"]


def _cash(world: World) -> Decimal:
    found: Decimal = world.one("SELECT coalesce(sum(amount), 0) FROM ledger_entries WHERE account = 'cash'")
    return found


@pytest.mark.parametrize(
    "told",
    [
        [("succeeded", 0), ("reversed", 9)],
        [("succeeded", 0), ("reversed", 9), ("reversed", 9), ("succeeded", 0), ("failed", 9), ("succeeded", 10)],
        [("reversed", 9), ("succeeded", 0)],
        [("pending", 0), ("reversed", 0), ("succeeded", 0)],
        [("succeeded", 0), ("failed", 9)],
        [("pending", 0), ("succeeded", 1), ("failed", 9), ("succeeded", 1), ("failed", 9)],
        [("failed", 9), ("succeeded", 0)],
        [("failed", 0), ("failed", 9), ("succeeded", 1), ("succeeded", 1)],
    ],
)
def test_what_a_payment_that_is_taken_back_had_paid_is_open_again(world: World, told: list[tuple[str, int]]) -> None:
    """A charge-back, or a debit that the bank returned; told in any order, and any number of times."""
    bill = world.invoice(world.final(world.meter(), "100.00"))
    began = world.now
    world.now += timedelta(days=10)
    for n, (status, days) in enumerate(told):
        at = began + timedelta(days=days)
        _told(world, world.domain_dsn, bill["invoice_number"], f"e{n}", "p1", "100.00", status, at)

    assert _state(world, bill["invoice_id"]) == ("final", 0, 100)
    assert (world.invoice(bill["invoice_id"])["paid_at"], world.owed(), _cash(world)) == (None, 0, 0)
    assert world.one("SELECT status FROM payment_transactions") == "failed"
    posted = world.rows("SELECT kind, posted_by FROM ledger_postings WHERE payment_id IS NOT NULL ORDER BY posting_id")
    assert [tuple(row.values()) for row in posted] == [
        ("payment", "provider:simulated"),
        ("reversal", "provider:simulated"),
    ]


def test_a_bill_that_is_open_again_after_its_last_day_to_pay_is_overdue_and_can_be_paid(world: World) -> None:
    bill = world.final(world.meter(), "100.00")
    world.pay(bill, "100.00", "p1")
    world.now += timedelta(days=60)

    world.pay(bill, "100.00", "p1", "reversed")

    assert _state(world, bill) == ("overdue", 0, 100)
    changed = world.rows(
        "SELECT old ->> 'status' AS was, new ->> 'status' AS status FROM audit_logs"
        " WHERE table_name = 'invoices' AND old ->> 'status' = 'paid'"
    )
    assert changed == [{"was": "paid", "status": "overdue"}]
    world.pay(bill, "100.00", "p2")
    assert (_state(world, bill), _cash(world)) == (("paid", 100, 0), 100)


@pytest.mark.parametrize("used", ["not at all", "by a bill", "in part by a bill", "refunded", "by a bill and refunded"])
def test_credit_that_a_payment_had_become_is_taken_back_from_whoever_has_it(world: World, used: str) -> None:
    """170 came for a bill of 100: the 70 may wait, have paid another bill, or have gone back."""
    meter = world.meter()
    first = world.final(meter, "100.00")
    world.pay(first, "170.00", "p1")
    world.now += timedelta(days=40)
    second = None
    if "by a bill" in used:
        second = world.final(meter, "50.00" if used != "by a bill" else "80.00", month=date(2026, 4, 1))
    if "refunded" in used:
        amount = 20 if second else 70
        world.do("SELECT credit_refund(%s, 'manual', 'r1', %s, 'bank', 3, %s)", first, amount, world.now)

    world.pay(first, "170.00", "p1", "reversed")

    again = {"refunded": 170, "by a bill and refunded": 120}.get(used, 100)
    assert _state(world, first)[1:] == (100 - again, again)
    if second:
        total = world.invoice(second)["total_amount"]
        assert _state(world, second) == ("final", 0, total)
    assert world.owed() == 0
    assert _cash(world) == -{"refunded": 70, "by a bill and refunded": 20}.get(used, 0)
    owing = world.one("SELECT sum(amount) FROM ledger_entries WHERE account = 'receivable'")
    assert owing == world.one("SELECT sum(open_amount) FROM invoices")


def test_of_a_bill_that_was_paid_twice_one_payment_may_be_taken_back_and_it_stays_paid(world: World) -> None:
    """Nobody is dunned for what their credit covers: no later payment, and no later bill, would use it for this one."""
    bill = world.final(world.meter(), "100.00")
    for reference, amount in (("card", "100.00"), ("bank", "130.00")):
        world.pay(bill, amount, reference)

    world.pay(bill, "100.00", "card", "reversed")
    assert (_state(world, bill), world.owed(), _cash(world)) == (("paid", 100, 0), 30, 130)

    world.pay(bill, "130.00", "bank", "reversed")
    assert (_state(world, bill), world.owed(), _cash(world)) == (("final", 0, 100), 0, 0)


def test_credit_that_covered_a_payment_that_was_taken_back_is_taken_back_as_any_other(world: World) -> None:
    """Of the 150 that came for a bill of 50, 100 cover the bill of which the card's payment was taken back."""
    bill, other = world.final(world.meter(), "100.00"), world.final(world.meter(), "50.00")
    world.pay(bill, "100.00", "card")
    world.pay(other, "150.00", "bank")
    world.pay(bill, "100.00", "card", "reversed")
    assert (_state(world, bill), world.owed()) == (("paid", 100, 0), 0)

    world.pay(other, "150.00", "bank", "reversed")

    assert (_state(world, bill), _state(world, other)) == (("final", 0, 100), ("final", 0, 50))
    assert (world.owed(), _cash(world)) == (0, 0)


def test_a_payment_of_a_bill_that_was_taken_back_meanwhile_is_taken_out_of_its_credit(world: World) -> None:
    meter = world.meter()
    bill = world.final(meter, "100.00")
    world.pay(bill, "100.00", "p1")
    world.credit(bill)
    reverse = "SELECT payment_record(%s, 'simulated', 'p1', 100, 'EUR', 'reversed', NULL, NULL, %s, %s)"
    refund = "SELECT credit_refund(%s, 'manual', 'r1', 100, 'bank', 3, %s)"

    with world.domain.transaction(force_rollback=True):
        world.do(reverse, bill, world.now, world.now)
        assert (_state(world, bill), world.owed(), _cash(world)) == (("cancelled", 0, 0), 0, 0)
        world.do("SET CONSTRAINTS ALL IMMEDIATE")
    world.do(refund, bill, world.now)
    # Nothing that they could owe it with, until they are billed anew.
    assert world.refusal("SELECT 1", reverse, bill, world.now, world.now) == "SG101"
    anew = world.final(meter, "90.00")
    world.do(reverse, bill, world.now, world.now)

    assert (_state(world, anew), world.owed(), _cash(world)) == (("final", -100, 190), 0, -100)


def test_a_bill_with_which_more_is_owed_than_it_is_over_can_be_taken_back(world: World) -> None:
    """100 came for a bill of 60, of which 40 went back before all of it was taken back: those 40 stay owed."""
    meter = world.meter()
    bill = world.final(meter, "60.00")
    world.pay(bill, "100.00", "p1")
    world.do("SELECT credit_refund(%s, 'manual', 'r1', 40, 'bank', 3, %s)", bill, world.now)
    world.pay(bill, "100.00", "p1", "reversed")

    # There is nothing else that they could owe it with, until they are billed.
    assert world.refusal("SELECT 1", "SELECT bill_credit(%s, NULL, 'Misread', %s)", bill, world.now) == "SG101"
    world.now += timedelta(days=40)
    other = world.final(meter, "90.00", month=date(2026, 4, 1))
    world.credit(bill)

    assert (_state(world, bill), _state(world, other)) == (("cancelled", 0, 0), ("final", -40, 130))
    assert (world.owed(), _cash(world)) == (0, -40)
    world.pay(other, "130.00", "p2")
    assert (_state(world, other), world.owed()) == (("paid", 90, 0), 0)


def test_charge_backs_of_one_customer_at_the_same_instant_wait_for_each_other(world: World) -> None:
    """Each takes back what the other bill has of it."""
    for n in range(5):
        bills = [world.invoice(world.final(world.meter(), "100.00")) for _ in range(2)]
        for bill in bills:
            world.pay(bill["invoice_id"], "100.00", f"p{bill['invoice_id']}")
        together = Barrier(4)

        def tell(event: int, bills: Any = bills, together: Barrier = together, n: int = n) -> None:
            bill = bills[event % 2]
            together.wait()
            said = (f"e{n}-{event}", f"p{bill['invoice_id']}", "100.00", "reversed")
            _told(world, world.domain_dsn, bill["invoice_number"], *said)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(tell, range(4)))

        assert [_state(world, bill["invoice_id"]) for bill in bills] == [("final", 0, 100)] * 2
