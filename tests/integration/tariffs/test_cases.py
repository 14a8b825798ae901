"""Cases worked by hand: a folder each, with the arithmetic in words; and documents that are no tariff."""

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from cloud.errors import InputError
from cloud.tariffs.answer import answer
from cloud.tariffs.load import load, validate
from cloud.tariffs.rate import rated
from cloud.tariffs.series import parse
from tests.conftest import cloned

_CASES = Path(__file__).parents[2] / "cases" / "tariffs"
_BILLED = sorted(folder.parent.name for folder in _CASES.glob("*/expected.json"))


@pytest.fixture(scope="module")
def database(pg_server: Any, pg_owner: psycopg.Connection, domain_template: str) -> Iterator[psycopg.Connection]:
    with cloned(pg_server, pg_owner, template=domain_template) as dsn, psycopg.connect(dsn) as connection:
        yield connection


@pytest.mark.parametrize("name", _BILLED)
def test_a_case_is_billed_as_it_was_worked_by_hand(database: psycopg.Connection, name: str) -> None:
    document = load(_CASES / name / "tariff.json")
    with (_CASES / name / "intervals.csv").open(newline="") as lines:
        series = parse(lines, document)

    with database.transaction(force_rollback=True):
        found = answer(rated(database, document, series))

    assert _numbers(found) == _numbers(json.loads((_CASES / name / "expected.json").read_text()))


def _numbers(value: Any) -> Any:
    """Decimal texts as numbers: 5 and 5.00 are one amount."""
    if isinstance(value, dict):
        return {key: text if key in ("currency", "month") else _numbers(text) for key, text in value.items()}
    return [_numbers(one) for one in value] if isinstance(value, list) else Decimal(value)


@pytest.mark.parametrize("name", sorted(path.stem for path in (_CASES / "refused").glob("*.json")))
def test_a_document_that_is_no_tariff_is_refused_by_its_key(name: str) -> None:
    case = json.loads((_CASES / "refused" / f"{name}.json").read_text(), parse_float=Decimal)

    with pytest.raises(InputError) as raised:
        _read(case)

    assert re.search(rf"(^|[^\w.]){re.escape(case['where'])}(?!\w)", str(raised.value)), str(raised.value)


def _read(case: dict[str, Any]) -> None:
    """A document is refused by itself, or for the columns of a file."""
    document = validate(case["tariff"])
    if "intervals_header" in case:
        parse([case["intervals_header"]], document)
