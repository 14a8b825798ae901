"""A private apt root: packages of Debian 13 downloaded and verified by apt, with the machine's own state untouched."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from local.servers.errors import INSTEAD, FetchError, NotFoundError
from local.servers.sources import translated_files

# What the packages ask for and a private server never runs: the compiler of queries (off by `jit=off`; a third of all
# bytes), Perl and the administration scripts, generated locales. A package of this name claims to provide them.
_NOT_NEEDED = (
    "libllvm19 (= 1:99), perl:any (= 99), locales (= 99), postgresql-common (= 999), postgresql-client-common (= 999), "
    "ssl-cert (= 99), debconf (= 99), debconf-2.0, adduser (= 99), sysvinit-utils (= 99), init-system-helpers (= 99), "
    "libpam-modules (= 99), sensible-utils (= 99), openssl-provider-legacy (= 99), readline-common (= 99), "
    "libsemanage-common (= 99)"
)
_STATUS = """\
Package: segs-not-needed
Status: install ok installed
Version: 1
Architecture: {architecture}
Maintainer: none
Multi-Arch: foreign
Provides: {provides}
Description: parts of Debian that a private server does not run

"""
_CONFIGURATION = """\
// The machine's hooks act on the machine's own state, and need root.
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Invoke;
#clear DPkg::Post-Invoke;
#clear DPkg::Pre-Install-Pkgs;
Dir::State "{root}/";
Dir::State::lists "lists/";
Dir::State::status "{root}/status";
Dir::State::extended_states "{root}/extended_states";
Dir::Cache "{root}/";
Dir::Cache::archives "archives/";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "{root}/sources/";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
// The user `_apt` can't write into the data folder, and there is nothing for it to protect here.
APT::Sandbox::User "root";
APT::Install-Recommends "false";
APT::Install-Suggests "false";
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
"""
_URI_LINE = re.compile(r"'(?P<uri>[^']+)' (?P<name>\S+) (?P<size>\d+) SHA256:(?P<sha256>[0-9a-f]{64})")


@dataclass(frozen=True, kw_only=True)
class Archive:
    """One .deb as the signed package index describes it."""

    name: str
    size_bytes: int
    sha256: str

    def is_whole(self, file: Path) -> bool:
        if not file.is_file() or file.stat().st_size != self.size_bytes:
            return False
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest() == self.sha256


class AptRoot:
    """apt with lists, cache, status and sources of its own under `root`; mirror, proxy, TLS, keys: the machine's."""

    def __init__(self, *, root: Path) -> None:
        self._root = root.resolve()
        missing = [tool for tool in ("apt-get", "apt-config", "dpkg", "dpkg-deb") if shutil.which(tool) is None]
        if missing:
            raise NotFoundError(
                f"This machine has no PostgreSQL 16+ with TimescaleDB, and it is no Debian (no {', '.join(missing)}), "
                f"so none can be fetched. {INSTEAD}"
            )
        self.architecture = self._run(["dpkg", "--print-architecture"]).stdout.strip()

    def download(self, packages: Sequence[str]) -> list[Path]:
        """The .deb files of `packages` and of what they depend on, verified; whole ones of an earlier try are kept.

        Raises FetchError with apt's own words.
        """
        self._prepare()
        update = self._apt(["update"])
        wanted = self._resolve(packages, update)
        archives = self._root / "archives"
        for archive in wanted:
            if not archive.is_whole(archives / archive.name):
                (archives / archive.name).unlink(missing_ok=True)
        fetched = self._apt(["install", "--download-only", "--no-remove", "-y", "-q", *packages])
        broken = [archive.name for archive in wanted if not archive.is_whole(archives / archive.name)]
        if fetched.returncode or broken:
            raise FetchError(_explained(f"apt could not download {', '.join(broken) or 'the servers'}", fetched))
        shutil.rmtree(self._root / "lists", ignore_errors=True)
        for outdated in set(archives.glob("*.deb")) - {archives / archive.name for archive in wanted}:
            outdated.unlink()
        return [archives / archive.name for archive in wanted]

    def _prepare(self) -> None:
        paths = self._run(
            ["apt-config", "shell", "LIST", "Dir::Etc::sourcelist/f", "PARTS", "Dir::Etc::sourceparts/d"]
        ).stdout
        located = dict(re.findall(r"(\w+)='([^']*)'", paths))
        sources = translated_files(Path(located.get("LIST", "/dev/null")), Path(located.get("PARTS", "/dev/null")))
        if not sources:
            raise NotFoundError(
                "This machine has no PostgreSQL 16+ with TimescaleDB, and its apt sources "
                f"({', '.join(located.values())}) name no Debian archive to fetch them from. {INSTEAD}"
            )
        shutil.rmtree(self._root / "sources", ignore_errors=True)
        for folder in ("sources", "lists/partial", "archives/partial", "none/partial"):
            (self._root / folder).mkdir(parents=True, exist_ok=True)
        for name, content in sources.items():
            (self._root / "sources" / name).write_text(content)
        status = _STATUS.format(architecture=self.architecture, provides=_NOT_NEEDED)
        (self._root / "status").write_text(status)
        (self._root / "apt.conf").write_text(_CONFIGURATION.format(root=self._root))

    def _resolve(self, packages: Sequence[str], update: subprocess.CompletedProcess[str]) -> list[Archive]:
        # A folder without archives: apt prints no line for a file that it already has.
        nothing_cached = ["-o", f"Dir::Cache::archives={self._root}/none/", "-o", "Acquire::ForceHash=SHA256"]
        listed = self._apt([*nothing_cached, "install", "--print-uris", "-y", "-qq", *packages])
        found = [
            Archive(name=m["name"], size_bytes=int(m["size"]), sha256=m["sha256"])
            for m in map(_URI_LINE.match, listed.stdout.splitlines())
            if m
        ]
        if listed.returncode or not found:
            # One mirror of several may be away; that only matters if the packages can't be found without it.
            raise FetchError(_explained(f"apt does not find {', '.join(packages)}", update, listed))
        return found

    def _apt(self, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return self._run(["apt-get", "-c", str(self._root / "apt.conf"), *arguments], check=False)

    def _run(self, command: Sequence[str], *, check: bool = True) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if check and done.returncode:
            raise FetchError(_explained(f"`{' '.join(command)}` failed", done))
        return done


def _explained(problem: str, *runs: subprocess.CompletedProcess[str]) -> str:
    said = "\n".join(
        line
        for run in runs
        for line in (run.stderr + run.stdout).splitlines()
        if line.startswith(("E:", "W:", "Err:")) or (line.startswith("  ") and line.strip())
    )
    if "NO_PUBKEY" in said or "is not signed" in said:
        problem += (
            "\nThe keys on this machine cannot verify Debian 13, so nothing of it is used: "
            "install debian-archive-keyring 2023.3 or newer"
        )
    return f"{problem}.\n{said}\n{INSTEAD}"
