"""Bills that buy all and sell all: the meter of the connection, and one of what is generated behind it."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from cloud.billing import block
from tests.integration.billing.conftest import APRIL, MARCH, QUARTER, World, midnight
from tests.integration.conftest import SegsCloud

MAY = date(2026, 5, 1)
GONE = datetime(2026, 3, 10, 10, tzinfo=UTC)


@pytest.fixture
def solar(world: World) -> tuple[World, int, int]:
    """A meter with such a tariff, and the meter of its generator, which is nobody's to bill."""
    world.tariff(
        "solar", metering={"rule": "buy_all_sell_all"}, energyratestructure=[[{"rate": "0.30", "sell": "0.10"}]]
    )
    meter, generator = world.meter(tariff="solar"), world.meter(user=None, tariff=None)
    generated(world, meter, generator, midnight(date(2026, 1, 1)))
    world.use(meter, MARCH, MAY, wh=250, export_wh=100)
    world.use(generator, MARCH, MAY, wh=0, export_wh=300)
    return world, meter, generator


def generated(world: World, meter: int, generator: int | None, since: datetime) -> None:
    by = None if generator is None else f"MTR-{generator:08}"
    world.do("SELECT meter_generator_set(%s, %s, %s, %s)", f"MTR-{meter:08}", by, since, world.now)


def lines(world: World, billed: Any) -> list[tuple[Any, ...]]:
    found = world.lines(billed.bills[0]["invoice_id"])
    return [(line["component"], line["quantity"], line["unit_price"], line["amount"]) for line in found]


def test_all_that_is_used_is_bought_and_all_that_is_generated_is_sold(solar: tuple[World, int, int]) -> None:
    """Of each of the 2972 quarter-hours of March 250 Wh come in, 100 go out and 300 are generated: 450 are used.

    1337.4 kWh x 0.30 = 401.22; 891.6 kWh x 0.10 = 89.16. The peak is of what is used: 1.8 kW."""
    world, meter, _ = solar

    [billed] = world.run(MARCH, f"MTR-{meter:08}")

    assert lines(world, billed) == [
        ("energy", Decimal("1337.4"), Decimal("0.30"), Decimal("401.22")),
        ("export", Decimal("891.6"), Decimal("-0.10"), Decimal("-89.16")),
    ]
    bill = world.invoice(billed.bills[0]["invoice_id"])
    assert (bill["peak_kw"], bill["energy_import_wh"], bill["energy_export_wh"]) == (Decimal("1.8"), 743000, 297200)
    # Both meters' intervals are behind it.
    assert bill["intervals_version"] == 2 * 2972


def test_by_the_price_of_a_region_all_that_is_used_costs_that(solar: tuple[World, int, int]) -> None:
    """1337.4 kWh x 0.50 = 668.70, and export as the tariff has it."""
    world, meter, _ = solar
    world.do("SELECT region_price_set('north', 'EUR', 0.50, NULL, NULL, NULL, NULL, '2026-01-01Z')")
    world.tariff(
        "both",
        regional_price=True,
        metering={"rule": "buy_all_sell_all"},
        energyratestructure=[[{"rate": "0", "sell": "0.10"}]],
    )
    world.do("UPDATE meter_tariffs SET code = 'both'")

    [billed] = world.run(MARCH, f"MTR-{meter:08}")

    energy = [line for line in lines(world, billed) if line[3] != 0]
    assert energy == [
        ("energy", Decimal("1337.4"), Decimal("0.50"), Decimal("668.70")),
        ("export", Decimal("891.6"), Decimal("-0.10"), Decimal("-89.16")),
    ]


def test_a_time_without_a_meter_of_what_is_generated_is_not_billed(solar: tuple[World, int, int]) -> None:
    world, meter, _ = solar
    generated(world, meter, None, midnight(date(2026, 3, 20)))

    [billed] = world.run(MARCH, f"MTR-{meter:08}")

    assert [(one.reason, one.since, one.until) for one in billed.findings] == [
        ("no_generation", midnight(date(2026, 3, 20)), midnight(APRIL))
    ]
    # What comes before is a bill of its own: 19 days of 24 h, 1824 quarter-hours.
    assert lines(world, billed)[0][:2] == ("energy", Decimal("820.8"))


@pytest.mark.parametrize("whose", ["missing", "contradicted"])
def test_what_is_generated_is_known_and_no_less_than_what_is_fed_in(solar: tuple[World, int, int], whose: str) -> None:
    """D4: nothing is billed as 0."""
    world, meter, generator = solar
    statement = "DELETE FROM aggregates_15m WHERE meter_id = %s AND bucket = %s"
    if whose == "contradicted":
        # 250 in, 1000 out, 300 generated.
        statement = "UPDATE aggregates_15m SET energy_export_wh = 1000 WHERE meter_id = %s AND bucket = %s"
        generator = meter
    world.telemetry.execute(statement, [generator, GONE])
    world.telemetry.execute("DELETE FROM dirty_intervals")

    [billed] = world.run(MARCH, f"MTR-{meter:08}")

    assert [(one.reason, one.since, one.until) for one in billed.findings] == [("generation", GONE, GONE + QUARTER)]
    assert world.rows("SELECT * FROM invoices") == []


def test_another_generator_between_the_plan_of_a_bill_and_its_draft_has_it_planned_again(
    solar: tuple[World, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the old generator 300 Wh of a quarter-hour would be sold, by the new one it is 500 Wh from March on."""
    world, meter, _ = solar
    other = world.meter(user=None, tariff=None)
    world.use(other, MARCH, APRIL, wh=0, export_wh=500)
    asked = block.energy

    def and_then_the_generator_changes(*arguments: Any, **named: Any) -> Any:
        found = asked(*arguments, **named)
        generated(world, meter, other, midnight(MARCH))
        return found

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(block, "energy", and_then_the_generator_changes)
        [billed] = world.run(MARCH, f"MTR-{meter:08}")

    [finding] = billed.findings
    assert finding.reason == "refused"
    assert "changed while it was billed" in finding.text
    assert world.rows("SELECT * FROM invoices") == []

    [billed] = world.run(MARCH, f"MTR-{meter:08}")
    # 650 Wh are used: 1931.8 kWh x 0.30; 1486 kWh x 0.10.
    assert [line[1] for line in lines(world, billed)] == [Decimal("1931.8"), Decimal("1486")]


def test_late_readings_of_what_is_generated_correct_a_bill_and_nothing_else_does(
    solar: tuple[World, int, int],
) -> None:
    """On 4 March 400 Wh of a quarter-hour instead of 300: 9.6 kWh more are used, 2.88, and sold, 0.96."""
    world, meter, generator = solar
    [first] = world.run(MARCH, f"MTR-{meter:08}")
    world.now = datetime(2026, 5, 5, tzinfo=UTC)
    world.run(APRIL, f"MTR-{meter:08}")
    assert world.rows("SELECT * FROM invoice_corrections") == []
    world.credit(2)
    world.use(generator, date(2026, 3, 4), date(2026, 3, 5), wh=0, export_wh=400)

    [billed] = world.run(APRIL, f"MTR-{meter:08}")

    assert lines(world, billed)[-1][3] == Decimal("1.92")
    assert world.invoice(first.bills[0]["invoice_id"])["total_amount"] == Decimal("312.06")


def test_the_command_says_which_meter_tells_and_refuses_what_cannot_be(world: World, segs_cloud: SegsCloud) -> None:
    for _ in range(3):
        world.meter()
    run = ("meter", "generation", "MTR-00000001")

    assert segs_cloud(*run).stderr == "MTR-00000001: nothing measures what is generated.\n"
    told = segs_cloud(*run, "MTR-00000002", "--from", "2026-05-01T00:00Z")
    assert told.stderr == "MTR-00000001: MTR-00000002 from 2026-05-01T00:00:00Z on.\n"
    ended = segs_cloud(*run, "--from", "2026-06-01T00:00Z")
    assert ended.stderr == "MTR-00000001: MTR-00000002 from 2026-05-01T00:00:00Z to 2026-06-01T00:00:00Z.\n"
    assert "behind itself" in segs_cloud(*run, "MTR-00000001").stderr
    taken = segs_cloud("meter", "generation", "MTR-00000003", "MTR-00000002", "--from", "2026-05-10T00:00Z")
    assert "behind another meter" in taken.stderr


def test_a_generator_is_of_one_meter_at_a_time_and_not_of_what_is_billed(solar: tuple[World, int, int]) -> None:
    world, meter, generator = solar
    other = world.meter()
    code = "SELECT meter_generator_set(%s, %s, %s, %s)"
    at = midnight(APRIL)

    def refused(*parameters: object) -> str | None:
        with pytest.raises(psycopg.Error) as raised:
            world.do(code, *parameters)
        return raised.value.sqlstate

    assert refused(f"MTR-{other:08}", f"MTR-{generator:08}", at, at) == "23P01"
    assert refused(f"MTR-{meter:08}", f"MTR-{meter:08}", at, at) == "23514"
    assert refused("MTR-00000099", None, at, at) == refused(f"MTR-{meter:08}", "MTR-00000099", at, at) == "SG022"
    assert refused(f"MTR-{meter:08}", None, midnight(date(2025, 1, 1)), at) == "SG092"
    world.run(MARCH, f"MTR-{meter:08}")
    assert refused(f"MTR-{meter:08}", None, at - timedelta(days=1), at) == "SG032"
    generated(world, meter, None, at)
    world.do(code, f"MTR-{other:08}", f"MTR-{generator:08}", at, at)
