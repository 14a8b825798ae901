"""Bills by prices that change with the load of a region, or from interval to interval: each quarter-hour at its own."""

import json
import random
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from tests.integration.billing.conftest import APRIL, MARCH, MARCH_KWH, QUARTER, World, midnight

MAY = date(2026, 5, 1)
HOUR = timedelta(hours=1)


def price(
    world: World, base: object, *, region: str = "north", at: datetime | None = None, currency: str = "EUR"
) -> None:
    """Base price of a region from then on; without a time since long ago."""
    world.do(
        "SELECT region_price_set(%s, %s, %s, NULL, NULL, NULL, NULL, %s)",
        *(region, currency, base, at or datetime(2026, 1, 1, tzinfo=UTC)),
    )


def load(world: World, percent: float, at: datetime, *, region: str = "north") -> None:
    """The quarter-hour that began 17 minutes before `at` had this load; its price is in force 13 minutes after."""
    bucket = at - timedelta(minutes=17)
    world.do("UPDATE region_price_state SET seen_until = %s WHERE region = %s", bucket, region)
    told = {"region": region, "bucket": bucket.isoformat(), "load_percent": percent, "coverage": 100}
    world.do("SELECT region_prices_decide(ARRAY[%s], %s, %s, %s)", region, json.dumps([told]), at, at)


def override(world: World, since: datetime, until: datetime, value: object, *, region: str = "north") -> int:
    found: int = world.one(
        "SELECT price_override_add(%s, NULL, %s, %s, %s, 'Storm', %s)", region, value, since, until, since - HOUR
    )
    return found


def lines(world: World, invoice_id: int, component: str = "energy") -> list[tuple[Any, ...]]:
    """Price, kWh, amount, tier, from, to."""
    return [
        (
            line["unit_price"],
            line["quantity"],
            line["amount"],
            line["tier"],
            line["span"].lower,
            line["span"].upper,
        )
        for line in world.lines(invoice_id)
        if line["component"] == component
    ]


def test_each_quarter_hour_has_the_price_that_was_in_force_in_it(world: World) -> None:
    """D9. A kilowatt all of March, 743 h from 28 February 23:00Z to 31 March 22:00Z, one of its days of 23 hours.

    0.40 until 10 March 12:30Z, 229.5 h: 91.80. Then 95 % of the capacity, 0.40 x 1.25 = 0.50, but for 6 h of an
    override at 1.00, 6.00: 743 - 229.5 - 6 = 507.5 h, 253.75. Together 351.55.
    """
    price(world, "0.40")
    load(world, 95, datetime(2026, 3, 10, 12, 17, tzinfo=UTC))
    storm = datetime(2026, 3, 20, tzinfo=UTC)
    override(world, storm, storm + 6 * HOUR, "1.00")
    world.tariff("load", regional_price=True)

    bill = world.bill(world.meter(tariff="load"))

    change = datetime(2026, 3, 10, 12, 30, tzinfo=UTC)
    assert sorted(lines(world, bill["invoice_id"]), key=lambda line: line[0]) == [
        (Decimal("0.40"), Decimal("229.5"), Decimal("91.80"), None, midnight(MARCH), change),
        (Decimal("0.50"), Decimal("507.5"), Decimal("253.75"), 4, change, midnight(APRIL)),
        (Decimal("1.00"), Decimal(6), Decimal("6.00"), None, storm, storm + 6 * HOUR),
    ]
    assert bill["net_amount"] == Decimal("351.55")
    assert {(line["unit"], line["quality"], line["estimated"]) for line in world.lines(bill["invoice_id"])} == {
        ("kWh", 17, False)
    }
    assert sum(line["intervals_version"] for line in world.lines(bill["invoice_id"])) == 2972


def test_what_a_tariff_has_besides_comes_on_top(world: World) -> None:
    """743 kWh at 0.40 and a rate of 0.10: 297.20 + 74.30; 743 kWh fed in at 0.06: 44.58; 19 % on energy: 70.585."""
    price(world, "0.40")
    world.tariff(
        "load",
        regional_price=True,
        energyratestructure=[[{"rate": "0.10", "sell": "0.06"}]],
        taxes=[{"name": "vat", "percent": 19, "on": ["energy"]}],
    )
    meter = world.meter(tariff="load")
    world.use(meter, export_wh=250)
    [billed] = world.run()

    found = {
        (line["component"], line["unit_price"]): line["amount"]
        for line in world.lines(billed.bills[0]["invoice_id"])
        if line["component"] != "rounding"
    }
    assert found == {
        ("energy", Decimal("0.40")): Decimal("297.20"),
        ("energy", Decimal("0.10")): Decimal("74.30"),
        ("export", Decimal("-0.06")): Decimal("-44.58"),
        ("tax", Decimal("3.715")): Decimal("70.59"),
    }
    # 371.50 - 44.58 + 70.585 = 397.505.
    assert billed.bills[0]["total_amount"] == Decimal("397.51")


def test_a_meter_that_moves_is_billed_by_the_region_that_it_was_in(world: World) -> None:
    """From 16 March 10:07 in Berlin on in the south: 28 February 23:00Z to 16 March 09:15Z are 370.25 h at 0.40,
    148.10; the other 372.75 h at 0.20, 74.55. What the north costs by then is nothing to the meter."""
    world.do("INSERT INTO regions (region, name, timezone) VALUES ('south', 'South', 'Europe/Berlin')")
    price(world, "0.40")
    price(world, "0.20", region="south")
    world.tariff("load", regional_price=True)
    meter = world.meter(tariff="load")
    at = datetime(2026, 3, 16, 9, 7, tzinfo=UTC)
    world.do("SELECT meter_move(%s, 'south', NULL, %s, %s)", f"MTR-{meter:08}", at, at)
    price(world, "9", at=at + HOUR)

    bill = world.bill(meter)

    assert [line[:3] for line in lines(world, bill["invoice_id"])] == [
        (Decimal("0.40"), Decimal("370.25"), Decimal("148.10")),
        (Decimal("0.20"), Decimal("372.75"), Decimal("74.55")),
    ]


@pytest.mark.parametrize("currency", ["EUR", "USD"])
def test_a_time_without_a_price_is_named_and_not_billed(world: World, currency: str) -> None:
    """Neither as nothing, nor in another currency."""
    at = datetime(2026, 3, 5, 12, tzinfo=UTC)
    price(world, "0.40", at=at, currency=currency)
    world.tariff("load", regional_price=True)
    world.use(world.meter(tariff="load"))

    [billed] = world.run()

    until = at if currency == "EUR" else midnight(APRIL)
    assert [(one.reason, one.since, one.until) for one in billed.findings] == [("no_prices", midnight(MARCH), until)]
    assert world.rows("SELECT * FROM invoices") == []


def test_segments_end_where_a_price_does_and_nowhere_else(world: World) -> None:
    price(world, "0.40")
    at = datetime(2026, 3, 10, 12, 17, tzinfo=UTC)
    for n in range(8):
        load(world, 95 if n < 4 else 60, at + n * HOUR)
    world.tariff("load", regional_price=True)
    meter = world.meter(tariff="load")

    plan = world.rows(
        "SELECT starts_at, price_tier FROM billing_plan(ARRAY[%s], ARRAY[%s], ARRAY[%s]) ORDER BY 1",
        *(meter, MARCH, APRIL),
    )

    assert [(one["starts_at"], one["price_tier"]) for one in plan] == [
        (midnight(MARCH), None),
        (datetime(2026, 3, 10, 12, 30, tzinfo=UTC), 4),
        (datetime(2026, 3, 10, 16, 30, tzinfo=UTC), 2),
    ]


def test_a_price_that_changes_while_a_month_is_billed_leaves_its_past_alone(world: World) -> None:
    """The next price begins after now, and a bill is of what is over."""
    price(world, "0.40")
    world.tariff("load", regional_price=True)
    meter = world.meter(tariff="load")
    bill = world.bill(meter)
    price(world, "5.00", at=world.now)
    world.credit(bill["invoice_id"])
    [again] = world.run()

    assert again.bills[0]["total_amount"] == bill["total_amount"] == Decimal("297.20")


def test_readings_that_come_late_are_corrected_by_the_price_of_their_time(world: World) -> None:
    """24 kWh more on 4 March, at 0.40, while April costs 0.80: 9.60 on April's bill."""
    price(world, "0.40")
    world.tariff("load", regional_price=True)
    meter = world.meter(tariff="load")
    world.bill(meter)
    price(world, "0.80", at=midnight(APRIL))
    world.use(meter, date(2026, 3, 4), date(2026, 3, 5), wh=500)
    world.use(meter, APRIL, MAY)
    world.now = datetime(2026, 5, 5, tzinfo=UTC)

    [billed] = world.run(APRIL)

    assert [line["amount"] for line in world.lines(billed.bills[0]["invoice_id"])] == [Decimal(576), Decimal("9.60")]


def test_lines_by_price_are_the_sum_of_their_quarter_hours(world: World) -> None:
    """Whatever the load did: each line is what its quarter-hours cost one by one."""
    drawn = random.Random(7)
    price(world, "0.3317")
    at = midnight(MARCH) + timedelta(hours=3, minutes=17)
    while at < midnight(APRIL):
        load(world, drawn.uniform(0, 110), at)
        if drawn.random() < 0.2:
            override(
                world,
                at + timedelta(hours=1, minutes=13),
                at + timedelta(hours=2, minutes=13),
                drawn.choice(["1.7", "-0.2"]),
            )
        at += drawn.randrange(12, 60) * QUARTER
    world.tariff("load", regional_price=True)
    meter = world.meter(tariff="load")
    used = [drawn.randrange(0, 900) for _ in range(2972)]

    bill = world.bill(meter, wh=used)

    taken: Counter[Decimal] = Counter()
    spans = world.rows(
        "SELECT starts_at, nullif(ends_at, 'infinity') AS ends_at, price FROM region_price_spans('north', %s, %s)",
        *(midnight(MARCH), midnight(APRIL)),
    )
    for n, wh in enumerate(used):
        begin = midnight(MARCH) + n * QUARTER
        [one] = [s for s in spans if s["starts_at"] <= begin and (s["ends_at"] is None or begin < s["ends_at"])]
        taken[one["price"]] += wh
    found: Counter[Decimal] = Counter()
    for unit_price, kwh, *_ in lines(world, bill["invoice_id"]):
        found[unit_price] += kwh * 1000
    assert len(found) > 5
    assert found == taken
    exact = sum(unit_price * wh for unit_price, wh in taken.items()) / 1000
    assert bill["net_amount"] == round(exact, 2)


def _series(
    world: World, code: str, since: datetime, until: datetime, *prices: tuple[str, str | None], step: timedelta
) -> None:
    """Prices of intervals, over and over."""
    told = [
        {"at": (since + n * step).isoformat(), "buy_per_kwh": buy, "sell_per_kwh": sell}
        for n, (buy, sell) in ((n, prices[n % len(prices)]) for n in range((until - since) // step))
    ]
    world.do("SELECT tariff_prices_add(%s, %s, %s)", code, json.dumps(told), world.now)


def test_a_series_prices_each_of_its_intervals(world: World) -> None:
    """Hours at 0.50, -0.10 and 0.20 by turns: 743 h are 247 times all three and two more, 0.50 and -0.10.

    248 x 0.50 - 248 x 0.10 + 247 x 0.20 = 124.00 - 24.80 + 49.40 = 148.60 for 743 kWh, on the average 0.2. Export of
    a tenth of it pays 0.05 in the first two and nothing in the third: 49.6 kWh, 2.48."""
    world.tariff("spot", interval_s=3600, price_series=True, metering={"rule": "net_billing"})
    _series(
        world, "spot", midnight(MARCH), midnight(APRIL), ("0.50", "0.05"), ("-0.10", "0.05"), ("0.20", "0"), step=HOUR
    )
    meter = world.meter(tariff="spot")
    world.use(meter, export_wh=25)

    [billed] = world.run()

    found = {line["component"]: line for line in world.lines(billed.bills[0]["invoice_id"])}
    assert (found["energy"]["quantity"], found["energy"]["unit_price"]) == (MARCH_KWH, Decimal("0.2"))
    assert (found["energy"]["amount"], found["export"]["amount"]) == (Decimal("148.60"), Decimal("-2.48"))
    assert (found["energy"]["span"].lower, found["energy"]["span"].upper) == (midnight(MARCH), midnight(APRIL))
    assert billed.bills[0]["total_amount"] == Decimal("146.12")


def test_a_series_that_lacks_prices_is_billed_once_they_are_there(world: World) -> None:
    world.tariff("spot", price_series=True)
    gap = datetime(2026, 3, 10, 10, tzinfo=UTC)
    _series(world, "spot", midnight(MARCH), gap, ("0.50", None), step=QUARTER)
    _series(world, "spot", gap + HOUR, midnight(APRIL), ("0.50", None), step=QUARTER)
    world.use(world.meter(tariff="spot"))

    [billed] = world.run()
    assert [(one.reason, one.since, one.until) for one in billed.findings] == [("no_prices", gap, gap + HOUR)]

    _series(world, "spot", gap, gap + HOUR, ("0.70", None), step=QUARTER)
    [billed] = world.run()
    # 742 x 0.50 + 0.70.
    assert billed.bills[0]["total_amount"] == Decimal("371.70")


def test_a_series_of_equal_prices_is_one_segment(world: World) -> None:
    world.tariff("spot", price_series=True)
    _series(world, "spot", midnight(MARCH), midnight(APRIL), ("0.50", None), step=QUARTER)

    meter = world.meter(tariff="spot")
    assert world.one("SELECT count(*) FROM billing_plan(ARRAY[%s], ARRAY[%s], ARRAY[%s])", meter, MARCH, APRIL) == 1


def test_a_price_of_a_series_is_put_in_once_and_never_changes(world: World) -> None:
    world.tariff("spot", price_series=True)
    at = midnight(MARCH)
    _series(world, "spot", at, at + HOUR, ("0.50", None), step=QUARTER)
    _series(world, "spot", at, at + 2 * HOUR, ("0.50", None), step=QUARTER)
    assert world.one("SELECT count(*) FROM tariff_prices") == 8

    for sqlstate, code, since, value in (
        ("SG098", "spot", at, "0.60"),
        ("SG094", "spot", at + timedelta(minutes=5), "0.50"),
        ("SG094", "spot", datetime(2020, 1, 1, tzinfo=UTC), "0.50"),
        ("SG090", "house", at, "0.50"),
        ("SG090", "nothing", at, "0.50"),
    ):
        with pytest.raises(psycopg.Error) as refused:
            _series(world, code, since, since + QUARTER, (value, None), step=QUARTER)
        assert refused.value.sqlstate == sqlstate
    for statement in (
        "UPDATE tariff_prices SET buy_per_kwh = 1",
        "DELETE FROM tariff_prices",
        "TRUNCATE tariff_prices",
    ):
        assert world.refusal("SET LOCAL session_replication_role = replica", statement) == "SG035"
