"""What can go wrong between a database and its master schema."""

from typing import Literal

from cloud.errors import CloudError

Database = Literal["domain", "telemetry"]
DATABASES: tuple[Database, ...] = ("domain", "telemetry")


class SchemaError(CloudError):
    """The database and its master schema do not come together."""


class SourceError(SchemaError):
    """The sql folder itself is wrong: `where` names file and line."""

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(f"{where}: {problem}")
        self.where = where


class ScriptError(SchemaError):
    """The server refused a statement of a script. `where` names file and line, `sqlstate` the server's code."""

    def __init__(self, where: str, message: str, *, sqlstate: str | None, hint: str | None) -> None:
        super().__init__(f"{where}: {message}" + (f" {hint}" if hint else ""))
        self.where = where
        self.sqlstate = sqlstate


class VersionError(SchemaError):
    """The database is at a version that this release does not know or cannot work with.

    `found` is the database's version, None where it has no schema; `known` is this release's.
    """

    def __init__(self, message: str, *, database: Database, found: int | None, known: int) -> None:
        super().__init__(message)
        self.database = database
        self.found = found
        self.known = known


class EditionError(SchemaError):
    """The server has the Apache edition, and part of the database is compressed: it cannot be read there."""


class DriftError(SchemaError):
    """The live structure is not the master's. `differences` has one line each."""

    def __init__(self, message: str, differences: list[str]) -> None:
        super().__init__("\n  ".join([message, *differences]))
        self.differences = differences


class UnreachableError(SchemaError):
    """No connection to the database could be made."""

    exit_status = 2
