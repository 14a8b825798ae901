"""A year of a house with time of use and tiers, and one of half-hourly prices, as NREL's PySAM bills them."""

import csv
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

_SHARED = Path(__file__).parents[4] / "shared" / "data" / "tariffs"
_TIERED = _SHARED / "case1_res_tou_tier_hourly"
_DYNAMIC = _SHARED / "case4_dynamic_halfhourly"
_OURS = {
    *("currency", "timezone", "interval_s", "energyratestructure", "energyweekdayschedule", "energyweekendschedule"),
    *("fixedchargefirstmeter", "fixedchargeunits", "mincharge", "minchargeunits"),
}
pytestmark = pytest.mark.skipif(not _SHARED.is_dir(), reason="the folder of shared data is not there")


def _document(case: Path, tmp_path: Path, **more: Any) -> Path:
    found = json.loads((case / "tariff.json").read_text())
    path = tmp_path / "tariff.json"
    path.write_text(
        json.dumps({key: value for key, value in found.items() if key in _OURS} | {"name": case.name, **more})
    )
    return path


def _expected(case: Path) -> Any:
    return json.loads((case / "expected.json").read_text(), parse_float=Decimal)


@pytest.mark.parametrize("allocation", ["chronological", "prorata"])
def test_a_year_of_time_of_use_and_tiers_is_billed_as_by_the_peer(rate: Any, tmp_path: Path, allocation: str) -> None:
    expected = _expected(_TIERED)

    found = rate(_document(_TIERED, tmp_path, tier_allocation=allocation), _TIERED / "load_wh.csv")

    months, theirs = found["months"], expected[allocation]
    assert [month["month"] for month in months] == [f"2018-{n:02}" for n in range(1, 13)]
    assert [Decimal(month["import_kwh"]) for month in months] == expected["monthly_kwh"]
    assert [Decimal(month["bill"]) for month in months] == theirs["bill_2dp"]
    names = {"energy": "energy_charge", "fixed": "fixed", "minimum_topup": "minimum_topup", "bill_unrounded": "bill"}
    for ours, name in names.items():
        for month, their in zip(months, theirs[name], strict=True):
            assert abs(Decimal(month[ours]) - their) < Decimal("1e-9")
    assert abs(Decimal(found["annual_bill"]) - theirs["annual_bill"]) < Decimal("0.06")


def test_a_year_of_half_hourly_prices_pays_the_customer_when_they_are_negative(rate: Any, tmp_path: Path) -> None:
    expected = _expected(_DYNAMIC)

    found = rate(_document(_DYNAMIC, tmp_path, price_series=True), _DYNAMIC / "interval_price.csv")

    months = found["months"]
    assert [Decimal(month["import_kwh"]) for month in months] == expected["monthly_import_kwh"]
    assert [Decimal(month["export_kwh"]) for month in months] == expected["monthly_export_kwh"]
    assert [Decimal(month["bill"]) for month in months] == expected["bill_2dp"]
    for month, net, credit in zip(months, expected["energy_charge_net"], expected["net_billing_credit"], strict=True):
        assert abs(-Decimal(month["export_credit"]) - credit) < Decimal("1e-9")
        assert abs(Decimal(month["energy"]) + Decimal(month["export_credit"]) - net) < Decimal("1e-9")
    with (_DYNAMIC / "interval_price.csv").open() as file:
        assert sum(Decimal(row["buy_per_kwh"]) < 0 for row in csv.DictReader(file)) == expected["n_negative_buy"]
