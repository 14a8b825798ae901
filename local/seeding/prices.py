"""Tariffs of the seeded regions, and which meters are billed by which. Their prices are made up."""

from collections.abc import Iterator
from typing import Any

from local.seeding.curve import Kind
from local.seeding.plan import REGIONS, Region

_DAYTIME = [[0] * 6 + [1] * 16 + [0] * 2] * 12
_VAT = {"currency": "EUR", "taxes": [{"name": "vat", "percent": 19, "on": "all"}]}
_BASIC = {"fixedchargefirstmeter": "9.90", "fixedchargeunits": "EUR/month"}
# What a tariff's code ends with, and what is in its document.
_OFFERS: dict[str, dict[str, Any]] = {
    "home": {
        "energyratestructure": [[{"rate": "0.24", "sell": "0.08"}], [{"rate": "0.34", "sell": "0.08"}]],
        "energyweekdayschedule": _DAYTIME,
        "energyweekendschedule": [[0] * 24] * 12,
        "metering": {"rule": "net_billing"},
        **_BASIC,
    },
    "flat": {
        "energyratestructure": [[{"rate": "0.31", "sell": "0.08"}]],
        "metering": {"rule": "net_billing"},
        **_BASIC,
    },
    "shop": {
        "energyratestructure": [[{"max": 1000, "rate": "0.27"}, {"rate": "0.23"}]],
        "flatdemandstructure": [[{"rate": "6.50"}]],
        "flatdemandmonths": [0] * 12,
        "fixedchargefirstmeter": "19.90",
        "fixedchargeunits": "EUR/month",
    },
}
_OF_KIND = {Kind.HOUSEHOLD: "home", Kind.SOLAR: "home", Kind.SHOP: "shop"}
"""`flat` is for who asks what another one would cost."""


def code_of(region: Region, kind: Kind) -> str:
    """By which tariff a meter is billed."""
    return f"{region.region}-{_OF_KIND[kind]}"


def tariffs() -> Iterator[tuple[str, Region, dict[str, Any]]]:
    """Code, region and document of each."""
    for region in REGIONS:
        for offer, document in _OFFERS.items():
            yield (
                f"{region.region}-{offer}",
                region,
                {"name": f"{region.name}, {offer}", "timezone": region.timezone, **_VAT, **document},
            )
