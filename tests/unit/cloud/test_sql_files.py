"""What Python expects of the files in sql/."""

import re
from pathlib import Path

import pytest

from cloud.db.errors import _MEANING
from cloud.schema.loader import SQL_ROOT

QUERY_FILES = sorted((SQL_ROOT / "queries").glob("*.sql"))
REFUSED_BY_MASTER = {"SG001"}
"""Raised by the masters at a database they do not fit; the schema tool reports it as it is."""


def test_every_sqlstate_that_the_schema_raises_has_a_meaning_and_no_meaning_is_left_over() -> None:
    raised = {
        code for file in SQL_ROOT.rglob("*.sql") for code in re.findall(r"ERRCODE = '(SG\d{3})'", file.read_text())
    }

    assert raised - REFUSED_BY_MASTER == {code for code in _MEANING if code.startswith("SG")}


@pytest.mark.parametrize("file", QUERY_FILES, ids=lambda file: file.name)
def test_every_statement_has_a_name_of_its_own_and_a_line_that_describes_it(file: Path) -> None:
    heads = re.findall(r"^-- name: (\w+)\n(.*)$", file.read_text(), re.MULTILINE)

    names = [name for name, _ in heads]
    assert names
    assert len(names) == len(set(names))
    assert [name for name, description in heads if not description.startswith("-- ")] == []


def test_only_the_query_loader_and_the_schema_tool_know_where_the_sql_folder_is() -> None:
    packages = ("bench", "cloud", "contract", "edge", "firmware_sim", "local")
    files = [file for package in packages for file in (SQL_ROOT.parent / package).rglob("*.py")]
    readers = {
        file.relative_to(SQL_ROOT.parent).parts[:2]
        for file in files
        if re.search(r"""SQL_ROOT|["']sql["'/]""", file.read_text())
    }

    assert readers == {("cloud", "db"), ("cloud", "schema")}
