"""A bill as a document."""

import io
import time
from datetime import timedelta
from typing import Any

from pypdf import PdfReader

from cloud.billing.bill import whole
from cloud.billing.pdf import written_pdf
from tests.integration.billing.conftest import World


def text_of(pdf: bytes) -> str:
    """As another program reads it."""
    return "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages)


def _bill(world: World, language: str = "en") -> dict[str, Any]:
    world.do("UPDATE user_preferences SET language = %s", language)
    world.do(
        "INSERT INTO billing_addresses (user_id, name, address) VALUES (1, 'Łucja Ωμέγα', E'Am Tor 1\n10115 Berlin')"
    )
    world.tariff(
        "taxed",
        energyratestructure=[[{"max": 500, "rate": "0.30"}, {"rate": "0.35"}]],
        fixedchargefirstmeter="9.90",
        fixedchargeunits="EUR/month",
        taxes=[{"name": "MwSt.", "percent": 19, "on": ["all"]}],
    )
    bill = world.bill(world.meter(tariff="taxed"), wh=[100, 250, 500, 250])
    return whole(world.domain, bill["invoice_id"])


def test_the_same_bill_is_the_same_bytes_at_any_time(world: World) -> None:
    """D8: a PDF that never existed."""
    bill = _bill(world)
    first = written_pdf(bill)
    time.sleep(1.1)

    assert first.startswith(b"%PDF-")
    assert written_pdf(bill) == first


def test_payments_of_later_are_on_no_document_that_was_sent_already(world: World) -> None:
    before = _bill(world)
    invoice_id = before["invoice_id"]
    world.now += timedelta(days=3)
    world.pay(invoice_id, "10.00", "p1")

    assert written_pdf(whole(world.domain, invoice_id)) == written_pdf(before)


def test_it_says_what_the_bill_says_in_the_customers_language(world: World) -> None:
    """D5: days of the meter's zone."""
    said = text_of(written_pdf(_bill(world, "de-AT")))

    for text in (
        "Rechnung INV-0000000001",
        "Łucja Ωμέγα",
        "10115 Berlin",
        "1.03.2026 bis 31.03.2026 (Europe/Berlin)",
        "17.04.2026",
        "500 kWh",
        "MwSt.",
        "Grundpreis",
        "Energie je Tag",
        "Seite 1 von 1",
    ):
        assert text in said, text
    # 817.3 kWh: 500 x 0.30 + 317.3 x 0.35, 9.90 and 19 %.
    assert "322,44" in said


def test_it_is_english_where_no_other_is_known(world: World) -> None:
    said = text_of(written_pdf(_bill(world, "fr")))

    assert "Invoice INV-0000000001" in said
    assert "322.44" in said


def test_a_credit_note_names_the_bill_and_the_reason(world: World) -> None:
    bill = world.final(world.meter(), "100.00", "19.00")
    said = text_of(written_pdf(whole(world.domain, world.credit(bill, reason="Wrong meter"))))

    for text in ("Credit note CRN-0000000001", "INV-0000000001", "Wrong meter", "-119.00"):
        assert text in said, text


def test_what_is_kept_of_a_credit_note_is_said_in_the_customers_language(world: World) -> None:
    bill = _bill(world, "de-AT")["invoice_id"]
    world.do("SELECT bill_dispute(%s, 'Nobody was at home', %s)", bill, world.now)
    world.do("SELECT bill_dispute_resolve(%s, 'upheld', 20, 'Goodwill', %s)", bill, world.now)
    world.credit(bill)
    [billed] = world.run()

    said = text_of(written_pdf(whole(world.domain, billed.bills[0]["invoice_id"])))

    assert "Weiterhin aus CRN-0000000001" in said
    assert "Steuer, weiterhin aus CRN-0000000001" in said
