"""The monthly run: what is billed, what is not and why, and that it may end at any moment."""

from datetime import date
from decimal import Decimal

from tests.integration.billing.conftest import APRIL, MARCH, MARCH_KWH, NOW, World, midnight


def test_a_month_of_a_meter_becomes_a_final_invoice_and_a_paid_one(world: World) -> None:
    """D1, D3, D5, D8: by quarter-hours of the meter's own zone, with lines that say what they are from."""
    bill = world.bill()

    assert (bill["invoice_number"], bill["status"], bill["total_amount"]) == (
        "INV-0000000001",
        "final",
        Decimal("222.90"),
    )
    assert (bill["span"].lower, bill["span"].upper) == (midnight(MARCH), midnight(APRIL))
    assert (bill["recipient_name"], bill["due_date"]) == ("Ada", date(2026, 4, 17))
    [line] = world.lines(bill["invoice_id"])
    assert (line["component"], line["quantity"], line["unit_price"], line["amount"]) == (
        "energy",
        MARCH_KWH,
        Decimal("0.30"),
        Decimal("222.90"),
    )
    assert (line["intervals_version"], line["quality"], line["estimated"]) == (2972, 17, False)

    world.do(
        "SELECT payment_record(%s, 'simulated', 'p1', 222.90, 'EUR', 'succeeded', NULL, NULL, %s, %s)",
        *(bill["invoice_id"], NOW, NOW),
    )
    paid = world.invoice(bill["invoice_id"])
    assert (paid["status"], paid["open_amount"], paid["paid_amount"]) == ("paid", 0, Decimal("222.90"))
