"""Who may feed in is not told of it: by what is said of the meter, or by a tariff that pays for it."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from cloud.tariffs.load import validate
from cloud.tariffs.normal import settled
from tests.integration.alerts.conftest import NOON, World

SINCE = datetime(2026, 1, 1, tzinfo=UTC)
PLAIN: dict[str, Any] = {"name": "T", "currency": "EUR", "timezone": "UTC", "energyratestructure": [[{"rate": "0.30"}]]}
SELLS = {"energyratestructure": [[{"rate": "0.30", "sell": "0.08"}]]}


@pytest.mark.parametrize(
    ("tariff", "rules"),
    [
        ({}, ["reverse_power"]),
        ({"metering": {"rule": "net_billing"}}, ["reverse_power"]),
        ({"energyratestructure": [[{"rate": "0.30", "sell": "0"}]]}, ["reverse_power"]),
        (SELLS, []),
        ({"metering": {"rule": "net_metering"}}, []),
        (SELLS | {"metering": {"rule": "buy_all_sell_all"}}, []),
    ],
)
async def test_a_tariff_that_does_not_pay_for_it_lets_nobody_feed_in(
    world: World, tariff: dict[str, Any], rules: list[str]
) -> None:
    """C10: a rule that can never fire. Every tariff has a rule of metering, also where its document says nothing."""
    [meter] = world.meters()
    document = json.dumps(settled(validate(PLAIN | tariff)))
    world.do("SELECT tariff_add('t', %s, 'north', %s, NULL, NULL, %s)", document, SINCE, NOON)
    world.do("SELECT meter_assign(meter_code, 't', %s, %s) FROM meters WHERE meter_id = %s", SINCE, NOON, meter)

    await world.live([meter], NOON, 10, power_w=-800.0)

    assert [rule for (rule,) in world.alerts("rule")] == rules


@pytest.mark.parametrize(("sell", "rules"), [("0.05", []), (None, ["reverse_power"])])
async def test_prices_of_intervals_may_pay_for_it(world: World, sell: str | None, rules: list[str]) -> None:
    [meter] = world.meters()
    document = json.dumps(settled(validate(PLAIN | {"price_series": True})))
    world.do("SELECT tariff_add('t', %s, 'north', %s, NULL, NULL, %s)", document, SINCE, NOON)
    world.do("SELECT meter_assign(meter_code, 't', %s, %s) FROM meters WHERE meter_id = %s", SINCE, NOON, meter)
    price = {"at": NOON.isoformat(), "buy_per_kwh": "0.20", "sell_per_kwh": sell}
    world.do("SELECT tariff_prices_add('t', %s, %s)", json.dumps([price]), NOON)

    await world.live([meter], NOON, 10, power_w=-800.0)

    assert [rule for (rule,) in world.alerts("rule")] == rules
