"""What is found out about bills of months before: it reaches the customer, or the run says why it does not."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import LiteralString

import pytest

from cloud.billing.show import billed as lines
from tests.integration.billing.conftest import APRIL, MARCH, WH, World, midnight

MAY, JUNE = date(2026, 5, 1), date(2026, 6, 1)
AT_ONCE = 100
NET = {"energyratestructure": [[{"rate": "0.30"}]], "metering": {"rule": "net_metering", "credit_month": 12}}
RATCHET = {
    "flatdemandstructure": [[{"rate": "10"}]],
    "flatdemandmonths": [0] * 12,
    "lookbackpercent": "1",
    "lookbackrange": 12,
}


def _totals(world: World, meter: int) -> list[tuple[date, Decimal]]:
    """Of the bills that hold, by their first day."""
    found = world.rows(
        "SELECT period_start, total_amount FROM invoices WHERE meter_id = %s AND kind = 'invoice'"
        " AND status NOT IN ('draft', 'cancelled') ORDER BY 1",
        meter,
    )
    return [(bill["period_start"], bill["total_amount"]) for bill in found]


def test_what_a_meter_has_banked_goes_on_through_months_that_are_replaced_together(world: World) -> None:
    """Each hour of March feeds in 0.2 kWh more than it takes, and each of April takes 1 kWh. March has 528 hours of
    weekdays and 215 of weekends, which are periods of their own, and April 528 and 192."""
    world.do("UPDATE billing_settings SET late_data = 'replace'")
    world.tariff(
        "net",
        energyratestructure=[[{"rate": "0.30"}], [{"rate": "0.30"}]],
        energyweekdayschedule=[[0] * 24] * 12,
        energyweekendschedule=[[1] * 24] * 12,
        metering={"rule": "net_metering", "credit_month": 12},
    )
    meter = world.meter(tariff="net")
    world.use(meter, MARCH, APRIL, wh=250, export_wh=300)
    world.use(meter, APRIL, MAY, wh=250)
    world.use(meter, MAY, JUNE, wh=0)
    world.now = datetime(2026, 6, 5, tzinfo=UTC)
    for month in (MARCH, APRIL):
        world.run(month)
    # 105.6 and 43 kWh are banked; of April 422.4 and 149 are left.
    assert _totals(world, meter) == [(MARCH, Decimal(0)), (APRIL, Decimal("171.42"))]
    # 168 kWh more on a Wednesday of March, 24 on a Saturday of April.
    world.use(meter, date(2026, 3, 4), date(2026, 3, 5), wh=2000, export_wh=300)
    world.use(meter, date(2026, 4, 4), date(2026, 4, 5), wh=500)

    world.run(MAY)

    # March has used 62.4 kWh of weekdays up, and still banked the 43 of weekends: of April 528 and 173 are left.
    assert _totals(world, meter) == [(MARCH, Decimal("18.72")), (APRIL, Decimal("210.30")), (MAY, Decimal(0))]


def test_a_ratchet_sees_peaks_of_bills_that_are_replaced_with_it(world: World) -> None:
    """March has a peak of 4 kW, and April one of 1 kW: by the ratchet both cost 40 of demand."""
    world.do("UPDATE billing_settings SET late_data = 'replace'")
    world.tariff("demand", energyratestructure=[[{"rate": "0.30"}]], **RATCHET)
    meter = world.meter(tariff="demand")
    for month, end in ((MARCH, APRIL), (APRIL, MAY), (MAY, JUNE)):
        world.use(meter, month, end)
    world.now = datetime(2026, 6, 5, tzinfo=UTC)
    for month in (MARCH, APRIL):
        world.run(month)
    world.use(meter, date(2026, 3, 4), date(2026, 3, 5), wh=1000)
    world.use(meter, date(2026, 4, 4), date(2026, 4, 5), wh=260)

    world.run(MAY)

    # 743 + 72 kWh, 720 + 0.96 kWh, 744 kWh.
    assert _totals(world, meter) == [
        (MARCH, Decimal("244.50") + 40),
        (APRIL, Decimal("216.29") + 40),
        (MAY, Decimal("223.20") + 40),
    ]


def test_a_part_of_a_month_that_is_blocked_is_not_done_because_the_other_part_is_replaced(world: World) -> None:
    """D14: Ada has the meter until the 11th, and of Bob's part an hour is missing."""
    world.do("UPDATE billing_settings SET late_data = 'replace'")
    meter = world.meter()
    world.use(meter, MARCH, MAY)
    at = midnight(date(2026, 3, 11))
    world.do("SELECT meter_give(%s, 2, %s, %s)", f"MTR-{meter:08}", at, at)
    gap = midnight(date(2026, 3, 20))
    world.telemetry.execute("DELETE FROM aggregates_15m WHERE meter_id = %s AND bucket = %s", [meter, gap])
    world.now = datetime(2026, 5, 5, tzinfo=UTC)
    [billed] = world.run(MARCH)
    assert [finding.reason for finding in billed.findings] == ["missing"]
    world.use(meter, date(2026, 3, 4), date(2026, 3, 5), wh=500)
    world.run(APRIL)
    world.use(meter, date(2026, 3, 20), date(2026, 3, 21))

    [billed] = world.run(MARCH)

    assert billed.state == "done"
    # 240 + 24 h of a kilowatt; the 503 h from the 11th on.
    assert _totals(world, meter)[:2] == [(MARCH, Decimal("79.20")), (date(2026, 3, 11), Decimal("150.90"))]


@pytest.mark.parametrize("why", ["moved", "other currency"])
def test_who_gets_no_other_bill_that_could_have_a_correction_gets_another_one_for_it(world: World, why: str) -> None:
    """Ada's last bill is over some days of April, and final, when March turns out to be more; or all bills after April
    are in francs."""
    meter = world.meter()
    world.use(meter, MARCH, JUNE)
    world.now = datetime(2026, 6, 5, tzinfo=UTC)
    at = midnight(date(2026, 4, 11) if why == "moved" else MAY)
    if why == "moved":
        world.do("SELECT meter_give(%s, 2, %s, %s)", f"MTR-{meter:08}", at, at)
    else:
        world.tariff("swiss", currency="CHF", energyratestructure=[[{"rate": "0.30"}]])
        world.do("UPDATE meter_tariffs SET valid = tstzrange(lower(valid), %s) WHERE meter_id = %s", at, meter)
        world.do(
            "INSERT INTO meter_tariffs (meter_id, code, valid) VALUES (%s, 'swiss', tstzrange(%s, 'infinity'))",
            *(meter, at),
        )
    for month in (MARCH, APRIL):
        world.run(month)
    world.use(meter, date(2026, 3, 4), date(2026, 3, 5), wh=500)

    world.run(MAY)

    assert _totals(world, meter)[0] == (MARCH, Decimal("222.90") + Decimal("7.20"))
    assert world.one("SELECT count(*) FROM invoice_corrections WHERE on_invoice_id IS NULL AND net_amount <> 0") == 0


@pytest.mark.parametrize("why", ["unfinished", "refused"])
def test_a_bill_that_cannot_be_looked_at_again_is_told_and_tried_again(world: World, why: str) -> None:
    """D14: what waits is still to be computed; what is refused is the customer's who left without a name."""
    world.do("UPDATE billing_settings SET late_data = 'replace'")
    meter = world.meter(user=2)
    world.use(meter, MARCH, MAY)
    world.now = datetime(2026, 5, 5, tzinfo=UTC)
    world.run(MARCH)
    at = midnight(APRIL)
    world.do("SELECT meter_give(%s, 1, %s, %s)", f"MTR-{meter:08}", at, at)
    world.use(meter, date(2026, 3, 4), date(2026, 3, 5), wh=500)
    if why == "unfinished":
        world.telemetry.execute(
            "INSERT INTO dirty_meters (resolution_min, block, meters, first_time, last_time, due_at)"
            " VALUES (1, 0, ARRAY[%s], %s, %s, now())",
            [meter, midnight(MARCH), midnight(MARCH)],
        )
    else:
        with world.domain.transaction():
            world.do("SELECT set_config('segs.user_id', '2', true)")
            world.do("SELECT account_delete(2, %s)", world.now)

    [billed] = world.run(APRIL)

    assert [finding.reason for finding in billed.findings] == [why]
    assert "INV-0000000001" in str(billed.findings[0])
    assert [bill["total_amount"] for bill in billed.bills] == [Decimal(216)]
    world.telemetry.execute("DELETE FROM dirty_meters")
    world.do("INSERT INTO billing_addresses (user_id, name) VALUES (2, 'Bob')")
    [billed] = world.run(APRIL)
    assert (billed.state, [bill["total_amount"] for bill in billed.bills]) == ("done", [Decimal("230.10")])


def test_what_is_banked_waits_for_the_bill_before(world: World) -> None:
    """March is blocked when April is billed: April's bill would go on with nothing, and so would all after it."""
    world.tariff("net", **NET)
    meter = world.meter(tariff="net")
    world.use(meter, MARCH, APRIL, wh=0, export_wh=100)
    world.use(meter, APRIL, MAY)
    gap = midnight(date(2026, 3, 20))
    world.telemetry.execute("DELETE FROM aggregates_15m WHERE meter_id = %s AND bucket = %s", [meter, gap])
    world.now = datetime(2026, 5, 5, tzinfo=UTC)
    world.run(MARCH)
    [early] = world.run(APRIL)
    world.use(meter, date(2026, 3, 20), date(2026, 3, 21), wh=0, export_wh=100)

    for month in (MARCH, APRIL):
        world.run(month)

    assert [finding.reason for finding in early.findings] == ["refused"]
    # 743 h of 0.4 kW are banked, of 720 kWh: 422.8 are left.
    assert _totals(world, meter) == [(MARCH, Decimal(0)), (APRIL, Decimal("126.84"))]


def test_a_bill_is_not_looked_at_again_without_what_a_draft_before_it_has_banked(world: World) -> None:
    """Another bill of March is drafted: 24 kWh more are given on a day, each of which is one less of April's."""
    world.tariff("net", **NET)
    meter = world.meter(tariff="net")
    world.use(meter, MARCH, APRIL, wh=0, export_wh=100)
    world.use(meter, APRIL, JUNE)
    world.now = datetime(2026, 6, 5, tzinfo=UTC)
    for month in (MARCH, APRIL):
        world.run(month)
    world.do("UPDATE billing_settings SET finalise = 'manual'")
    world.use(meter, date(2026, 3, 20), date(2026, 3, 21), wh=0, export_wh=350)

    told = []
    for _ in range(2):
        [billed] = world.run(MAY)
        told.append([(finding.reason, finding.since) for finding in billed.findings])
        for bill in world.rows("SELECT invoice_id FROM invoices WHERE status = 'draft'"):
            world.do("SELECT bill_finalise(%s, %s)", bill["invoice_id"], world.now)

    assert told == [[("refused", midnight(APRIL))], []]
    assert _totals(world, meter)[1:] == [(APRIL, Decimal("126.84")), (MAY, Decimal("223.20"))]
    # June's bill will have it.
    found = world.rows("SELECT invoice_id, net_amount FROM invoice_corrections WHERE on_invoice_id IS NULL")
    assert found == [{"invoice_id": 2, "net_amount": Decimal("-7.20")}]


def test_energy_that_comes_too_late_for_a_run_is_told_with_what_to_do(world: World) -> None:
    """500 Wh of 4 March instead of 250, said when runs look back no farther than April."""
    meter = world.meter()
    world.do("UPDATE billing_settings SET recheck_months = 1")
    world.use(meter, MARCH, date(2026, 7, 1))
    world.now = datetime(2026, 7, 5, tzinfo=UTC)
    for month in (MARCH, APRIL):
        world.run(month)
    edited = midnight(date(2026, 3, 4))
    world.telemetry.execute(
        "SELECT interval_edit(%s, ARRAY[%s::timestamptz], '{500}', NULL, 'misread', 'ada', %s)",
        [meter, edited, world.now],
    )
    world.telemetry.execute("DELETE FROM dirty_intervals")

    [billed] = world.run(MAY)

    assert (billed.state, billed.findings, len(billed.bills)) == ("done", [], 1)
    [note] = billed.notes
    assert (note.reason, note.since, note.until) == ("late", midnight(MARCH), midnight(APRIL))
    assert "INV-0000000001 is over 743 and 0 kWh of import and export, its intervals have 743.25 and 0" in note.text
    assert list(lines(billed))[-1] == f"MTR-{meter:08}: {note}"
    assert "--recheck-months 3 has the next one do so" in note.text
    assert "segs-cloud billing credit" in note.text
    told = world.one("SELECT findings FROM billing_work WHERE month = %s", MAY)
    assert [(one["reason"], one["from"]) for one in told] == [("late", "2026-02-28T23:00:00Z")]
    assert _totals(world, meter)[0] == (MARCH, Decimal("222.90"))

    world.do("UPDATE billing_settings SET recheck_months = 3")
    [billed] = world.run(JUNE)
    assert (billed.findings, billed.notes) == ([], [])
    # 216.00, and 0.25 kWh x 0.30 that March lacks.
    assert [bill["total_amount"] for bill in billed.bills] == [Decimal("216.08")]


@pytest.mark.parametrize("whose", ["meter", "generator"])
def test_readings_of_a_month_that_no_run_looks_at_again_are_told(world: World, whose: str) -> None:
    """March is billed on 3 April, and readings of 31 March come on the 5th."""
    world.do("UPDATE billing_settings SET recheck_months = 0")
    world.tariff(
        "solar", metering={"rule": "buy_all_sell_all"}, energyratestructure=[[{"rate": "0.30", "sell": "0.10"}]]
    )
    meter, generator, other = world.meter(tariff="solar"), world.meter(user=None, tariff=None), world.meter()
    since = midnight(date(2026, 1, 1))
    world.do("SELECT meter_generator_set(%s, %s, %s, %s)", f"MTR-{meter:08}", f"MTR-{generator:08}", since, since)
    world.use(generator, MARCH, MAY, wh=0, export_wh=300)
    for one in (meter, other):
        world.use(one, MARCH, MAY)
    world.telemetry.execute("UPDATE aggregates_15m SET computed_at = bucket + INTERVAL '1 hour'")
    world.run(MARCH)
    late = {"meter": meter, "generator": generator}[whose]
    world.use(late, date(2026, 3, 31), APRIL, wh=500, export_wh=400)
    world.telemetry.execute(
        "UPDATE aggregates_15m SET computed_at = '2026-04-05Z' WHERE meter_id = %s AND bucket >= %s AND bucket < %s",
        [late, midnight(date(2026, 3, 31)), midnight(APRIL)],
    )
    world.now = datetime(2026, 5, 5, tzinfo=UTC)

    notes = {billed.meter: billed.notes for billed in world.run(APRIL)}

    assert [note.since for note in notes[f"MTR-{meter:08}"]] == [midnight(MARCH)]
    assert notes[f"MTR-{other:08}"] == []


def test_a_bill_that_is_disputed_by_now_is_not_corrected(world: World) -> None:
    bill = world.bill()
    world.do("SELECT bill_dispute(%s, 'Nobody was at home', %s)", bill["invoice_id"], world.now)

    refused = world.refusal(
        "SELECT 1", "SELECT * FROM bills_correct(ARRAY[%s]::bigint[], '[]', %s)", bill["invoice_id"], world.now
    )

    assert refused == "SG101"


@pytest.mark.parametrize("found", [APRIL, MAY])
def test_what_turns_out_to_be_banked_reaches_the_bills_after_it(world: World, found: date) -> None:
    """March costs nothing before and after: 148.6 kWh are banked, and then 24 more. April takes 720, May 744."""
    world.tariff("net", **NET)
    meter = world.meter(tariff="net")
    world.use(meter, MARCH, APRIL, export_wh=300)
    world.use(meter, APRIL, JUNE)
    world.now = datetime(2026, 6, 5, tzinfo=UTC)
    for month in (MARCH, APRIL, MAY):
        if month == found:
            world.use(meter, date(2026, 3, 4), date(2026, 3, 5), wh=0, export_wh=300)
        world.run(month)

    april, less = Decimal("171.42"), Decimal("7.20")
    expected = [april - less, Decimal("223.20")] if found == APRIL else [april, Decimal("223.20") - less]
    assert [total for _, total in _totals(world, meter)] == [0, *expected]
    assert world.one(
        "SELECT max(kwh) FROM invoice_banks JOIN invoices USING (invoice_id) WHERE status <> 'cancelled'"
    ) == (Decimal("172.6"))


@pytest.mark.parametrize("policy", ["adjust", "replace"])
def test_a_bill_that_is_credited_in_part_is_left_to_who_did_that(world: World, policy: str) -> None:
    """Or a customer is credited twice for one mistake, or loses what was given out of goodwill."""
    world.do("UPDATE billing_settings SET late_data = %s", policy)
    meter = world.meter()
    first = world.bill(meter)
    world.do("SELECT bill_credit(%s, 7.20, 'The meter was read wrongly', %s)", first["invoice_id"], world.now)
    world.use(meter, date(2026, 3, 4), date(2026, 3, 5), wh=0)
    world.use(meter, APRIL, MAY)
    world.now = datetime(2026, 5, 5, tzinfo=UTC)
    before = world.invoice(first["invoice_id"])

    found = [world.run(APRIL)[0], world.run(APRIL)[0]]

    assert [[finding.reason for finding in one.findings] for one in found] == [["credited"]] * 2
    assert world.invoice(first["invoice_id"]) == before
    assert world.one("SELECT count(*) FROM invoice_corrections") == 0
    assert [day for day, _ in _totals(world, meter)] == [MARCH, APRIL]


@pytest.mark.parametrize("less", [False, True])
def test_a_correction_on_a_later_bill_is_charged_once_when_the_bill_itself_is_replaced(
    world: World, less: bool
) -> None:
    """March was 24 kWh more, or less, which is on April's bill; Ada leaves, and March is another 24 kWh more. Another
    bill of hers there is not but the one in place of March's."""
    meter = world.meter()
    world.use(meter, MARCH, JUNE)
    world.now = datetime(2026, 6, 5, tzinfo=UTC)
    world.run(MARCH)
    world.use(meter, date(2026, 3, 4), date(2026, 3, 5), wh=0 if less else 500)
    world.run(APRIL)
    world.do("SELECT meter_give(%s, 2, %s, %s)", f"MTR-{meter:08}", midnight(MAY), midnight(MAY))
    world.use(meter, date(2026, 3, 5), date(2026, 3, 6), wh=500)

    world.run(MAY)

    adas = world.one("SELECT sum(total_amount) FROM invoices WHERE user_id = 1 AND status <> 'draft'")
    assert adas == (743 + 720 + (0 if less else 48)) * Decimal("0.30")
    assert world.one("SELECT count(*) FROM invoice_corrections WHERE on_invoice_id IS NULL AND net_amount <> 0") == 0


def test_a_bill_that_is_taken_back_and_billed_anew_takes_back_what_the_next_draft_has_of_it(world: World) -> None:
    world.do("UPDATE billing_settings SET finalise = 'manual'")
    meter = world.meter()
    world.use(meter, MARCH, MAY)
    world.now = datetime(2026, 5, 5, tzinfo=UTC)
    finalise: LiteralString = "SELECT bill_finalise(invoice_id, %s) FROM invoices WHERE status = 'draft'"
    [billed] = world.run(MARCH)
    world.do(finalise, world.now)
    world.use(meter, date(2026, 3, 4), date(2026, 3, 5), wh=500)
    world.run(APRIL)
    world.credit(billed.bills[0]["invoice_id"])

    world.run(MARCH)
    world.do(finalise, world.now)

    assert world.one("SELECT sum(total_amount) FROM invoices WHERE status <> 'draft'") == (743 + 24 + 720) * Decimal(
        "0.30"
    )


@pytest.mark.parametrize("found", [APRIL, MAY])
@pytest.mark.parametrize(("before", "after"), [(250, 1000), (1000, 250)])
def test_a_ratchet_sees_the_peak_that_a_correction_found(world: World, before: int, after: int, found: date) -> None:
    """A day of March turns out to be of 4 kW, or of 1 kW, before April is billed or after that; each kW costs 10."""
    world.tariff("demand", energyratestructure=[[{"rate": "0.30"}]], **RATCHET)
    meter = world.meter(tariff="demand")
    for month, end in ((MARCH, APRIL), (APRIL, MAY), (MAY, JUNE)):
        world.use(meter, month, end)
    world.use(meter, date(2026, 3, 4), date(2026, 3, 5), wh=before)
    world.now = datetime(2026, 6, 5, tzinfo=UTC)

    for month in (MARCH, APRIL, MAY):
        if month == found:
            world.use(meter, date(2026, 3, 4), date(2026, 3, 5), wh=after)
        world.run(month)

    # What the day takes, and 1 kW or 4 kW in each month.
    all_of_it = (743 + 720 + 744) * Decimal("0.30") + (Decimal("21.60") + 90 if after == 1000 else 0) + 30
    assert sum(total for _, total in _totals(world, meter)) == all_of_it
    assert len(_totals(world, meter)) == 3
    assert world.one("SELECT count(*) FROM invoice_corrections WHERE on_invoice_id IS NULL AND net_amount <> 0") == 0
    assert world.one("SELECT count(*) FROM invoices WHERE kind = 'credit_note'") == 0


def test_a_ratchet_waits_for_a_bill_that_is_a_draft(world: World) -> None:
    """Of March, which has a day of 4 kW, another bill is drafted; April and May cost those 4 kW all the same."""
    world.tariff("demand", energyratestructure=[[{"rate": "0.30"}]], **RATCHET)
    world.do("UPDATE billing_settings SET late_data = 'replace'")
    meter = world.meter(tariff="demand")
    world.use(meter, MARCH, JUNE)
    world.use(meter, date(2026, 3, 4), date(2026, 3, 5), wh=1000)
    world.now = datetime(2026, 6, 5, tzinfo=UTC)
    for month in (MARCH, APRIL):
        world.run(month)
    world.do("UPDATE billing_settings SET finalise = 'manual'")
    world.use(meter, date(2026, 3, 10), date(2026, 3, 11), wh=300)

    told = []
    for _ in range(2):
        [billed] = world.run(MAY)
        told.append([(finding.reason, finding.since) for finding in billed.findings])
        for bill in world.rows("SELECT invoice_id FROM invoices WHERE status = 'draft'"):
            world.do("SELECT bill_finalise(%s, %s)", bill["invoice_id"], world.now)

    assert told == [[("refused", midnight(APRIL)), ("refused", midnight(MAY))], []]
    assert _totals(world, meter) == [
        (MARCH, (743 + 72 + Decimal("4.8")) * Decimal("0.30") + 40),
        (APRIL, Decimal("216.00") + 40),
        (MAY, Decimal("223.20") + 40),
    ]


@pytest.mark.parametrize("why", ["could not be billed", "was billed anew"])
def test_a_ratchet_sees_the_peak_of_a_bill_that_came_later_than_its_own(world: World, why: str) -> None:
    """March, which has a day of 4 kW, has a gap when April is billed, or is taken back by hand after that."""
    world.tariff("demand", energyratestructure=[[{"rate": "0.30"}]], **RATCHET)
    meter = world.meter(tariff="demand")
    world.use(meter, MARCH, JUNE)
    world.now = datetime(2026, 6, 5, tzinfo=UTC)
    if why == "could not be billed":
        gap = midnight(date(2026, 3, 4))
        world.telemetry.execute("DELETE FROM aggregates_15m WHERE meter_id = %s AND bucket = %s", [meter, gap])
    for month in (MARCH, APRIL):
        world.run(month)
    world.use(meter, date(2026, 3, 4), date(2026, 3, 5), wh=1000)
    if why == "was billed anew":
        world.credit(world.one("SELECT min(invoice_id) FROM invoices"))

    for month in (MARCH, MAY):
        world.run(month)

    # What the day takes, and 4 kW in each month.
    all_of_it = (743 + 720 + 744 + 72) * Decimal("0.30") + 3 * 40
    assert sum(total for _, total in _totals(world, meter)) == all_of_it
    assert [finding for billed in world.run(JUNE) for finding in billed.findings if finding.reason != "not_over"] == []
    # What was looked at again is not looked at each time.
    assert world.one("SELECT count(*) FROM invoice_corrections") == 1


def test_a_ratchet_sees_a_peak_that_cost_nothing_by_the_tariff_of_its_month(world: World) -> None:
    """Of March a kWh moves to another quarter-hour: the amount stays, the peak does not."""
    meter = world.meter()
    world.use(meter, MARCH, MAY)
    world.now = datetime(2026, 5, 5, tzinfo=UTC)
    world.run(MARCH)
    world.tariff("demand", energyratestructure=[[{"rate": "0.30"}]], **RATCHET)
    at = midnight(APRIL)
    world.do("UPDATE meter_tariffs SET valid = tstzrange(lower(valid), %s) WHERE meter_id = %s", at, meter)
    world.do(
        "INSERT INTO meter_tariffs (meter_id, code, valid) VALUES (%s, 'demand', tstzrange(%s, 'infinity'))",
        *(meter, at),
    )
    world.use(meter, date(2026, 3, 4), date(2026, 3, 5), wh=[0, 500])

    world.run(APRIL)

    assert _totals(world, meter) == [(MARCH, Decimal("222.90")), (APRIL, Decimal("216.00") + 20)]


def _of_another(world: World, meter: int, what: str) -> None:
    """March is found to be Bob's, or in francs; and so is what comes after April."""
    if what == "customer":
        world.do("DELETE FROM meter_owners WHERE meter_id = %s", meter)
        for user, since, until in ((2, MARCH, APRIL), (1, APRIL, MAY), (2, MAY, JUNE)):
            world.do(
                "INSERT INTO meter_owners (meter_id, user_id, valid) VALUES (%s, %s, tstzrange(%s, %s))",
                *(meter, user, midnight(since), midnight(until)),
            )
        return
    world.tariff("swiss", currency="CHF", energyratestructure=[[{"rate": "0.30"}]])
    world.do("DELETE FROM meter_tariffs WHERE meter_id = %s", meter)
    for code, since, until in (("swiss", MARCH, APRIL), ("house", APRIL, MAY), ("swiss", MAY, JUNE)):
        world.do(
            "INSERT INTO meter_tariffs (meter_id, code, valid) VALUES (%s, %s, tstzrange(%s, %s))",
            *(meter, code, midnight(since), midnight(until)),
        )


@pytest.mark.parametrize("less", [False, True])
@pytest.mark.parametrize("what", ["customer", "currency"])
def test_what_a_customer_has_of_a_bill_that_is_another_ones_by_now_is_taken_back_from_them(
    world: World, what: str, less: bool
) -> None:
    """March is 24 kWh more, or less, which April's bill has, and is then billed anew to Bob, or in francs: nobody gets
    another bill but April's that could take it back."""
    meter = world.meter()
    world.use(meter, MARCH, JUNE)
    world.now = datetime(2026, 6, 5, tzinfo=UTC)
    [billed] = world.run(MARCH)
    world.use(meter, date(2026, 3, 4), date(2026, 3, 5), wh=0 if less else 500)
    world.run(APRIL)
    _of_another(world, meter, what)
    world.credit(billed.bills[0]["invoice_id"])
    world.run(MARCH)

    [billed] = world.run(MAY)

    assert (billed.state, billed.findings) == ("done", [])
    march = (743 + (-24 if less else 24)) * Decimal("0.30")
    assert _totals(world, meter) == [(MARCH, march), (APRIL, Decimal("216.00")), (MAY, Decimal("223.20"))]
    whose = "user_id = 1" if what == "customer" else "currency = 'EUR'"
    assert world.rows("SELECT sum(total_amount) FROM invoices WHERE " + whose) == [{"sum": Decimal("216.00")}]
    assert world.one("SELECT count(*) FROM invoice_corrections WHERE on_invoice_id IS NULL") == 0
    assert world.run(MAY) == []


def test_a_correction_that_waits_for_a_bill_of_who_turns_out_to_have_left_is_another_bill_for_the_month(
    world: World,
) -> None:
    """March is 24 kWh more when April is still blocked; April is then found to be Bob's."""
    meter = world.meter()
    world.use(meter, MARCH, MAY)
    gap = midnight(date(2026, 4, 20))
    world.telemetry.execute("DELETE FROM aggregates_15m WHERE meter_id = %s AND bucket = %s", [meter, gap])
    world.now = datetime(2026, 5, 5, tzinfo=UTC)
    world.run(MARCH)
    world.use(meter, date(2026, 3, 4), date(2026, 3, 5), wh=500)
    world.run(APRIL)
    assert world.one("SELECT count(*) FROM invoice_corrections WHERE on_invoice_id IS NULL") == 1
    world.do("SELECT meter_give(%s, 2, %s, %s)", f"MTR-{meter:08}", midnight(APRIL), midnight(APRIL))
    world.use(meter, date(2026, 4, 20), date(2026, 4, 21))

    world.run(APRIL)

    assert _totals(world, meter) == [(MARCH, (743 + 24) * Decimal("0.30")), (APRIL, Decimal("216.00"))]
    assert world.one("SELECT count(*) FROM invoice_corrections WHERE on_invoice_id IS NULL") == 0


def test_a_correction_that_no_bill_can_have_is_told_until_its_bill_can_be_made_anew(world: World) -> None:
    """D14: an hour of April is gone, whose bill would have to be made anew."""
    meter = world.meter()
    world.use(meter, MARCH, JUNE)
    world.now = datetime(2026, 6, 5, tzinfo=UTC)
    [billed] = world.run(MARCH)
    world.use(meter, date(2026, 3, 4), date(2026, 3, 5), wh=500)
    world.run(APRIL)
    _of_another(world, meter, "customer")
    world.credit(billed.bills[0]["invoice_id"])
    world.run(MARCH)
    gap = midnight(date(2026, 4, 20))
    world.telemetry.execute("DELETE FROM aggregates_15m WHERE meter_id = %s AND bucket = %s", [meter, gap])

    [blocked] = world.run(MAY)
    world.use(meter, date(2026, 4, 20), date(2026, 4, 21))
    [done] = world.run(MAY)

    assert (blocked.state, [finding.reason for finding in blocked.findings]) == ("blocked", ["stranded"])
    assert "-7.20 EUR of corrections of INV-0000000001" in str(blocked.findings[0])
    assert "credit INV-0000000002 in whole" in str(blocked.findings[0])
    assert (done.state, _totals(world, meter)[1]) == ("done", (APRIL, Decimal("216.00")))


def _partly_given_back(world: World, bill: int, amount: str) -> None:
    world.do("SELECT bill_dispute(%s, 'Nobody was at home', %s)", bill, world.now)
    world.do("SELECT bill_dispute_resolve(%s, 'upheld', %s, 'Goodwill', %s)", bill, amount, world.now)


@pytest.mark.parametrize("whole", ["by hand", "by another dispute"])
def test_what_a_dispute_gave_is_kept_by_the_bill_in_place_of_it(world: World, whole: str) -> None:
    """March costs 222.90 and tax, of which 20.00 are given back; then it turns out to be 24 kWh more, and then less."""
    world.tariff(
        "taxed", energyratestructure=[[{"rate": "0.30"}]], taxes=[{"name": "VAT", "percent": 19, "on": ["all"]}]
    )
    meter = world.meter(tariff="taxed")
    world.use(meter, MARCH, MAY)
    world.now = datetime(2026, 5, 5, tzinfo=UTC)
    [billed] = world.run(MARCH)
    bill = billed.bills[0]["invoice_id"]
    _partly_given_back(world, bill, "20.00")
    for day, wh, energy in ((4, 500, 767), (4, 0, 719)):
        world.use(meter, date(2026, 3, day), date(2026, 3, day + 1), wh=wh)
        if whole == "by hand":
            world.credit(bill)
        else:
            world.do("SELECT bill_dispute(%s, 'Wrong', %s)", bill, world.now)
            world.do("SELECT bill_dispute_resolve(%s, 'upheld', NULL, 'So it is', %s)", bill, world.now)

        [billed] = world.run(MARCH)

        bill = billed.bills[0]["invoice_id"]
        net = energy * Decimal("0.30")
        found = world.invoice(bill)
        assert found["total_amount"] == net + round(net * Decimal("0.19"), 2) - 20
        assert found["tax_amount"] == round(net * Decimal("0.19"), 2) - Decimal("3.19")
        kept = [line["amount"] for line in world.lines(bill) if line["description"] == "Kept of CRN-0000000001"]
        assert kept == [Decimal("-16.81")]
    assert world.one("SELECT sum(total_amount) FROM invoices WHERE status <> 'draft'") == found["total_amount"]

    # Late readings of the bill in place of it find what they are, and not what was given.
    world.do("UPDATE billing_settings SET late_data = 'replace'")
    world.use(meter, date(2026, 3, 4), date(2026, 3, 5))
    world.run(APRIL)
    assert _totals(world, meter)[0] == (MARCH, Decimal("222.90") + Decimal("42.35") - 20)


def test_what_a_dispute_gave_is_no_other_bills_and_nobody_elses(world: World) -> None:
    """Ada's March was taken back whole and is Bob's: of that she owes nothing, so that there is nothing to keep."""
    meter = world.meter()
    world.use(meter, MARCH, JUNE)
    world.now = datetime(2026, 6, 5, tzinfo=UTC)
    [billed] = world.run(MARCH)
    _partly_given_back(world, billed.bills[0]["invoice_id"], "20.00")
    _of_another(world, meter, "customer")
    world.credit(billed.bills[0]["invoice_id"])

    for month in (MARCH, APRIL, MAY):
        assert world.run(month)[0].findings == []

    assert _totals(world, meter) == [
        (MARCH, Decimal("222.90")),
        (APRIL, Decimal("216.00")),
        (MAY, Decimal("223.20")),
    ]
    assert world.one("SELECT sum(total_amount) FROM invoices WHERE user_id = 1") == Decimal("216.00")


def _taxed_and_disputed(world: World) -> tuple[int, int]:
    """A meter, and its bill of March: 265.25 with tax, of which a dispute gave 250.00 back."""
    world.tariff(
        "taxed", energyratestructure=[[{"rate": "0.30"}]], taxes=[{"name": "VAT", "percent": 19, "on": ["all"]}]
    )
    meter = world.meter(tariff="taxed")
    world.use(meter, MARCH, JUNE)
    world.now = datetime(2026, 6, 5, tzinfo=UTC)
    [billed] = world.run(MARCH)
    first = billed.bills[0]["invoice_id"]
    _partly_given_back(world, first, "250.00")
    return meter, first


@pytest.mark.parametrize("policy", ["adjust", "replace"])
def test_what_a_dispute_gave_is_no_more_than_what_is_billed_in_place_of_its_bill(world: World, policy: str) -> None:
    """March costs 265.25 with tax; 250.00 are given back. It turns out to be 106.10, then 53.05, then what it was."""
    world.do("UPDATE billing_settings SET late_data = %s", policy)
    meter, first = _taxed_and_disputed(world)
    world.use(meter, wh=100)
    world.credit(first)

    [billed] = world.run(MARCH)

    found = world.invoice(billed.bills[0]["invoice_id"])
    assert (found["net_amount"], found["tax_amount"], found["total_amount"], found["status"]) == (0, 0, 0, "paid")
    kept = [line["amount"] for line in world.lines(found["invoice_id"]) if "CRN-0000000001" in line["description"]]
    assert kept == [Decimal("-89.16"), Decimal("-16.94")]
    assert world.owed() == 0

    # The same of one that late readings put in place of that.
    for month, wh, total in ((APRIL, 50, 0), (MAY, WH, Decimal("15.25"))):
        world.use(meter, wh=wh)
        [billed] = world.run(month)
        assert billed.findings == []
        assert _totals(world, meter)[0] == (MARCH, total)
        assert world.owed() == 0
    march = "SELECT sum(total_amount) FROM invoices WHERE status <> 'draft' AND period_start = %s"
    assert world.one(march, MARCH) == Decimal("15.25")
    assert world.one("SELECT sum(total_amount) FROM invoices WHERE period_start > %s", MARCH) == Decimal(
        "216.00"
    ) + Decimal("41.04") + Decimal("223.20") + Decimal("42.41")


def test_what_was_paid_of_a_disputed_bill_is_owed_and_pays_what_comes_in_its_place_and_may_be_charged_back(
    world: World,
) -> None:
    """March costs 265.25 with tax: 250.00 are given back, 15.25 paid. It turns out to be 106.10, then what it was."""
    world.do("UPDATE billing_settings SET late_data = 'replace'")
    meter, first = _taxed_and_disputed(world)
    world.pay(first, "15.25", "card-1")
    world.use(meter, wh=100)
    world.credit(first)

    world.run(MARCH)
    assert _totals(world, meter)[0] == (MARCH, 0)
    assert world.owed() == Decimal("15.25")

    world.use(meter, wh=WH)
    world.run(APRIL)
    assert _totals(world, meter)[0] == (MARCH, Decimal("15.25"))
    of_march: LiteralString = (
        "SELECT status, paid_amount FROM invoices"
        " WHERE period_start = %s AND status <> 'cancelled' AND kind = 'invoice'"
    )
    assert [tuple(row.values()) for row in world.rows(of_march, MARCH)] == [("paid", Decimal("15.25"))]
    assert world.owed() == 0

    world.pay(first, "15.25", "card-1", "reversed")
    assert [tuple(row.values()) for row in world.rows(of_march, MARCH)] == [("final", 0)]
    assert world.owed() == 0
