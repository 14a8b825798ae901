"""A program that commits to SQLite and says so: `committer.py FILE SYNCHRONOUS` prints each number once it is kept."""

import sqlite3
import sys


def main(file: str, synchronous: str) -> None:
    with sqlite3.connect(file, isolation_level=None) as db:
        db.execute("PRAGMA page_size = 1024")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(f"PRAGMA synchronous = {synchronous}")
        db.execute("PRAGMA wal_autocheckpoint = 20")
        db.execute("CREATE TABLE IF NOT EXISTS kept (number INTEGER PRIMARY KEY, body BLOB)")
        (number,) = db.execute("SELECT coalesce(max(number), 0) FROM kept").fetchone()
        while True:
            number += 1
            db.execute("INSERT INTO kept VALUES (?, randomblob(700))", (number,))
            print(number, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
