"""Statements by name, from the files in sql/queries: SQL lives in .sql files, Python only calls it."""

import re
from functools import cache
from pathlib import Path
from typing import LiteralString, cast

SQL_ROOT = Path(__file__).resolve().parents[2] / "sql"
_NAME = re.compile(r"^-- name: (?P<name>\w+)\n", re.MULTILINE)


class Queries:
    """The statements of `sql/queries/FILE.sql`, each under a line `-- name: NAME` and one line that describes it."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._statements = _parse(SQL_ROOT / "queries" / f"{file}.sql")

    def __getitem__(self, name: str) -> LiteralString:
        """The statement. Raises KeyError, which names the file."""
        try:
            return self._statements[name]
        except KeyError:
            raise KeyError(f"sql/queries/{self._file}.sql has no statement {name!r}") from None


@cache
def _parse(path: Path) -> dict[str, LiteralString]:
    _, *parts = _NAME.split(path.read_text())
    # What ships with the program is as trustworthy as a literal in it.
    return {name: cast(LiteralString, text.strip()) for name, text in zip(parts[::2], parts[1::2], strict=True)}
