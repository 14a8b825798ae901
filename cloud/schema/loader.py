r"""Reads the sql folder: a master is a list of `\ir` lines between BEGIN and COMMIT, migrations are numbered."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from cloud.db.queries import SQL_ROOT
from cloud.schema.errors import Database, SourceError

_MASTERS: dict[Database, str] = {"domain": "init-db.sql", "telemetry": "init-timescale.sql"}
_INCLUDE = re.compile(r"\\ir\s+(\S+)\s*")
_TRANSACTION = re.compile(r"(?i)\s*(BEGIN|COMMIT|ROLLBACK|START\s+TRANSACTION)\b[^;]*;")
_VERSION = re.compile(r"SET LOCAL segs\.master_version = '(\d+)';")
_MIGRATION = re.compile(r"(\d{4})-[a-z0-9-]+\.sql")


@dataclass(frozen=True, slots=True)
class Script:
    """One file of SQL statements; `name` is its path inside the sql folder."""

    name: str
    sql: str


@dataclass(frozen=True, slots=True)
class Migration:
    """The step from version `version` - 1 to `version`."""

    version: int
    script: Script


@dataclass(frozen=True, slots=True)
class Master:
    """One of the two schemas, as the sql folder has it."""

    database: Database
    version: int
    scripts: tuple[Script, ...]
    migrations: tuple[Migration, ...]

    @property
    def checksum(self) -> str:
        """SHA-256 (hex) over the names and texts of the scripts, in order."""
        digest = hashlib.sha256()
        for script in self.scripts:
            digest.update(f"{script.name}\n{len(script.sql)}\n{script.sql}".encode())
        return digest.hexdigest()


def load(database: Database, root: Path = SQL_ROOT) -> Master:
    """The master of `database` with its migrations; raises SourceError, naming file and line."""
    master = root / _MASTERS[database]
    scripts = tuple(_script(master.parent / name, root) for name in _includes(master))
    version = _version(scripts, master.name)
    return Master(database, version, scripts, _migrations(root / "migrations" / database, root, version))


def _includes(master: Path) -> list[str]:
    names = []
    opened = closed = False
    for number, line in enumerate(_text(master).splitlines(), start=1):
        where = f"{master.name}:{number}"
        if not line.strip() or line.lstrip().startswith("--"):
            continue
        if line.strip() == "BEGIN;" and not opened:
            opened = True
        elif line.strip() == "COMMIT;" and opened and not closed:
            closed = True
        elif match := _INCLUDE.fullmatch(line):
            if not opened or closed:
                raise SourceError(where, f"{line} stands outside BEGIN; and COMMIT;")
            names.append(match[1])
        else:
            raise SourceError(where, rf"a master has only \ir lines between BEGIN; and COMMIT;, not {line!r}")
    if not closed:
        raise SourceError(master.name, "BEGIN; and COMMIT; are missing: without them a failure leaves half a schema")
    return names


def _script(path: Path, root: Path) -> Script:
    name = path.relative_to(root).as_posix()
    sql = _text(path)
    for number, line in enumerate(sql.splitlines(), start=1):
        if line.startswith("\\"):
            raise SourceError(f"{name}:{number}", f"psql command {line!r}: only the masters have any")
        if _TRANSACTION.match(line):
            raise SourceError(
                f"{name}:{number}", f"{line.strip()!r} would end the transaction that a schema is applied in"
            )
    return Script(name, sql)


def _version(scripts: tuple[Script, ...], master: str) -> int:
    found = [int(match[1]) for script in scripts for match in _VERSION.finditer(script.sql)]
    if len(found) != 1:
        raise SourceError(master, f"segs.master_version is set {len(found)} times, not once")
    return found[0]


def _migrations(folder: Path, root: Path, version: int) -> tuple[Migration, ...]:
    migrations = []
    for path in sorted(folder.glob("*.sql")):
        match = _MIGRATION.fullmatch(path.name)
        if match is None:
            raise SourceError(path.relative_to(root).as_posix(), "a migration is called NNNN-name.sql")
        migrations.append(Migration(int(match[1]), _script(path, root)))
    numbers = [migration.version for migration in migrations]
    if numbers != list(range(2, version + 1)):
        raise SourceError(
            folder.relative_to(root).as_posix(),
            f"migrations are numbered {numbers}, master version {version} wants {list(range(2, version + 1))}",
        )
    return tuple(migrations)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise SourceError(str(path), "no such file") from error
