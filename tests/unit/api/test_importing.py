"""Tables that people send: what is wrong with each cell is told, and soon."""

import time

from cloud.api.registry.importing import MOST_ROWS, read_table
from cloud.api.registry.meters import NewMeter

_HEADING = ",".join(NewMeter.model_fields)


def test_a_table_that_is_wrong_in_every_cell_is_read_while_others_are_answered() -> None:
    """Meanwhile the process does nothing else: to describe the model for each fault would take most of a minute."""
    row = ",".join("x" if "_" in name else "\x01" for name in NewMeter.model_fields)
    body = "\n".join([_HEADING, *[row] * MOST_ROWS]).encode()
    began = time.perf_counter()
    table = read_table(body, NewMeter, alone=("model", "serial"), region=None)

    assert time.perf_counter() - began < 5
    assert not table.rows
    assert len(table.faults) > 5 * MOST_ROWS


def test_a_fault_says_what_the_column_is_for() -> None:
    table = read_table(b"region,max_power_w\nnorth,-5\n", NewMeter, alone=("model",), region=None)
    [fault] = table.faults
    assert (fault.line, fault.column, fault.found) == (2, "max_power_w", "-5")
    assert fault.message == "Input should be greater than 0; Highest power that is carried, W"
