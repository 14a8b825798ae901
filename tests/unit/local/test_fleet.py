"""The demo's fleet: what is asked of a line has to fit into its interval."""

import pytest

from edge.profiles import catalog
from local import fleet


@pytest.mark.parametrize("modbus", [1, 3, 16, 17])
def test_every_line_of_the_demo_is_through_with_its_meters_well_within_the_interval(modbus: int) -> None:
    """A meter that asks for silence between requests slows its neighbours down: polls were left out on any machine."""
    built = fleet.build(modbus=modbus, mqtt=0)

    for endpoint in built.modbus:
        profiles = [catalog.modbus(meter.model) for meter in endpoint]
        requests = sum(len(one.blocks()) for one in profiles)
        silence_s = max(one.silence_ms for one in profiles) / 1000
        assert requests * silence_s <= 0.6 * built.interval_s
