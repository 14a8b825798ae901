"""A tariff document is read whole: what is wrong is told with its key, what was found, and what to do."""

import json
from decimal import Decimal
from typing import Any

import pytest

from cloud.errors import InputError
from cloud.tariffs.load import parse, validate
from cloud.tariffs.normal import settled
from cloud.tariffs.problem import TariffError

FLAT: dict[str, Any] = {"currency": "EUR", "timezone": "Europe/Berlin", "energyratestructure": [[{"rate": "0.30"}]]}
TWO = [[{"rate": 1}], [{"rate": 2}]]
DAY = [0] * 24


def _problems(changed: dict[str, Any]) -> list[str]:
    with pytest.raises(TariffError) as raised:
        parse(json.dumps({key: value for key, value in (FLAT | changed).items() if value != "absent"}), where="x.json")
    assert all(line.startswith("x.json: ") for line in str(raised.value).splitlines())
    return [str(problem) for problem in raised.value.problems]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"mincharg": 5}, "mincharg: there is no such key; did you mean mincharge?"),
        ({"currency": "EURO"}, "currency: 'EURO'; give an ISO 4217 code such as EUR"),
        ({"currency": "absent"}, "currency: is missing; give it"),
        ({"timezone": "Berlin"}, "timezone: 'Berlin'; give the name of an IANA zone: Europe/Berlin, or UTC"),
        ({"interval_s": 7000}, "interval_s: 7000; a day has to be whole intervals: give a divisor of 86400"),
        ({"interval_s": "900"}, "interval_s: '900'; give a whole number"),
        ({"energyratestructure": "absent"}, "energyratestructure: is missing; give it, price_series or regional_price"),
        ({"price_series": True, "regional_price": True}, "regional_price: price_series brings prices too"),
        ({"energyratestructure": []}, "energyratestructure: has 0 elements; give at least 1"),
        ({"energyratestructure": [[{}]]}, "energyratestructure[0][0].rate: is missing; give it"),
        (
            {"energyratestructure": [[{"rate": "a"}]]},
            "energyratestructure[0][0].rate: 'a'; give a decimal number, 0.25 or \"0.25\"",
        ),
        ({"energyratestructure": [[{"rate": True}]]}, "energyratestructure[0][0].rate: True; give a decimal number"),
        ({"energyratestructure": [[{"rate": "0.123456789"}]]}, "give at most 8 decimal places"),
        (
            {"energyratestructure": [[{"max": 100, "rate": 1}]]},
            "energyratestructure[0][0].max: 100 leaves what is above without a price; leave max out of the last tier",
        ),
        (
            {"energyratestructure": [[{"rate": 1}, {"rate": 2}]]},
            "energyratestructure[0][0].max: is missing; only the last tier has no end",
        ),
        (
            {"energyratestructure": [[{"max": 9, "rate": 1}, {"max": 9, "rate": 2}, {"rate": 3}]]},
            "energyratestructure[0][1].max: 9 is not above 9 of the tier before; give ends that rise",
        ),
        ({"energyratestructure": [[{"max": 0, "rate": 1}, {"rate": 2}]]}, "[0][0].max: 0; give a number above 0"),
        (
            {"energyratestructure": [[{"max": 9, "rate": 1, "unit": "kWh daily"}, {"rate": 2}]]},
            "energyratestructure[0]: its tiers have several units; give all the same",
        ),
        (
            {"energyratestructure": [[{"rate": 1, "unit": "MWh"}]]},
            "energyratestructure[0][0].unit: 'MWh'; input should",
        ),
        (
            {"energyratestructure": TWO},
            "energyweekdayschedule: is missing; energyratestructure has 2 periods: say when each is",
        ),
        (
            {
                "energyratestructure": TWO,
                "energyweekdayschedule": [DAY] * 12,
                "energyweekendschedule": [[*DAY[1:], 2]] * 12,
            },
            "energyweekendschedule[0][23]: 2 is no period of energyratestructure; give 0 to 1",
        ),
        ({"energyweekdayschedule": [DAY] * 11}, "energyweekdayschedule: has 11 elements; give at least 12"),
        ({"energyweekdayschedule": [DAY[1:]] * 12}, "energyweekdayschedule[0]: has 23 elements; give at least 24"),
        ({"holidays": ["2026-02-30"]}, "holidays[0]: '2026-02-30'; give a day such as 2026-12-25"),
        ({"holidays": ["2026-05-01"] * 2}, "holidays[1]: 2026-05-01 is there twice; take one out"),
        ({"tier_allocation": "fifo"}, "tier_allocation: 'fifo'; input should be 'chronological' or 'prorata'"),
        ({"flatdemandmonths": [0] * 12}, "flatdemandmonths: there is no flatdemandstructure; give both or neither"),
        ({"flatdemandstructure": TWO}, "flatdemandmonths: is missing; flatdemandstructure has 2 periods"),
        ({"demandweekdayschedule": [DAY] * 12}, "demandweekdayschedule: there is no demandratestructure"),
        ({"lookbackpercent": "0.8"}, "lookbackrange: is missing; say how many months lookbackpercent looks back"),
        ({"lookbackrange": 11}, "lookbackrange: there is no lookbackpercent; give both or neither"),
        ({"fixedchargefirstmeter": 10}, "fixedchargeunits: is missing; say what fixedchargefirstmeter is per"),
        ({"mincharge": 10, "minchargeunits": "EUR/week"}, "minchargeunits: 'EUR/week'; string should match pattern"),
        ({"mincharge": -1, "minchargeunits": "/day"}, "mincharge: -1; input should be greater than or equal to 0"),
        (
            {"metering": {"rule": "net_billing", "credit_month": 3}},
            "metering.credit_month: net_billing has no year's end",
        ),
        ({"metering": {"rule": "net_metering"}, "price_series": True}, "price_series: what net_metering nets"),
        ({"metering": {"rule": "net_metering"}, "regional_price": True}, "regional_price: what net_metering nets"),
        ({"power_factor": [{"percent_per_0_01": 1}]}, "power_factor[0]: has neither below nor above; give one or both"),
        (
            {"power_factor": [{"below": "0.9", "percent_per_0_01": 1}, {"above": "0.8", "percent_per_0_01": 1}]},
            "power_factor[1]: overlaps power_factor[0]; give bands that touch at most",
        ),
        (
            {"taxes": [{"name": "vat", "percent": 19, "on": ["levy"]}, {"name": "levy", "percent": 1, "on": "all"}]},
            "taxes[0].on[0]: 'levy' is nothing that comes before it; give of: energy, demand, fixed, minimum, baseline",
        ),
        (
            {"taxes": [{"name": "energy", "percent": 1, "on": "all"}]},
            "taxes[0].name: 'energy' is something else's name",
        ),
    ],
)
def test_what_is_wrong_is_told_by_its_key(changed: dict[str, Any], told: str) -> None:
    """D2, D9: a price that is read as something else is a wrong bill."""
    assert any(told in problem for problem in _problems(changed)), _problems(changed)


def test_everything_that_is_wrong_is_told_at_once() -> None:
    assert len(_problems({"currency": "XYZ", "timezone": "Nowhere", "interval_s": 7})) == 3


@pytest.mark.parametrize("text", ["", "[", '{"currency": NaN}', '{"a": 1, "a": 2}', "\ufeff{}", "[" * 100_000])
def test_what_is_no_json_is_refused_with_the_files_name(text: str) -> None:
    with pytest.raises(InputError, match=r"^x.json: no JSON document: .*; correct it there$"):
        parse(text, where="x.json")


def test_numbers_are_decimals_from_the_first_digit_on() -> None:
    """D2: 0.1 is a tenth and no binary fraction; a number and a text are the same amount."""
    text = json.dumps(FLAT).replace('"0.30"', "0.10000001")
    [[tier]] = parse(text).energyratestructure or []
    assert tier.rate == Decimal("0.10000001")
    with pytest.raises(TariffError, match="give a decimal number"):
        validate(FLAT | {"energyratestructure": [[{"rate": 0.1}]]})


def test_an_end_that_programs_write_for_none_is_none() -> None:
    found = settled(parse(json.dumps(FLAT | {"energyratestructure": [[{"max": 1e38, "rate": 1}]]})))
    assert found["energyratestructure"] == [[{"unit": "kWh", "rate": "1", "adj": "0"}]]


@pytest.mark.parametrize("percent", ["0.8", 80])
def test_a_ratchet_is_a_share_or_a_percentage(percent: Any) -> None:
    assert (
        settled(parse(json.dumps(FLAT | {"lookbackpercent": percent, "lookbackrange": 3})))["lookbackpercent"] == "0.8"
    )


def test_what_is_left_unsaid_is_spelled_out() -> None:
    found = settled(parse(json.dumps(FLAT)))
    said = {
        key: found[key] for key in ("interval_s", "tier_allocation", "tier_basis", "proration", "rounding", "metering")
    }
    assert said == {
        "interval_s": 900,
        "tier_allocation": "chronological",
        "tier_basis": "graduated",
        "proration": "none",
        "rounding": "invoice",
        "metering": {"rule": "net_billing"},
    }
