"""The page of meters is what the profiles say."""

from contract.quantities import QUANTITIES
from edge.profiles import catalog
from edge.profiles.reference import page
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "meters.md").read_text("utf-8")


def test_the_page_of_meters_is_up_to_date() -> None:
    assert page() == PAGE, "docs/meters.md is stale; make docs writes it anew"


def test_every_profile_and_every_quantity_is_on_the_page() -> None:
    for kind in ("modbus", "mqtt"):
        assert [name for name in catalog.names(kind) if f"| `{name}` |" not in PAGE] == []
    # Phases are counted in one column.
    single = [quantity.name for quantity in QUANTITIES if not any(f"_l{phase}_" in quantity.name for phase in (2, 3))]
    assert [name for name in single if f"`{name}`" not in PAGE] == []
