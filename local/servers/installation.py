"""Where the server programs come from: named by SEGS_PG_BIN, found on the machine, or fetched from Debian 13."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from local.servers.apt import AptRoot
from local.servers.errors import INSTEAD, FetchError, NotFoundError
from local.servers.home import locked, segs_home
from local.servers.tree import unpack

PACKAGES = ("postgresql-17", "postgresql-17-timescaledb", "mosquitto", "mosquitto-clients", "tzdata")
_OLDEST_POSTGRES = 16
# Changes with what `tree.unpack` makes of the packages, so that an older cache is not taken for a current one.
_LAYOUT = 1
_STAMP = "complete.json"


@dataclass(frozen=True, kw_only=True)
class Installation:
    """A folder of server programs.

    `version` as the server prints it ("17.11"); `timescaledb` the extension's version, None without (or for Mosquitto);
    `zoneinfo` is a time zone database that the server must be linked to, None when it knows its own.
    """

    bin_dir: Path
    origin: str
    version: str
    timescaledb: str | None = None
    zoneinfo: Path | None = None

    def program(self, name: str) -> Path:
        """Path of one program. Raises NotFoundError."""
        path = self.bin_dir / name
        if not os.access(path, os.X_OK):
            raise NotFoundError(f"{self.bin_dir} ({self.origin}) has no program {name}")
        return path


def locate_postgres(home: Path | None = None) -> Installation:
    """PostgreSQL 16+ with TimescaleDB: SEGS_PG_BIN, else one of this machine, else fetched into `home`'s cache.

    Raises NotFoundError, FetchError.
    """
    named = os.environ.get("SEGS_PG_BIN")
    if named:
        return inspect_postgres(Path(named), origin="SEGS_PG_BIN")
    for folder in _postgres_folders():
        try:
            return inspect_postgres(folder, origin="this machine")
        except NotFoundError:
            continue
    root = fetched_root(home)
    return inspect_postgres(root / "usr/lib/postgresql/17/bin", origin="fetched from Debian 13")


def locate_mosquitto(home: Path | None = None) -> Installation:
    """Mosquitto of this machine, else fetched into `home`'s cache. Raises NotFoundError, FetchError."""
    search = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    found = shutil.which("mosquitto", path=search)
    bin_dir = Path(found).parent if found else fetched_root(home) / "usr/sbin"
    said = _output([bin_dir / "mosquitto", "-h"])
    version = re.search(r"mosquitto version (\S+)", said)
    if not version:
        raise NotFoundError(f"{bin_dir}/mosquitto does not run: {said.strip()[:500]}. {INSTEAD}")
    return Installation(
        bin_dir=bin_dir, origin="this machine" if found else "fetched from Debian 13", version=version[1]
    )


def inspect_postgres(bin_dir: Path, *, origin: str) -> Installation:
    """What is in a bin folder. Raises NotFoundError when it is older than 16 or has no TimescaleDB."""
    bin_dir = bin_dir.expanduser().absolute()
    missing = [name for name in ("postgres", "initdb") if not os.access(bin_dir / name, os.X_OK)]
    if missing:
        raise NotFoundError(f"{bin_dir} ({origin}) has no program {' and no '.join(missing)}. {INSTEAD}")
    said = _output([bin_dir / "postgres", "--version"])
    version = re.search(r"\(PostgreSQL\) ((\d+)\S*)", said)
    if not version:
        raise NotFoundError(f"{bin_dir}/postgres ({origin}) does not run: {said.strip()[:500]}. {INSTEAD}")
    if int(version[2]) < _OLDEST_POSTGRES:
        raise NotFoundError(f"{bin_dir} ({origin}) is PostgreSQL {version[1]}; {_OLDEST_POSTGRES} or newer is needed.")
    control = next(
        (file for share in _share_folders(bin_dir) if (file := share / "extension/timescaledb.control").is_file()), None
    )
    if control is None:
        raise NotFoundError(f"PostgreSQL {version[1]} in {bin_dir} ({origin}) has no TimescaleDB. {INSTEAD}")
    extension = re.search(r"default_version = '([^']+)'", control.read_text())
    fetched = next((parent for parent in bin_dir.parents if (parent / _STAMP).is_file()), None)
    return Installation(
        bin_dir=bin_dir,
        origin=origin,
        version=version[1],
        timescaledb=extension[1] if extension else "unknown",
        zoneinfo=fetched / "usr/share/zoneinfo" if fetched else None,
    )


def fetched_root(home: Path | None = None) -> Path:
    """The unpacked Debian 13 servers in `home`'s cache, fetched if they are not there whole. Raises FetchError.

    Two processes never fetch at once, and a folder without its stamp is never used: it appears by one rename.
    """
    cache = (home or segs_home()) / "cache"
    with locked(cache / "servers.lock"):
        apt = AptRoot(root=cache / "apt")
        root = cache / f"debian13-{apt.architecture}-{_LAYOUT}"
        if (root / _STAMP).is_file():
            return root
        for leftover in [*cache.glob("unpacking-*"), root]:
            shutil.rmtree(leftover, ignore_errors=True)
        print("Fetching PostgreSQL 17 with TimescaleDB and Mosquitto from Debian 13 (42 MB) …", file=sys.stderr)
        archives = apt.download(PACKAGES)
        partial = Path(tempfile.mkdtemp(prefix="unpacking-", dir=cache)) / "root"
        try:
            unpack(archives, partial)
            (partial / _STAMP).write_text(json.dumps({"archives": sorted(archive.name for archive in archives)}))
            partial.rename(root)
        except OSError as error:
            raise FetchError(f"the servers cannot be unpacked into {cache}: {error}") from error
        finally:
            shutil.rmtree(partial.parent, ignore_errors=True)
        return root


def _postgres_folders() -> list[Path]:
    debian = [folder for folder in Path("/usr/lib/postgresql").glob("*/bin") if folder.parent.name.isdigit()]
    newest_first = sorted(debian, key=lambda folder: int(folder.parent.name), reverse=True)
    on_path = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    return [*newest_first, Path("/usr/local/pgsql/bin"), Path("/usr/local/bin"), *on_path]


def _share_folders(bin_dir: Path) -> list[Path]:
    named = _output([bin_dir / "pg_config", "--sharedir"]).strip() if (bin_dir / "pg_config").is_file() else ""
    relative = [bin_dir.parent / "share/postgresql", bin_dir.parent / "share"]
    return [Path(named), *relative] if named.startswith("/") else relative


def _output(command: list[str | Path]) -> str:
    try:
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return done.stdout + done.stderr
