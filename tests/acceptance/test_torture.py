"""The promise, on real servers: whatever fails, every reading that a meter told is stored exactly once."""

import sys

import pytest

from tests.torture.faults.table import KINDS
from tests.torture.run import torture
from tests.torture.stack import METERS_MODBUS, METERS_MQTT

_FAULTS, _GAP_S = 30, 1.9


@pytest.mark.xdist_group("whole-machine")
@pytest.mark.timeout(400)
def test_faults_of_every_kind_lose_nothing_and_double_nothing() -> None:
    """E13, E16 to E27, C3, C6: kills at any call, power cuts, full and broken disks, bad links, wrong clocks."""
    outcome = torture(faults=_FAULTS, seed=1, gap_s=_GAP_S, say=lambda text: print(text, file=sys.stderr))
    found = outcome.findings

    assert (found.lost, found.doubled, found.altered) == (0, 0, 0), found.examples
    assert outcome.undrained is None
    assert outcome.energy_error_wh == 0
    assert outcome.quarantined == {}, outcome.set_aside
    assert outcome.faults.keys() | outcome.missed.keys() == KINDS.keys() - outcome.skipped.keys()
    assert sum(outcome.faults.values()) > 0.8 * _FAULTS
    meters = METERS_MODBUS + METERS_MQTT
    # Most of the time the gateway was there to read them.
    assert found.stored > 0.4 * meters * outcome.seconds
    # A loss window and what is answered while it dies: two readings of a Modbus meter for each death.
    deaths = sum(
        count for kind, count in outcome.faults.items() if "edge" in kind or kind.startswith(("power", "clock"))
    )
    assert found.in_loss_window <= 2 * METERS_MODBUS * (deaths + 2)
    # One fault damages a backlog, and the gateway says what it cannot read of it any more.
    assert found.thinned <= 0.05 * found.readings
