"""What the loader accepts as a master, and how it says no."""

from pathlib import Path

import pytest

from cloud.schema.errors import SourceError
from cloud.schema.loader import load

VERSION = "SET LOCAL segs.master_version = '{}';\n"


def tree(root: Path, *, master: str = "BEGIN;\n\\ir version.sql\nCOMMIT;\n", version: int = 1, **files: str) -> Path:
    """A sql folder with a domain master; keywords are files, `__` for a slash."""
    (root / "migrations" / "domain").mkdir(parents=True)
    (root / "init-db.sql").write_text(master)
    (root / "version.sql").write_text(VERSION.format(version))
    for name, text in files.items():
        (root / f"{name.replace('__', '/')}.sql").write_text(text)
    return root


def test_a_master_is_its_files_in_order(tmp_path: Path) -> None:
    root = tree(tmp_path, master="-- words\nBEGIN;\n\\ir version.sql\n\n\\ir one.sql\nCOMMIT;\n", one="SELECT 1;\n")

    assert [script.name for script in load("domain", root).scripts] == ["version.sql", "one.sql"]


@pytest.mark.parametrize(
    ("master", "says"),
    [
        ("\\ir version.sql\n", "init-db.sql:1.*outside BEGIN"),
        ("BEGIN;\n\\ir version.sql\n", "init-db.sql: BEGIN; and COMMIT; are missing"),
        ("BEGIN;\n\\ir version.sql\nCOMMIT;\n\\ir one.sql\n", "init-db.sql:4.*outside BEGIN"),
        ("BEGIN;\n\\i version.sql\nCOMMIT;\n", "init-db.sql:2: a master has only"),
        ("BEGIN;\n\\ir version.sql\nSELECT 1;\nCOMMIT;\n", "init-db.sql:3: a master has only"),
        ("BEGIN;\n\\ir version.sql\n\\ir gone.sql\nCOMMIT;\n", r"gone\.sql: no such file"),
        ("BEGIN;\n\\ir one.sql\nCOMMIT;\n", "master_version is set 0 times"),
        ("BEGIN;\n\\ir version.sql\n\\ir version.sql\nCOMMIT;\n", "master_version is set 2 times"),
    ],
)
def test_a_malformed_master_is_named_with_its_line(tmp_path: Path, master: str, says: str) -> None:
    with pytest.raises(SourceError, match=says):
        load("domain", tree(tmp_path, master=master, one="SELECT 1;\n"))


@pytest.mark.parametrize(
    "line", ["\\set x 1", "COMMIT;", "  rollback ;", "BEGIN;", "START TRANSACTION ISOLATION LEVEL SERIALIZABLE;"]
)
def test_a_script_that_would_leave_the_transaction_is_refused(tmp_path: Path, line: str) -> None:
    root = tree(tmp_path, master="BEGIN;\n\\ir version.sql\n\\ir one.sql\nCOMMIT;\n", one=f"SELECT 1;\n{line}\n")

    with pytest.raises(SourceError, match=r"one\.sql:2"):
        load("domain", root)


@pytest.mark.parametrize(
    ("version", "migrations"),
    [(2, []), (1, ["0002-a"]), (3, ["0003-a"]), (3, ["0002-a", "0002-b", "0003-c"]), (2, ["2-a"]), (2, ["0002_a"])],
)
def test_migrations_and_the_masters_version_must_agree(tmp_path: Path, version: int, migrations: list[str]) -> None:
    """D17: a version without its migration, or a migration without its version, would pass some databases by."""
    files = {f"migrations__domain__{name}": "SELECT 1;\n" for name in migrations}

    with pytest.raises(SourceError, match="migration"):
        load("domain", tree(tmp_path, version=version, **files))


def test_any_edit_of_a_script_changes_the_checksum(tmp_path: Path) -> None:
    root = tree(tmp_path)
    before = load("domain", root).checksum
    (root / "version.sql").write_text(VERSION.format(1) + "-- words\n")

    assert load("domain", root).checksum != before
