"""What a live database consists of, as text to compare: every object, its parts, and each part's definition."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg

from cloud.db.queries import Queries
from cloud.schema.errors import Database

_CATALOG = Queries("catalog")
_TIMESCALE = Queries("catalog_timescale")
_STATEMENTS = (
    "extensions",
    "tables",
    "columns",
    "constraints",
    "indexes",
    "rules",
    "identities",
    "sequences",
    "types",
    "functions",
    "triggers",
    "views",
    "row_policies",
    "rights_relations",
    "rights_columns",
    "rights_functions",
    "rights_database",
    "comments",
)
_TIMESCALE_STATEMENTS = ("dimensions", "compression", "continuous_aggregates", "jobs")
# What only a migration may change. The rest is stated anew by every apply.
_STRUCTURE = ("extension ", "table ", "sequence ", "type ")
_STRUCTURE_PARTS = ("column ", "constraint ", "index ", "hypertable ")

Catalog = dict[str, dict[str, str]]
"""Definition by object (`table meters`) and part (`column region`, `` for the object itself)."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One part in which two catalogs differ. `found` is None where it is missing, `expected` where it should not be."""

    database: Database
    object: str
    part: str
    found: str | None
    expected: str | None

    def __str__(self) -> str:
        thing = f"{self.object}: " if self.part else ""
        name = self.part or self.object
        if self.expected is None:
            return f"{self.database}: {thing}unexpected {name}{_brief(self.found)}"
        if self.found is None:
            return f"{self.database}: {thing}missing {name}{_brief(self.expected)}"
        if "\n" in self.found + self.expected:
            return f"{self.database}: {thing}{name} differs from the master's"
        return f"{self.database}: {thing}{name} is {self.found!r}, the master says {self.expected!r}"


def read(connection: psycopg.Connection) -> Catalog:
    """The catalog of schema public, without chunks, numbers and owners, which differ from database to database."""
    catalog: Catalog = {}
    with connection.transaction():
        connection.execute("SET LOCAL search_path = public, pg_temp")
        statements = [_CATALOG[name] for name in _STATEMENTS]
        if connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'").fetchone():
            statements += [_TIMESCALE[name] for name in _TIMESCALE_STATEMENTS]
        for statement in statements:
            for thing, part, definition in connection.execute(statement):
                catalog.setdefault(thing, {})[part] = definition
    return catalog


def structure(catalog: Catalog) -> Catalog:
    """Only what a migration has to change: tables, columns, constraints, indexes, hypertables, types."""
    return {
        thing: {p: d for p, d in parts.items() if p == "" or p.startswith(_STRUCTURE_PARTS)}
        for thing, parts in catalog.items()
        if thing.startswith(_STRUCTURE)
    }


def fingerprint(catalog: Catalog) -> str:
    """SHA-256 (hex) of a catalog: equal catalogs have equal ones."""
    return hashlib.sha256(json.dumps(catalog, sort_keys=True).encode()).hexdigest()


def compare(database: Database, found: Catalog, expected: Catalog) -> Iterator[Difference]:
    """Each part that differs; an object that is missing or unexpected is named once, not part by part."""
    for thing in sorted(found.keys() | expected.keys()):
        have, want = found.get(thing), expected.get(thing)
        if have is None or want is None:
            yield Difference(database, thing, "", None if have is None else "", None if want is None else "")
            continue
        for part in sorted(have.keys() | want.keys()):
            if have.get(part) != want.get(part):
                yield Difference(database, thing, part, have.get(part), want.get(part))


def _brief(definition: str | None) -> str:
    return f" {definition}" if definition and "\n" not in definition else ""
