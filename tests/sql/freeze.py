"""Freezes both masters at version 1, as `python tests/sql/freeze.py`. Once version 1 has been released, never again.

Every later version has to be reached from what is frozen here by the migrations alone.
"""

from pathlib import Path

from cloud.schema.errors import DATABASES
from cloud.schema.loader import load

BASELINE = Path(__file__).parent / "baseline"


def main() -> None:
    for database in DATABASES:
        master = load(database)
        if master.version != 1:
            raise SystemExit(f"{database} is at version {master.version}: version 1 is history and stays as it is")
        text = "\n".join(f"-- {script.name}\n{script.sql}" for script in master.scripts)
        (BASELINE / f"{database}-1.sql").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
