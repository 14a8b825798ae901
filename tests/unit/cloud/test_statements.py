"""The receiver's statements spell every quantity out; the table of quantities says which there are."""

import re

import pytest

from cloud.db.queries import Queries
from contract.quantities import QUANTITIES

NAMES = [quantity.name for quantity in QUANTITIES]


@pytest.mark.parametrize(
    ("statement", "pattern"),
    [
        ("incoming_store", r"\b{}\b.*FROM incoming"),
        ("incoming_complete", r"SET.*\b{0} = COALESCE\(r\.{0}, i\.{0}\)"),
        ("incoming_complete", r"\(r\.{0} IS NULL AND i\.{0} IS NOT NULL\)"),
        ("incoming_conflicts", r"'{0}', CASE WHEN i\.{0} <> r\.{0} THEN i\.{0} END"),
        ("incoming_conflicts", r"(?:AND \(|OR )i\.{0} <> r\.{0}"),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_no_quantity_is_forgotten(statement: str, pattern: str, name: str) -> None:
    """C1: a field that the rest needs is stripped on the way."""
    assert re.search(pattern.format(name), Queries("ingest")[statement], re.DOTALL)
