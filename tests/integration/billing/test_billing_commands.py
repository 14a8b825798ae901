"""`segs-cloud billing` and `segs-cloud payment`, as an operator types them."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.billing.conftest import APRIL, MARCH, World, midnight
from tests.integration.conftest import SegsCloud


@pytest.fixture
def bill(world: World, segs_cloud: SegsCloud) -> str:
    world.use(world.meter())
    done = segs_cloud("billing", "run", "--month", "2026-03")
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        "MTR-00000001: INV-0000000001, 2026-03-01 to 2026-04-01, 222.90 EUR, final\n",
        "1 meters billed, 1 bills.\n",
    )
    return "INV-0000000001"


def _shown(segs_cloud: SegsCloud, bill: str) -> Any:
    return json.loads(segs_cloud("billing", "show", bill, "--json").stdout)


def test_a_bill_from_the_run_to_the_last_cent(segs_cloud: SegsCloud, bill: str, world: World) -> None:
    """D1, D8."""
    pay = ("payment", "record", bill, "--reference")
    first = segs_cloud(*pay, "statement-7", "--amount", "200")
    again = segs_cloud(*pay, "statement-7", "--amount", "200.00")
    last = segs_cloud(*pay, "till-1", "--amount", "30", "--method", "cash")

    assert first.stderr == f"{bill}: 200.00 EUR is recorded; it is final, 22.90 EUR open.\n"
    assert again.stderr == f"{bill}: 200.00 EUR was recorded before; it is final, 22.90 EUR open.\n"
    # As a wrong amount would be, too.
    credit = "7.10 EUR of it became the customer's credit."
    assert last.stderr == f"{bill}: 30.00 EUR is recorded; it is paid, 0.00 EUR open. {credit}\n"
    shown = _shown(segs_cloud, bill)
    assert [(one["method"], one["amount"]) for one in shown["payments"]] == [("bank", "200.0000"), ("cash", "30.0000")]
    assert segs_cloud("payment", "refund", bill, "--amount", "7.10", "--reference", "r1").returncode == 0
    assert world.owed() == 0
    assert "total: 222.90 EUR" in segs_cloud("billing", "show", bill).stdout.splitlines()
    assert bill in segs_cloud("billing", "list", "--status", "paid").stdout
    refused = segs_cloud("billing", "list", "--meter", "MTR-1")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == "segs-cloud: there is no meter MTR-1; segs-cloud meter list names them\n"


def test_a_payment_that_the_bank_returned_is_taken_back(segs_cloud: SegsCloud, bill: str, world: World) -> None:
    """D1: what was booked by hand is corrected by an entry of its own, and by nobody's own bill."""
    pay = ("payment", "record", bill, "--reference", "statement-7", "--amount", "250")
    assert segs_cloud(*pay).returncode == 0
    undo = ("payment", "reverse", bill, "--reference", "statement-7")
    answers = [segs_cloud(*undo).stderr for _ in range(2)]

    assert answers == 2 * [f"{bill}: payment statement-7 is reversed; it is final, 222.90 EUR open.\n"]
    [payment] = _shown(segs_cloud, bill)["payments"]
    assert (payment["status"], payment["amount"]) == ("reversed", "250.0000")
    assert world.owed() == 0
    again = segs_cloud(*pay)
    assert "was recorded before; it is final, 222.90 EUR open" in again.stderr


def test_what_is_refused_says_why(segs_cloud: SegsCloud, bill: str) -> None:
    assert segs_cloud("billing", "credit", bill, "--reason", "Misread", "--amount", "10").stdout == "CRN-0000000001\n"
    for command, told in (
        (("billing", "show", "INV-7"), "there is no bill INV-7; segs-cloud billing list names them"),
        (("billing", "finalise", bill), "is final already"),
        (
            ("billing", "credit", bill, "--reason", "x", "--amount", "212.91"),
            "212.90 EUR left to take back, and not 212.91",
        ),
        (("billing", "credit", bill, "--reason", "x", "--amount", "20.005"), "20.005 has more decimals than EUR has"),
        (("billing", "credit", bill, "--reason", "x", "--amount", "20.005"), "with at most 2 decimals"),
        (("billing", "credit", bill, "--reason", ""), "the reason is empty"),
        (("billing", "credit", "CRN-0000000001", "--reason", "x"), "is a credit note: there is nothing"),
        (("billing", "resolve", bill, "rejected", "--reason", "x"), "is not disputed"),
        (("payment", "refund", bill, "--amount", "1", "--reference", "r"), "cannot be refunded"),
        (("payment", "record", bill, "--amount", "1.555", "--reference", "r"), "with at most 2 decimals"),
        (
            (*("payment", "record", bill, "--amount", "1"), "--reference", "r", "--at", "2999-01-01T00:00Z"),
            "still to be",
        ),
        (("payment", "reverse", bill, "--reference", "r"), "no payment r of this invoice was recorded by hand"),
        (("payment", "record", "CRN-0000000001", "--amount", "1", "--reference", "r"), "nothing to pay"),
    ):
        refused = segs_cloud(*command)
        assert (refused.returncode, refused.stdout) == (1, ""), command
        assert told in refused.stderr.replace(".0000", ".00").replace("212.9000", "212.90"), refused.stderr


def test_a_refund_by_a_reference_that_is_used_is_refused_in_words(segs_cloud: SegsCloud, bill: str) -> None:
    paid = segs_cloud("payment", "record", bill, "--amount", "300", "--reference", "r")
    assert paid.returncode == 0

    refused = segs_cloud("payment", "refund", bill, "--amount", "1", "--reference", "r")

    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == (
        "segs-cloud: the reference r was used for another payment or refund; nothing was changed; give the number of"
        " this refund's own receipt\n"
    )


def test_what_cannot_be_billed_ends_the_run_with_1(segs_cloud: SegsCloud, world: World) -> None:
    world.use(world.meter(tariff=None))
    world.use(world.meter())

    done = segs_cloud("billing", "run", "--month", "2026-03", "--json")

    assert done.returncode == 1
    assert done.stderr == (
        "segs-cloud: 1 of 2 meters are not billed whole; wait for what is not over, mend what else is told, and run it"
        " again\n"
    )
    blocked, billed = json.loads(done.stdout)["meters"]
    assert (blocked["state"], billed["state"]) == ("blocked", "done")
    [finding] = blocked["findings"]
    assert (finding["reason"], finding["from"], finding["to"]) == (
        "no_tariff",
        midnight(MARCH).isoformat().replace("+00:00", "Z"),
        midnight(APRIL).isoformat().replace("+00:00", "Z"),
    )


def test_who_does_as_findings_say_bills_the_month(segs_cloud: SegsCloud, world: World) -> None:
    """Whoever did it without a time first, from now on, can still do as told."""
    meter = world.meter(user=None, tariff=None)
    world.use(meter)
    code = f"MTR-{meter:08}"
    assert segs_cloud("meter", "give", code, "ada@example.org").returncode == 0
    assert segs_cloud("tariff", "assign", code, "house").returncode == 0
    run = ("billing", "run", "--month", "2026-03", "--meter", code)
    since = "2026-02-28T23:00:00Z"

    told = segs_cloud(*run).stdout
    assert f"no_owner: {since} to 2026-03-31T22:00:00Z: it is nobody's" in told
    assert f"segs-cloud meter give --from {since} gives it to its customer" in told
    assert segs_cloud("meter", "give", code, "ada@example.org", "--from", since).returncode == 0
    told = segs_cloud(*run).stdout
    assert f"segs-cloud tariff assign --from {since} gives it one" in told
    assert segs_cloud("tariff", "assign", code, "house", "--from", since).returncode == 0

    done = segs_cloud(*run)
    assert (done.returncode, done.stdout) == (
        0,
        f"{code}: INV-0000000001, 2026-03-01 to 2026-04-01, 222.90 EUR, final\n",
    )


def test_drafts_of_a_month_become_final_together(segs_cloud: SegsCloud, world: World) -> None:
    assert segs_cloud("billing", "settings", "--finalise", "manual", "--payment-days", "30").returncode == 0
    for _ in range(2):
        world.use(world.meter())
    assert segs_cloud("billing", "run", "--month", "2026-03").returncode == 0
    assert "INV" not in segs_cloud("billing", "list").stdout

    done = segs_cloud("billing", "finalise", "--month", "2026-03")

    assert (done.stdout, done.stderr) == ("INV-0000000001\nINV-0000000002\n", "2 bills are final.\n")
    assert json.loads(segs_cloud("billing", "settings", "--json").stdout)["payment_days"] == 30


def test_a_dispute_ends_with_a_credit_note(segs_cloud: SegsCloud, bill: str) -> None:
    """D8."""
    assert segs_cloud("billing", "dispute", bill, "--reason", "I was away").returncode == 0
    done = segs_cloud("billing", "resolve", bill, "upheld", "--reason", "True", "--amount", "22.90")

    assert done.stderr == f"The dispute of {bill} is upheld, by CRN-0000000001.\n"
    shown = _shown(segs_cloud, bill)
    assert (shown["status"], shown["open"], shown["disputes"][0]["outcome"]) == ("final", "200.0000", "upheld")
    assert shown["credit_notes"][0]["number"] == "CRN-0000000001"


def test_a_bill_is_written_as_a_document(segs_cloud: SegsCloud, bill: str, tmp_path: Path) -> None:
    """D8: a PDF that never existed."""
    assert segs_cloud("billing", "show", bill, "--pdf", str(tmp_path / "bill.pdf")).returncode == 0

    assert (tmp_path / "bill.pdf").read_bytes().startswith(b"%PDF-")


def test_bills_go_to_where_the_customer_says(segs_cloud: SegsCloud, world: World) -> None:
    assert segs_cloud("billing", "address", "Ada@example.org", "--address", "Am Tor 1").returncode == 0
    assert segs_cloud("billing", "address", "nobody@example.org", "--name", "x").returncode == 1
    world.use(world.meter())
    assert segs_cloud("billing", "run", "--month", "2026-03").returncode == 0

    shown = _shown(segs_cloud, "INV-0000000001")
    assert (shown["recipient_name"], shown["recipient_address"]) == ("Ada", "Am Tor 1")


def test_what_is_overdue_is_told(segs_cloud: SegsCloud, bill: str, world: World) -> None:
    assert json.loads(segs_cloud("billing", "overdue", "--json").stdout) == []
    world.do("ALTER TABLE invoices DISABLE TRIGGER USER")
    world.do("UPDATE invoices SET due_date = '2026-04-02'")
    world.do("ALTER TABLE invoices ENABLE TRIGGER USER")

    [one] = json.loads(segs_cloud("billing", "overdue", "--json").stdout)
    assert (one["number"], one["due_date"], one["open"]) == (bill, "2026-04-02", "222.9000")
