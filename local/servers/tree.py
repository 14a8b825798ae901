"""A folder of unpacked Debian 13 packages whose programs run on another Debian, through their own dynamic loader."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from local.servers.errors import FetchError

_BIN_FOLDERS = ("usr/lib/postgresql/17/bin", "usr/sbin", "usr/bin")
_WRAPPER = """\
#!/bin/sh
# Runs the program with the loader and the libraries that it was built for, whatever the machine's own are.
# PostgreSQL finds its other programs and its share folder from its own name, so that is this file's (--argv0).
here=${{0%/*}}
root=$here/{up}
exec "$root/{loader}" --library-path "{libraries}" --argv0 "$0" "$here/{real}/${{0##*/}}" "$@"
"""
_REAL = ".real"
_SYSTEM_ZONEINFO = b"/usr/share/zoneinfo\0"
# The same length, relative to the data directory, which is the working directory of every PostgreSQL process.
_OWN_ZONEINFO = b".//////////zoneinfo\0"
ZONEINFO_LINK = "zoneinfo"


def unpack(archives: Sequence[Path], root: Path) -> None:
    """Unpack `archives` into the folder `root` and make its programs run from there. Raises FetchError."""
    root.mkdir(parents=True)
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        list(pool.map(lambda archive: _unpack_one(archive, root), archives))
    if (postgres := root / "usr/lib/postgresql/17/bin/postgres").exists():
        _detach_from_system_zoneinfo(postgres)
    # A link to the machine's /etc/localtime; where that is missing, pg_timezone_names fails over it.
    (root / "usr/share/zoneinfo/localtime").unlink(missing_ok=True)
    # Its compiler library is not fetched; without this file PostgreSQL knows that it can't compile queries.
    (root / "usr/lib/postgresql/17/lib/llvmjit.so").unlink(missing_ok=True)
    for folder in _BIN_FOLDERS:
        if (root / folder).is_dir():
            _wrap(root, folder)


def _unpack_one(archive: Path, root: Path) -> None:
    done = subprocess.run(["dpkg-deb", "-x", archive, root], capture_output=True, text=True, check=False)
    if done.returncode:
        archive.unlink(missing_ok=True)
        raise FetchError(f"{archive.name} cannot be unpacked: {done.stderr.strip()}. It was removed; try again.")


def _wrap(root: Path, folder: str) -> None:
    loaders = sorted(root.glob("usr/lib/*/ld-linux-*.so.*"))
    if not loaders:
        raise FetchError(f"the unpacked packages in {root} contain no dynamic loader (usr/lib/*/ld-linux-*.so.*)")
    loader = loaders[0].relative_to(root)
    libraries = f"$root/{loader.parent}"
    real = root / folder / _REAL
    real.mkdir()
    for program in sorted((root / folder).iterdir()):
        if program.is_symlink() or not program.is_file() or not _is_elf(program):
            continue
        program.rename(real / program.name)
        up = "/".join([".."] * (folder.count("/") + 1))
        program.write_text(_WRAPPER.format(up=up, loader=loader, libraries=libraries, real=_REAL))
        program.chmod(0o755)


def _is_elf(program: Path) -> bool:
    with program.open("rb") as content:
        return content.read(4) == b"\x7fELF"


def _detach_from_system_zoneinfo(postgres: Path) -> None:
    """Debian's PostgreSQL reads /usr/share/zoneinfo and nothing else, which a minimal container does not have.

    The unpacked copy reads the unpacked tzdata instead, through a link in the data directory.
    """
    content = postgres.read_bytes()
    if content.count(_SYSTEM_ZONEINFO) != 1:
        raise FetchError(f"{postgres.name} names {_SYSTEM_ZONEINFO[:-1].decode()} not once, as expected of Debian 13")
    postgres.write_bytes(content.replace(_SYSTEM_ZONEINFO, _OWN_ZONEINFO))
