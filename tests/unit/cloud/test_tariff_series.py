"""Intervals of a file, as far as a tariff needs them: what is wrong is told by row and column."""

import json
import re
from decimal import Decimal
from typing import Any

import pytest

from cloud.table_file import RowError
from cloud.tariffs.document import Document
from cloud.tariffs.load import parse as document_of
from cloud.tariffs.series import parse

FIRST = "2026-03-01T00:00Z"


def _document(**more: Any) -> Document:
    return document_of(
        json.dumps({"currency": "EUR", "timezone": "UTC", "energyratestructure": [[{"rate": 1}]]} | more)
    )


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("yesterday,5", "row 3: interval_start_utc 'yesterday'; give a time such as 2026-03-01T12:00:00Z"),
        (
            "2026-03-01T00:10Z,5",
            "row 3: interval_start_utc '2026-03-01T00:10Z' begins no interval of 900 s; give starts",
        ),
        ("2026-03-01T00:15Z,", "row 3: import_wh ''; give Wh, 0 to 10000000000000"),
        ("2026-03-01T00:15Z,-5", "row 3: import_wh '-5'; give Wh, 0 to"),
        ("2026-03-01T00:15Z,5e3", "row 3: import_wh '5e3'"),
        ("2026-03-01T00:15Z,nan", "row 3: import_wh 'nan'"),
        ("2026-03-01T00:15Z", "row 3: another number of fields; the header has 2"),
        ("2026-03-01T01:00+01:00,5", "row 3: interval_start_utc 2026-03-01T00:00:00Z is in row 2 too; an interval is"),
    ],
)
def test_a_wrong_value_is_told_by_row_and_column(row: str, told: str) -> None:
    with pytest.raises(RowError) as raised:
        parse(["interval_start_utc,import_wh", f"{FIRST},1", row], _document())
    assert str(raised.value).startswith(told)


@pytest.mark.parametrize(
    ("more", "missing"),
    [
        ({"price_series": True}, "buy_per_kwh (buy_per_kwh by price_series)"),
        ({"regional_price": True}, "buy_per_kwh (buy_per_kwh by regional_price)"),
        ({"metering": {"rule": "net_metering"}}, "export_wh (export_wh by metering.rule net_metering)"),
        ({"metering": {"rule": "buy_all_sell_all"}}, "gross_load_wh,pv_gen_wh"),
        ({"power_factor": [{"below": "0.9", "percent_per_0_01": 1}]}, "import_varh (import_varh by power_factor)"),
    ],
)
def test_a_column_that_the_tariff_needs_is_asked_for(more: dict[str, Any], missing: str) -> None:
    told = rf"row 1: the columns are '.*'; they must be interval_start_utc,import_wh,{re.escape(missing)}"
    with pytest.raises(RowError, match=told):
        parse(["interval_start_utc,import_wh", f"{FIRST},1"], _document(**more))


def test_a_column_that_nobody_knows_and_an_empty_file_are_refused() -> None:
    with pytest.raises(RowError, match="row 1: the columns are 'interval_start_utc,import_wh,wh'"):
        parse(["interval_start_utc,import_wh,wh"], _document())
    with pytest.raises(RowError, match="row 2: there is no interval; give at least one"):
        parse(["interval_start_utc,import_wh"], _document())


def test_rows_in_any_order_are_intervals_in_order_with_what_is_missing_between() -> None:
    rows = ["2026-03-01T01:00Z,3", "2026-03-01T00:00,1.25", "2026-03-01T00:15:00+00:00,2"]
    found = parse(["interval_start_utc,import_wh", *rows], _document())
    assert [one.values[0] for one in found.intervals] == [Decimal("1.25"), 2, 3]
    assert found.missing == ["2 intervals are missing from 2026-03-01T00:30:00Z to 2026-03-01T01:00:00Z"]
