"""Bills over HTTP, from the run of a month to the last cent."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from threading import Barrier
from typing import Any

import pytest

from tests.commands import segs_cloud
from tests.integration.api.bills import KEYED, Billed, customer, midnight, tariff, tell
from tests.integration.api.conftest import PROVIDER_SECRET, Api, Person


@pytest.fixture(scope="module")
def operator(api: Api) -> Person:
    return api.person("OPERATOR", "north")


@pytest.fixture(autouse=True)
def _unlimited(api: Api) -> None:
    api.do("DELETE FROM rate_buckets")


def _bill(api: Api, who: Person, invoice_id: int) -> dict[str, Any]:
    answer = api.get(f"/billing/invoices/{invoice_id}", token=who.token)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["data"]
    return found


def _pay(api: Api, who: Person, invoice_id: int, **body: Any) -> Any:
    return api.post(f"/billing/invoices/{invoice_id}/payments", {"provider": "simulated"} | body, token=who.token)


def test_a_bill_has_its_lines_its_days_and_its_sums(api: Api) -> None:
    """D2, D8: money is decimal text, and line items are written."""
    billed = customer(api)
    found = _bill(api, billed.owner, billed.run())

    net = Decimal(billed.kwh) * Decimal("0.30")
    assert (found["status"], found["meter"], found["currency"]) == ("final", billed.meter, "EUR")
    assert (found["first_day"], found["end_day"]) == (str(billed.month), str(billed.end))
    assert [(line["component"], line["quantity"], line["unit"], line["unit_price"]) for line in found["lines"]] == [
        ("energy", str(billed.kwh), "kWh", "0.3"),
        ("tax", "19", "percent", found["lines"][1]["unit_price"]),
    ]
    assert (found["net_amount"], found["total_amount"]) == (f"{net:.2f}", f"{net * Decimal('1.19'):.2f}")
    assert sum(Decimal(line["amount"]) for line in found["lines"]) == Decimal(found["total_amount"])
    assert (found["open_amount"], found["paid_amount"]) == (found["total_amount"], "0.00")
    assert len(found["usage"]) == (billed.end - billed.month).days
    assert sum(day["energy_import_wh"] for day in found["usage"]) == found["energy_import_wh"] == billed.kwh * 1000
    assert found["lines"][0]["intervals_version"] > 0
    assert found["lines"][0]["from"] == f"{billed.month}T00:00:00Z"


def test_a_bill_is_a_document_the_same_each_time(api: Api) -> None:
    """D8: a PDF that never existed."""
    billed = customer(api)
    invoice_id = billed.run()
    answers = [api.get(f"/billing/invoices/{invoice_id}/pdf", token=billed.owner.token) for _ in range(2)]

    assert answers[0].headers["content-type"] == "application/pdf"
    assert "INV-" in answers[0].headers["content-disposition"]
    assert answers[0].content.startswith(b"%PDF-")
    assert answers[0].content == answers[1].content


def test_lists_have_pages_and_filters(api: Api) -> None:
    """D16."""
    billed = customer(api)
    others = [customer(api, owner=billed.owner) for _ in range(2)]
    ids = [one.run() for one in (billed, *others)]

    def listed(**query: Any) -> list[int]:
        answer = api.get("/billing/invoices", token=billed.owner.token, **query)
        assert answer.status_code == 200, answer.text
        return [one["invoice_id"] for one in answer.json()["data"]]

    first = api.get("/billing/invoices", token=billed.owner.token, limit=2).json()
    assert [one["invoice_id"] for one in first["data"]] == ids[:0:-1]
    assert listed(limit=2, cursor=first["meta"]["next"]) == ids[:1]
    assert listed(meter=billed.meter) == ids[:1]
    assert listed(month=f"{billed.month:%Y-%m}") == ids[::-1]
    number = first["data"][0]["number"]
    assert listed(number=number) == ids[-1:]
    assert (
        listed(number=number[:-1]) == listed(number=number.lower()) == listed(number=number, meter=billed.meter) == []
    )
    stranger = customer(api)
    assert api.get("/billing/invoices", token=stranger.owner.token, number=number).json()["data"] == []
    assert listed(month=f"{billed.end:%Y-%m}") == listed(status="overdue") == listed(kind="credit_note") == []
    assert api.get("/billing/invoices", token=billed.owner.token, meter="MTR-99999999").status_code == 404
    assert api.get("/billing/invoices", token=billed.owner.token, page=2).status_code == 422


def test_a_poll_of_what_has_not_changed_costs_nothing(api: Api, operator: Person) -> None:
    billed = customer(api)
    invoice_id = billed.run()
    for path in (f"/billing/invoices/{invoice_id}", "/billing/invoices", f"/billing/meters/{billed.meter}/current"):
        first = api.get(path, token=billed.owner.token)
        again = api.ask("GET", path, token=billed.owner.token, headers={"if-none-match": first.headers["etag"]})
        assert (first.status_code, again.status_code, again.content) == (200, 304, b""), path
    tag = api.get(f"/billing/invoices/{invoice_id}", token=billed.owner.token).headers["etag"]
    api.post(f"/billing/invoices/{invoice_id}/disputes", {"reason": "Too much"}, token=billed.owner.token)
    assert api.get(f"/billing/invoices/{invoice_id}", token=billed.owner.token).headers["etag"] != tag


def test_a_customer_pays_and_the_provider_says_so(api: Api) -> None:
    """D1: users mark their own invoices paid."""
    billed = customer(api)
    invoice_id = billed.run()
    bill = _bill(api, billed.owner, invoice_id)

    answer = _pay(api, billed.owner, invoice_id)
    payment = answer.json()["data"]
    assert (answer.status_code, payment["status"], payment["amount"]) == (201, "pending", bill["total_amount"])
    assert _bill(api, billed.owner, invoice_id)["status"] == "final"
    told = tell(api, payment, bill["number"], event=f"e{invoice_id}")

    paid = _bill(api, billed.owner, invoice_id)
    assert told.status_code == 200, told.text
    assert (paid["status"], paid["open_amount"], paid["paid_amount"]) == ("paid", "0.00", bill["total_amount"])
    assert [one["status"] for one in paid["payments"]] == ["succeeded"]
    actors = "SELECT posted_by FROM ledger_postings WHERE invoice_id = %s AND kind = 'payment'"
    assert api.do(actors, invoice_id) == [("provider:simulated",)]
    assert _pay(api, billed.owner, invoice_id).status_code == 409


def test_the_simulated_provider_speaks_by_a_command(api: Api) -> None:
    billed = customer(api)
    invoice_id = billed.run()
    reference = _pay(api, billed.owner, invoice_id).json()["data"]["reference"]
    said = ("payment", "simulate", "--api", f"{api.url}/api/v1")
    environment = {"SEGS_DOMAIN_DSN": api.domain, "SEGS_PAYMENT_SIMULATED_SECRETS": PROVIDER_SECRET}

    done = [segs_cloud(*said, reference, environment=environment) for _ in range(2)]
    unknown = segs_cloud(*said, "pay_nothing", environment=environment)
    forged = segs_cloud(*said, reference, environment=environment | {"SEGS_PAYMENT_SIMULATED_SECRETS": "x" * 40})
    nobody = segs_cloud(*said, reference, environment={"SEGS_DOMAIN_DSN": api.domain})

    assert [one.returncode for one in (*done, unknown, forged, nobody)] == [0, 0, 1, 1, 2], forged.stderr
    assert _bill(api, billed.owner, invoice_id)["status"] == "paid"
    assert "403" in forged.stderr


def test_a_payment_in_parts_and_one_that_fails(api: Api) -> None:
    billed = customer(api)
    invoice_id = billed.run()
    number = _bill(api, billed.owner, invoice_id)["number"]

    part = _pay(api, billed.owner, invoice_id, amount="100.00").json()["data"]
    tell(api, part, number, event=f"part{invoice_id}")
    failed = _pay(api, billed.owner, invoice_id).json()["data"]
    tell(api, failed, number, event=f"failed{invoice_id}", status="failed")

    found = _bill(api, billed.owner, invoice_id)
    left = Decimal(found["total_amount"]) - 100
    assert (found["status"], found["open_amount"]) == ("final", f"{left:.2f}")
    assert [one["status"] for one in found["payments"]] == ["succeeded", "failed"]
    for amount in (f"{left + 1:.2f}", "0", "0.001"):
        assert _pay(api, billed.owner, invoice_id, amount=amount).status_code == 422
    assert _pay(api, billed.owner, invoice_id, provider="manual").status_code == 422


def test_a_payment_that_is_taken_back_is_shown_so_and_the_bill_is_open_again(api: Api) -> None:
    billed = customer(api)
    invoice_id = billed.run()
    bill = _bill(api, billed.owner, invoice_id)
    payment = _pay(api, billed.owner, invoice_id).json()["data"]
    at = datetime.now(UTC)
    for status in ("succeeded", "reversed", "reversed", "succeeded"):
        told = tell(api, payment, bill["number"], event=f"{status}{invoice_id}", status=status, at=at)
        assert told.status_code == 200, told.text

    found = _bill(api, billed.owner, invoice_id)
    assert (found["status"], found["paid_amount"], found["open_amount"]) == ("final", "0.00", bill["total_amount"])
    assert [one["status"] for one in found["payments"]] == ["reversed"]
    assert _pay(api, billed.owner, invoice_id).status_code == 201


@pytest.mark.parametrize("same", [True, False])
def test_two_webhooks_of_one_payment_at_the_same_instant_make_one_transaction(api: Api, same: bool) -> None:
    """D1: no lock, paid twice. The same event twice, and two events of one payment."""
    billed = customer(api)
    invoice_id = billed.run()
    bill = _bill(api, billed.owner, invoice_id)
    payment = _pay(api, billed.owner, invoice_id).json()["data"]
    together, at = Barrier(8), datetime.now(UTC)

    def told(n: int) -> int:
        together.wait()
        event = f"{invoice_id}-{0 if same else n}"
        status: int = tell(api, payment, bill["number"], event=event, at=at).status_code
        return status

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(told, range(8))) == [200] * 8
    found = _bill(api, billed.owner, invoice_id)
    assert (found["status"], found["paid_amount"]) == ("paid", bill["total_amount"])
    assert len(found["payments"]) == 1
    cash = "SELECT count(*) FROM ledger_postings WHERE invoice_id = %s AND kind = 'payment'"
    assert api.do(cash, invoice_id) == [(1,)]


def test_what_the_provider_did_not_sign_or_not_now_is_refused(api: Api) -> None:
    """D1: a copy of a message, an altered one, and one without a secret."""
    billed = customer(api)
    invoice_id = billed.run()
    number = _bill(api, billed.owner, invoice_id)["number"]
    payment = _pay(api, billed.owner, invoice_id).json()["data"]
    old = tell(api, payment, number, event="old", at=datetime.now(UTC) - timedelta(minutes=6))
    altered = tell(api, payment, number, event="altered", body=b'{"amount": "1.00"}')
    forged = tell(api, payment, number, event="forged", signature="t=1775217600,v1=" + "0" * 64)
    unsigned = tell(api, payment, number, event="unsigned", signature="")

    for answer in (old, altered, forged, unsigned):
        assert (answer.status_code, answer.json()["type"]) == (403, "urn:segs:problem:signature-refused")
    assert _bill(api, billed.owner, invoice_id)["status"] == "final"
    assert api.ask("POST", "/billing/webhooks/nobody", {}).status_code == 404
    other = tell(api, payment, number, event="other", amount="1.00")
    assert (other.status_code, other.json()["type"]) == (409, "urn:segs:problem:conflict")


def test_a_request_that_is_sent_again_pays_once(api: Api, operator: Person) -> None:
    """D1: whatever is done with a bill is done once, however often the answer was lost."""
    billed = customer(api)
    invoice_id = billed.run(finalise="manual")
    total = Decimal(_bill(api, operator, invoice_id)["total_amount"])
    money = {"amount": f"{total + 5:.2f}", "method": "cash", "reference": f"again {invoice_id}"}
    asked: dict[str, tuple[Person, dict[str, Any] | None]] = {
        "finalise": (operator, None),
        "payments": (billed.owner, {"provider": "simulated"}),
        "payments/manual": (operator, money),
        "refunds": (operator, money | {"amount": "2.00", "reference": f"back {invoice_id}"}),
        "disputes": (billed.owner, {"reason": "Too much"}),
        "disputes/resolve": (operator, {"outcome": "rejected", "resolution": "It is right"}),
        "credit-notes": (operator, {"amount": "1.00", "reason": "Late"}),
        "payments/manual/reversals": (operator, {"reference": money["reference"]}),
    }
    for of in KEYED:
        who, body = asked[of]
        path, headers = f"/billing/invoices/{invoice_id}/{of}", {"idempotency-key": f"key-{of}-{invoice_id}"}
        answers = [api.ask("POST", path, body, token=who.token, headers=headers) for _ in range(2)]
        assert [one.is_success for one in answers] == [True, True], (of, answers[0].text)
        assert answers[0].json() == answers[1].json()
    found = _bill(api, billed.owner, invoice_id)
    assert [len(found[part]) for part in ("payments", "disputes", "credit_notes")] == [3, 1, 1]
    # Of 5 to their credit, and 1 of the credit note, 2 went back: those are owed with the bill.
    credit = "SELECT amount FROM credit_balances WHERE user_id = %s"
    assert api.do(credit, billed.owner.user_id) == [(0,)]
    assert Decimal(found["open_amount"]) == total - 1 + 2


def test_money_that_an_operator_has_seen_counts_once_and_what_is_too_much_goes_back(api: Api, operator: Person) -> None:
    billed = customer(api)
    invoice_id = billed.run()
    total = Decimal(_bill(api, billed.owner, invoice_id)["total_amount"])
    seen = {"amount": f"{total + 10:.2f}", "method": "bank", "reference": f"line {invoice_id}"}
    path = f"/billing/invoices/{invoice_id}"

    answers = [api.post(f"{path}/payments/manual", seen, token=operator.token) for _ in range(2)]
    assert [one.status_code for one in answers] == [201, 201]
    assert answers[0].json()["data"]["payment_id"] == answers[1].json()["data"]["payment_id"]
    assert _bill(api, billed.owner, invoice_id)["status"] == "paid"
    refund = {"amount": "10.01", "method": "bank", "reference": f"back {invoice_id}"}
    assert api.post(f"{path}/refunds", refund, token=operator.token).status_code == 422
    back = api.post(f"{path}/refunds", refund | {"amount": "10.00"}, token=operator.token)
    assert (back.status_code, back.json()["data"]["kind"]) == (201, "refund")
    refused = api.post(f"{path}/payments/manual", seen | {"amount": "1.00"}, token=operator.token)
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:segs:problem:conflict")


def test_money_that_never_came_is_taken_back_by_who_recorded_it_or_another(api: Api, operator: Person) -> None:
    billed = customer(api)
    invoice_id = billed.run()
    bill = _bill(api, billed.owner, invoice_id)
    path = f"/billing/invoices/{invoice_id}/payments"
    seen = {"amount": bill["total_amount"], "method": "bank", "reference": f"cheque {invoice_id}"}
    assert api.post(f"{path}/manual", seen, token=operator.token).status_code == 201

    reversal = {"reference": seen["reference"]}
    answers = [api.post(f"{path}/manual/reversals", reversal, token=operator.token) for _ in range(2)]
    unknown = api.post(f"{path}/manual/reversals", {"reference": "line 1"}, token=operator.token)
    customers = api.post(f"{path}/manual/reversals", reversal, token=billed.owner.token)

    assert [(one.status_code, one.json()["data"]["status"]) for one in answers] == 2 * [(201, "reversed")]
    assert (unknown.status_code, customers.status_code) == (404, 403)
    found = _bill(api, billed.owner, invoice_id)
    assert (found["status"], found["open_amount"]) == (bill["status"], bill["total_amount"])


@pytest.mark.parametrize("role", ["OPERATOR", "ADMIN"])
def test_nobody_settles_a_bill_of_their_own_whatever_their_role(api: Api, role: str) -> None:
    """D1: they pay as everybody does, and ask another operator for the rest."""
    staff = api.person(role, *(["north"] if role == "OPERATOR" else []))
    billed = customer(api, owner=staff)
    invoice_id = billed.run()
    draft = customer(api, owner=staff).run(finalise="manual")
    path, money = (
        f"/billing/invoices/{invoice_id}",
        {"amount": "1.00", "method": "cash", "reference": f"own {invoice_id}"},
    )
    other = api.person("ADMIN")
    theirs = money | {"reference": f"theirs {invoice_id}"}
    assert api.post(f"{path}/payments/manual", theirs, token=other.token).status_code == 201
    dispute = api.post(f"{path}/disputes", {"reason": "Too much"}, token=staff.token)

    answers = {
        where: api.post(f"{path}{where}", body, token=staff.token)
        for where, body in {
            "/payments/manual": money,
            "/payments/manual/reversals": {"reference": theirs["reference"]},
            "/refunds": money,
            "/credit-notes": {"reason": "x"},
            "/disputes/resolve": {"outcome": "upheld", "resolution": "x"},
        }.items()
    }
    answers["/finalise"] = api.post(f"/billing/invoices/{draft}/finalise", None, token=staff.token)

    assert dispute.status_code == 201
    assert {where: (one.status_code, one.json()["type"]) for where, one in answers.items()} == dict.fromkeys(
        answers, (403, "urn:segs:problem:forbidden")
    )
    assert _bill(api, staff, invoice_id)["status"] == "disputed"
    assert _pay(api, staff, invoice_id).status_code == 201


def test_a_bill_is_overdue_disputed_and_taken_back(api: Api, operator: Person) -> None:
    """D8: overdue is never set; a dispute cannot be resolved; a cancelled invoice can be disputed."""
    billed = customer(api)
    invoice_id = billed.run()
    path = f"/billing/invoices/{invoice_id}"

    def status() -> str:
        return str(_bill(api, billed.owner, invoice_id)["status"])

    api.do("SELECT bills_overdue(1000, now() + INTERVAL '40 days')")
    assert status() == "overdue"
    listed = api.get("/billing/invoices", token=operator.token, status="overdue", meter=billed.meter).json()["data"]
    assert [one["invoice_id"] for one in listed] == [invoice_id]
    assert api.post(f"{path}/disputes", {"reason": "Too much"}, token=billed.owner.token).status_code == 201
    assert status() == "disputed"
    assert api.post(f"{path}/disputes", {"reason": "Still"}, token=billed.owner.token).status_code == 409
    part = {"outcome": "upheld", "amount": "10.00", "resolution": "Ten too much"}
    resolved = api.post(f"{path}/disputes/resolve", part, token=operator.token).json()["data"]
    assert (resolved["status"], resolved["credited_amount"]) == ("final", "10.00")
    [dispute], [note] = resolved["disputes"], resolved["credit_notes"]
    assert (dispute["outcome"], dispute["credit_note"], note["total_amount"]) == ("upheld", note["number"], "-10.00")
    rest = api.post(f"{path}/credit-notes", {"reason": "Misread"}, token=operator.token).json()["data"]
    assert (rest["kind"], rest["credits"], rest["reason"]) == ("credit_note", resolved["number"], "Misread")
    assert rest["number"].startswith("CRN-")
    assert status() == "cancelled"
    for where, body, who in (
        ("/disputes", {"reason": "x"}, billed.owner),
        ("/credit-notes", {"reason": "x"}, operator),
        ("/payments", {"provider": "simulated"}, billed.owner),
    ):
        assert api.post(f"{path}{where}", body, token=who.token).status_code == 409
    seen = {one["number"] for one in api.get("/billing/invoices", token=billed.owner.token).json()["data"]}
    assert seen == {resolved["number"], note["number"], rest["number"]}


def test_a_draft_is_for_operators_until_it_is_final(api: Api, operator: Person) -> None:
    """D3: a number is given when a bill becomes final."""
    billed = customer(api)
    invoice_id = billed.run(finalise="manual")
    path = f"/billing/invoices/{invoice_id}"

    assert api.get(path, token=billed.owner.token).status_code == 404
    assert api.get("/billing/invoices", token=billed.owner.token).json()["data"] == []
    for where, body in (("/payments", {"provider": "simulated"}), ("/disputes", {"reason": "x"})):
        assert api.post(f"{path}{where}", body, token=billed.owner.token).status_code == 404
    draft = _bill(api, operator, invoice_id)
    assert (draft["status"], draft["number"]) == ("draft", None)
    assert api.get(f"{path}/pdf", token=operator.token).content.startswith(b"%PDF-")
    final = api.post(f"{path}/finalise", None, token=operator.token).json()["data"]
    assert (final["status"], final["number"][:4]) == ("final", "INV-")
    assert _bill(api, billed.owner, invoice_id)["number"] == final["number"]
    assert api.post(f"{path}/finalise", None, token=operator.token).status_code == 409


def test_what_could_not_be_billed_is_told_to_who_can_mend_it(api: Api, operator: Person) -> None:
    """D4: what is missing is told, and not billed as nothing."""
    billed, far = customer(api), customer(api, region="south")
    month = f"{billed.month:%Y-%m}"
    for one in (billed, far):
        statement = "DELETE FROM aggregates_15m WHERE meter_id = %s AND bucket = %s"
        api.do(statement, int(one.meter.removeprefix("MTR-")), midnight(one.month), telemetry=True)
    done = api.segs_cloud("billing", "run", "--month", month, "--meter", billed.meter, "--meter", far.meter)
    assert done.returncode == 1

    def blocked(who: Person) -> dict[str, Any]:
        answer = api.get(f"/billing/runs/{month}/meters", token=who.token, state="blocked", limit=200)
        return {one["meter"]: one["findings"] for one in answer.json()["data"]}

    found = blocked(operator)
    assert [finding["reason"] for finding in found[billed.meter]] == ["missing"]
    assert found[billed.meter][0]["from"].startswith(str(billed.month))
    assert far.meter not in found
    assert {billed.meter, far.meter} <= set(blocked(api.person("ADMIN")))
    summary = api.get(f"/billing/runs/{month}", token=operator.token).json()["data"]
    assert summary["blocked"] == len(found)
    assert {"reason": "missing", "meters": len(found)} in summary["reasons"]


def test_a_bill_that_is_behind_its_intervals_is_told_to_operators_of_a_meter_that_is_billed(
    api: Api, operator: Person
) -> None:
    billed = customer(api)
    billed.run()
    api.do(
        "UPDATE billing_work SET findings = jsonb_build_array(jsonb_build_object('reason', 'late', 'from', now(),"
        " 'to', now(), 'text', 'x')) WHERE meter_id = meter_number(%s)",
        billed.meter,
    )
    path = f"/billing/runs/{billed.month:%Y-%m}"

    assert {"reason": "late", "meters": 1} in api.get(path, token=operator.token).json()["data"]["reasons"]
    [found] = api.get(f"{path}/meters", token=operator.token, reason="late").json()["data"]
    assert (found["meter"], found["state"], found["findings"][0]["text"]) == (billed.meter, "done", "x")


def test_operators_look_at_bills_with_a_word_in_the_log(api: Api, operator: Person) -> None:
    """D13."""
    billed = customer(api)
    invoice_id = billed.run()
    for path in (f"/billing/invoices/{invoice_id}", f"/billing/meters/{billed.meter}/current"):
        name = f"look-{path.rpartition('/')[2]}-{invoice_id}"
        api.ask("GET", path, token=operator.token, headers={"x-request-id": name})
        logged = api.do(
            "SELECT DISTINCT actor, subjects FROM audit_logs WHERE request_id = %s AND action = 'READ'", name
        )
        assert logged == [(f"user:{operator.user_id}", [billed.owner.user_id])]


def test_the_bills_of_who_left_stay_and_nobody_else_sees_them(api: Api, operator: Person) -> None:
    """D7: deleting a user deletes the invoices."""
    billed, admin = customer(api), api.person("ADMIN")
    invoice_id = billed.run()
    next_one = api.person()
    api.do("SELECT meter_give(%s, %s, now(), now())", billed.meter, next_one.user_id)
    assert api.delete(f"/users/{billed.owner.user_id}", token=admin.token).status_code == 200

    assert api.get(f"/billing/invoices/{invoice_id}", token=next_one.token).status_code == 404
    kept = _bill(api, operator, invoice_id)
    assert (kept["user_id"], kept["recipient_name"]) == (billed.owner.user_id, "Somebody")


def test_the_next_bill_is_what_was_taken_and_may_become_what_the_month_is_like(api: Api) -> None:
    billed = customer(api)
    now = datetime.now(UTC)
    until = now - timedelta(minutes=now.minute % 15, seconds=now.second, microseconds=now.microsecond)
    if until.day == 1 and until.hour < 1:
        pytest.skip("nothing of this month is there yet")
    # Of last month all is there already, of this one all until now.
    first = max(midnight(billed.end), midnight(until.date().replace(day=1)))
    billed.use(first, until)
    found = api.get(f"/billing/meters/{billed.meter}/current", token=billed.owner.token).json()["data"]

    end = (first + timedelta(days=32)).replace(day=1)
    taken, all_of_it = Decimal((until - first) // timedelta(minutes=15)) / 4, Decimal((end - first).days * 24)
    assert (found["first_day"], found["end_day"], found["reason"]) == (str(first.date()), str(end.date()), None)
    assert found["energy_import_wh"] == taken * 1000
    for name, kwh in (("so_far", taken), ("projection", all_of_it)):
        net = (kwh * Decimal("0.30")).quantize(Decimal("0.01"))
        assert Decimal(found[name]["lines"][0]["quantity"]) == kwh
        assert abs(Decimal(found[name]["net_amount"]) - net) <= Decimal("0.01")
        parts = sum(Decimal(line["amount"]) for line in found[name]["lines"])
        assert parts == Decimal(found[name]["total_amount"])
    kept = "SELECT count(*) FROM invoices JOIN meters USING (meter_id) WHERE meter_code = %s"
    assert api.do(kept, billed.meter) == [(0,)]


def test_a_meter_that_will_not_be_billed_says_why(api: Api) -> None:
    person = api.person()
    found = api.get(f"/billing/meters/{person.meter()}/current", token=person.token).json()["data"]
    assert (found["reason"], found["so_far"], found["projection"]) == ("no_tariff", None, None)


def test_last_year_by_another_tariff_is_what_its_bills_would_have_been(api: Api) -> None:
    """D2: each interval by its own price, and no average of tariffs."""
    billed = customer(api)
    bill = _bill(api, billed.owner, billed.run())
    night = tariff(
        api,
        energyratestructure=[[{"rate": "0.10"}], [{"rate": "0.20"}]],
        energyweekdayschedule=[[0] * 12 + [1] * 12] * 12,
        energyweekendschedule=[[0] * 12 + [1] * 12] * 12,
    )
    elsewhere = tariff(api, region="south", energyratestructure=[[{"rate": "0.01"}]])
    abroad = tariff(api, timezone="Europe/Berlin", energyratestructure=[[{"rate": "0.01"}]])
    path, month = f"/billing/meters/{billed.meter}", f"{billed.month:%Y-%m}"

    other = api.get(f"{path}/what-if", token=billed.owner.token, tariff=night).json()["data"]
    [tried] = other["tariffs"]
    assert (tried["tariff"], tried["total_amount"], tried["yours"]) == (night, f"{billed.kwh * 0.15:.2f}", False)
    assert [(one["month"], one["peak_kw"]) for one in tried["months"]] == [(month, "1")]
    assert [one["month"] for one in other["months"] if one["missing_count"] == 0] == [month]
    every = api.get(f"{path}/tariffs", token=billed.owner.token).json()["data"]["tariffs"]
    found = {one["tariff"]: one for one in every}
    [mine] = [one for one in every if one["yours"]]
    assert mine["total_amount"] == bill["total_amount"]
    assert found[night]["total_amount"] == tried["total_amount"]
    assert elsewhere not in found
    assert (found[abroad]["reason"], found[abroad]["total_amount"]) == ("tariff_zone", None)
    rated = [Decimal(one["total_amount"]) for one in every if one["total_amount"] is not None]
    assert rated == sorted(rated)
    assert api.get(f"{path}/what-if", token=billed.owner.token, tariff="nothing").status_code == 404


POWER_FACTOR = [{"above": "0.95", "percent_per_0_01": "-0.5"}, {"below": "0.90", "percent_per_0_01": "1"}]


def _reactive(api: Api, billed: Billed, varh: int | None, *, since: datetime, until: datetime | None = None) -> None:
    """Of 250 Wh each, 120 varh are a power factor of 0.90, neither dearer nor cheaper."""
    api.do(
        "UPDATE aggregates_15m SET reactive_energy_import_varh = %s"
        " WHERE meter_id = %s AND bucket >= %s AND bucket < %s",
        *(varh, int(billed.meter.removeprefix("MTR-")), since, until or "infinity"),
        telemetry=True,
    )


def test_what_the_next_bill_may_be_takes_no_unknown_power_factor_for_the_best_one(api: Api) -> None:
    """Without reactive energy, 250 Wh would be a power factor of 1, and 2.5 % cheaper."""
    billed = customer(api)
    now = datetime.now(UTC)
    until = now - timedelta(minutes=now.minute % 15, seconds=now.second, microseconds=now.microsecond)
    if until.day == 1 and until.hour < 1:
        pytest.skip("nothing of this month is there yet")
    first = max(midnight(billed.end), midnight(until.date().replace(day=1)))
    code = tariff(api, energyratestructure=[[{"rate": "0.30"}]], power_factor=POWER_FACTOR)
    api.do("UPDATE meter_tariffs SET code = %s WHERE meter_id = meter_number(%s)", code, billed.meter)
    billed.use(first, until)
    _reactive(api, billed, 120, since=first)
    gap = first + timedelta(minutes=15)
    _reactive(api, billed, None, since=gap, until=gap + timedelta(minutes=15))

    path = f"/billing/meters/{billed.meter}/current"
    found = api.get(path, token=billed.owner.token).json()["data"]
    assert (found["reason"], found["so_far"], found["projection"]) == ("no_reactive", None, None)
    assert found["energy_import_wh"] == (until - first) // timedelta(minutes=15) * 250
    where = {name: datetime.fromisoformat(found["unreactive"][name]) for name in ("from", "to")}
    assert where == {"from": gap, "to": gap + timedelta(minutes=15)}
    assert found["unreactive"]["quarters_count"] == 1

    _reactive(api, billed, 120, since=gap, until=gap + timedelta(minutes=15))
    found = api.get(path, token=billed.owner.token).json()["data"]
    assert (found["reason"], found["unreactive"]) == (None, None)
    assert [line["component"] for line in found["projection"]["lines"]] == ["energy"]


def test_last_year_by_a_tariff_with_power_factors_is_unknown_where_reactive_energy_is(api: Api) -> None:
    """And such a tariff is not the cheapest for that."""
    billed = customer(api)
    before = (billed.month - timedelta(days=1)).replace(day=1)
    billed.use(midnight(before), midnight(billed.month))
    with_factors = tariff(api, energyratestructure=[[{"rate": "0.01"}]], power_factor=POWER_FACTOR)
    _reactive(api, billed, 120, since=midnight(before), until=midnight(billed.month))
    _reactive(api, billed, 120, since=midnight(billed.month) + timedelta(minutes=30))

    path = f"/billing/meters/{billed.meter}"
    found = api.get(f"{path}/tariffs", token=billed.owner.token).json()["data"]
    assert {one["month"]: one["unreactive_count"] for one in found["months"] if one["missing_count"] == 0} == {
        f"{before:%Y-%m}": 0,
        f"{billed.month:%Y-%m}": 2,
    }
    [tried] = [one for one in found["tariffs"] if one["tariff"] == with_factors]
    assert (tried["reason"], tried["total_amount"]) == ("no_reactive", None)
    assert [one["month"] for one in tried["months"]] == [f"{before:%Y-%m}"]
    place = [one["tariff"] for one in found["tariffs"] if one["total_amount"] or one is tried].index(with_factors)
    assert place == sum(one["total_amount"] is not None for one in found["tariffs"])

    _reactive(api, billed, 120, since=midnight(billed.month))
    [tried] = api.get(f"{path}/what-if", token=billed.owner.token, tariff=with_factors).json()["data"]["tariffs"]
    kwh = billed.kwh + (billed.month - before).days * 24
    assert (tried["reason"], tried["total_amount"]) == (None, f"{kwh * 0.01:.2f}")


def test_a_new_tenant_is_told_nothing_of_what_the_one_before_took(api: Api) -> None:
    """D12: neither by what the next bill is, nor by what the last year would have cost."""
    billed, tenant = customer(api), api.person()
    day = (datetime.now(UTC) - timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    billed.use(max(midnight(billed.end), midnight(day.date().replace(day=1))), day)
    api.do("SELECT meter_give(%s, %s, %s, now())", billed.meter, tenant.user_id, day)

    cheap = tariff(api, energyratestructure=[[{"rate": "0.10"}]])
    found = api.get(f"/billing/meters/{billed.meter}/what-if", token=tenant.token, tariff=cheap).json()["data"]
    assert {one["energy_import_wh"] for one in found["months"]} == {0}
    assert found["tariffs"][0]["total_amount"] is None
    current = api.get(f"/billing/meters/{billed.meter}/current", token=tenant.token).json()["data"]
    first = max(day.date(), datetime.now(UTC).date().replace(day=1))
    assert (current["first_day"], current["energy_import_wh"]) == (str(first), 0)
