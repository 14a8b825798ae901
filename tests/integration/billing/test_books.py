"""What was invoiced is paid, open or credited: after whatever happens, in whatever order."""

from decimal import Decimal
from itertools import count

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.billing.conftest import APRIL, World

CENTS = st.integers(1, 30_000).map(lambda cents: Decimal(cents) / 100)
OPERATION = st.one_of(
    st.tuples(st.just("pay"), st.integers(0, 5), CENTS),
    st.tuples(st.just("settle"), st.integers(0, 5), st.none()),
    st.tuples(st.just("repeat"), st.integers(0, 9), st.none()),
    st.tuples(st.just("fail"), st.integers(0, 5), CENTS),
    st.tuples(st.just("reverse"), st.integers(0, 9), st.none()),
    st.tuples(st.just("credit"), st.integers(0, 5), st.one_of(st.none(), CENTS)),
    st.tuples(st.just("dispute"), st.integers(0, 5), st.none()),
    st.tuples(st.just("uphold"), st.integers(0, 5), st.one_of(st.none(), CENTS)),
    st.tuples(st.just("reject"), st.integers(0, 5), st.none()),
    st.tuples(st.just("refund"), st.integers(0, 5), CENTS),
    st.tuples(st.just("overdue"), st.just(0), st.none()),
    st.tuples(st.just("another"), st.just(0), st.integers(-20_000, 20_000).map(lambda cents: Decimal(cents) / 100)),
)
REFUSED = {"SG101", "SG104", "SG105", "SG106"}


class _Books:
    """One database, in which each example is a customer with bills of their own."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.user: int = world.one(
            "INSERT INTO users (email, name, region) VALUES (gen_random_uuid() || '@example.org', 'Eve', 'north')"
            " RETURNING user_id"
        )
        self.bills: list[int] = []
        self.paid: list[tuple[int, Decimal, str]] = []
        self.reversed: set[str] = set()
        self.cash = Decimal(0)
        self.told = count()

    def do(self, kind: str, number: int, amount: Decimal | None) -> None:
        world, bill = self.world, self.bills[number % len(self.bills)] if self.bills else 0
        reference = f"{self.user}-{next(self.told)}"
        if kind == "another":
            assert amount is not None
            tax = (amount * Decimal("0.19")).quantize(Decimal("0.01"))
            self.bills.append(world.final(world.meter(user=None), amount, tax, user=self.user))
        elif kind in ("pay", "settle"):
            amount = amount or world.invoice(bill)["open_amount"]
            world.pay(bill, amount, reference)
            self.paid.append((bill, amount, reference))
            self.cash += amount
        elif kind == "reverse" and self.paid:
            bill, amount, reference = self.paid[number % len(self.paid)]
            world.pay(bill, amount, reference, "reversed")
            if reference not in self.reversed:
                self.reversed.add(reference)
                self.cash -= amount
        elif kind == "repeat" and self.paid:
            world.pay(*self.paid[number % len(self.paid)])
        elif kind == "fail":
            world.pay(bill, amount, reference, "pending")
            world.pay(bill, amount, reference, "failed")
        elif kind == "credit":
            world.credit(bill, amount)
        elif kind == "dispute":
            world.do("SELECT bill_dispute(%s, 'Too much', %s)", bill, world.now)
        elif kind in ("uphold", "reject"):
            outcome = {"uphold": "upheld", "reject": "rejected"}[kind]
            world.do("SELECT bill_dispute_resolve(%s, %s, %s, 'Looked', %s)", bill, outcome, amount, world.now)
        elif kind == "refund":
            world.do(
                "SELECT credit_refund(%s, 'simulated', %s, %s, NULL, NULL, %s)",
                bill,
                f"r{reference}",
                amount,
                world.now,
            )
            self.paid.append((bill, Decimal(-1), "x"))
            self.cash -= amount or 0
        elif kind == "overdue":
            world.do("SELECT bills_overdue(1000, %s)", world.now.replace(year=2027))

    def check(self) -> None:
        world = self.world
        bills = world.rows("SELECT * FROM invoices WHERE user_id = %s AND kind = 'invoice'", self.user)
        for bill in bills:
            assert bill["total_amount"] == bill["paid_amount"] + bill["open_amount"] + bill["credited_amount"]
            assert bill["open_amount"] >= 0
            assert bill["status"] != "paid" or bill["open_amount"] == 0
        sums = {
            row["account"]: row["sum"]
            for row in world.rows(
                "SELECT account, sum(amount) FROM ledger_postings JOIN ledger_entries USING (posting_id)"
                " WHERE user_id = %s GROUP BY account",
                self.user,
            )
        }
        assert sum(sums.values()) == 0
        assert sums.get("receivable", 0) == sum(bill["open_amount"] for bill in bills)
        assert sums.get("cash", 0) == self.cash
        assert -sums.get("balance", 0) == world.owed(self.user) >= 0
        net = world.one("SELECT coalesce(sum(total_amount), 0) FROM invoices WHERE user_id = %s", self.user)
        assert -sums.get("revenue", 0) == net


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(CENTS, min_size=1, max_size=3), st.lists(OPERATION, max_size=20))
def test_the_books_balance_after_any_operations_in_any_order(
    world: World, amounts: list[Decimal], operations: list[tuple[str, int, Decimal | None]]
) -> None:
    """D1, D2: no cent comes or goes that is not posted; what is refused leaves nothing behind."""
    books = _Books(world)
    for amount in amounts:
        books.do("another", 0, amount)
    for kind, number, amount in operations:
        try:
            books.do(kind, number, amount)
        except psycopg.Error as refused:
            if refused.sqlstate not in REFUSED:
                raise
        books.check()


def test_what_is_paid_in_parts_is_paid_when_all_of_it_came(world: World) -> None:
    bill = world.final(world.meter(), "100.00")

    states = []
    for n, amount in enumerate(("40.00", "59.99", "0.01")):
        world.pay(bill, amount, f"p{n}")
        found = world.invoice(bill)
        states.append((found["status"], found["open_amount"]))

    assert states == [("final", Decimal(60)), ("final", Decimal("0.01")), ("paid", Decimal(0))]


def test_what_is_paid_too_much_is_used_by_the_next_bill_and_the_rest_is_refunded(world: World) -> None:
    meter = world.meter()
    world.pay(world.final(meter, "100.00"), "170.00", "p1")
    assert world.owed() == 70

    world.now = world.now.replace(month=5)
    following = world.final(meter, "50.00", month=APRIL)

    assert (world.invoice(following)["status"], world.owed()) == ("paid", 20)
    refund = "SELECT credit_refund(%s, 'manual', %s, %s, 'bank', 3, %s)"
    with pytest.raises(psycopg.Error) as refused:
        world.do(refund, following, "r1", "20.01", world.now)
    world.do(refund, following, "r2", "20.00", world.now)
    assert (refused.value.sqlstate, world.owed()) == ("SG104", 0)


def test_a_bill_below_zero_is_credit(world: World) -> None:
    bill = world.invoice(world.final(world.meter(), "-30.00", "-5.70"))

    assert (bill["status"], bill["paid_amount"], world.owed()) == ("paid", Decimal("-35.70"), Decimal("35.70"))


def test_cancelling_a_paid_bill_gives_what_was_paid_back_as_credit(world: World) -> None:
    bill = world.final(world.meter(), "100.00", "19.00")
    world.pay(bill, "119.00", "p1")

    note = world.invoice(world.credit(bill))

    found = world.invoice(bill)
    assert (found["status"], found["paid_amount"], found["credited_amount"]) == ("cancelled", 0, 119)
    assert (note["net_amount"], note["tax_amount"], note["status"], world.owed()) == (-100, -19, "final", 119)
    assert [line["amount"] for line in world.lines(note["invoice_id"])] == [-100, -19]


def test_an_amount_that_is_taken_back_has_its_share_of_the_tax(world: World) -> None:
    bill = world.final(world.meter(), "100.00", "19.00")

    first = world.invoice(world.credit(bill, "10.00"))
    rest = world.invoice(world.credit(bill))

    assert (first["net_amount"], first["tax_amount"]) == (Decimal("-8.40"), Decimal("-1.60"))
    assert (rest["net_amount"], rest["tax_amount"]) == (Decimal("-91.60"), Decimal("-17.40"))
    assert world.invoice(bill)["status"] == "cancelled"


def test_disputes_end(world: World) -> None:
    """D8: a dispute cannot be resolved; a cancelled invoice can be disputed."""
    meter = world.meter()
    bill = world.final(meter, "100.00")
    dispute, resolve = (
        "SELECT bill_dispute(%s, 'Too much', %s)",
        "SELECT bill_dispute_resolve(%s, %s, NULL, 'Looked', %s)",
    )
    later = world.now.replace(month=6)

    world.do(dispute, bill, world.now)
    assert world.one("SELECT bills_overdue(10, %s)", later) == 0
    world.do(resolve, bill, "rejected", later)
    assert world.invoice(bill)["status"] == "overdue"
    world.do(dispute, bill, later)
    world.do(resolve, bill, "upheld", later)
    assert world.invoice(bill)["status"] == "cancelled"
    with pytest.raises(psycopg.Error) as refused:
        world.do(dispute, bill, later)

    assert refused.value.sqlstate == "SG101"
    told = world.rows(
        "SELECT outcome, opened_by, resolved_by, credit_note_id IS NOT NULL AS note FROM invoice_disputes ORDER BY 1"
    )
    assert [(row["outcome"], row["note"]) for row in told] == [("rejected", False), ("upheld", True)]
    assert all(row["opened_by"] and row["resolved_by"] for row in told)


def test_a_bill_is_overdue_on_the_day_after_the_last_one_to_pay_in_its_own_zone(world: World) -> None:
    """D5, D8: overdue is never set."""
    bill = world.final(world.meter(), "100.00")
    due = world.invoice(bill)["due_date"]
    late_evening = world.now.replace(day=due.day, hour=21, minute=59)

    assert world.one("SELECT bills_overdue(10, %s)", late_evening) == 0
    assert world.one("SELECT bills_overdue(10, %s)", late_evening.replace(hour=22, minute=0)) == 1
    world.pay(bill, "100.00", "p1")
    assert world.invoice(bill)["status"] == "paid"
