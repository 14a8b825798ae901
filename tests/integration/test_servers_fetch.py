"""Finding and fetching the servers, against a mirror of our own on loopback that can fail on demand."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from local.servers import FetchError, NotFoundError, locate_mosquitto, locate_postgres
from local.servers.apt import AptRoot
from local.servers.installation import PACKAGES, fetched_root, inspect_postgres

pytestmark = pytest.mark.skipif(shutil.which("apt-get") is None, reason="servers are fetched on the Debian family only")


class _Handler(SimpleHTTPRequestHandler):
    """Serves a folder; answers ranges, as apt needs them to resume; cuts one file short when told so."""

    served: Counter[str]
    resumed: list[str]
    cut: set[str]

    def do_GET(self) -> None:
        file = Path(self.translate_path(self.path))
        if not file.is_file():
            self.send_error(404)
            return
        content = file.read_bytes()
        self.served[file.name] += 1
        first = 0
        asked = self.headers.get("Range", "")
        if asked.startswith("bytes="):
            first = int(asked.removeprefix("bytes=").split("-")[0])
            self.resumed.append(file.name)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Last-Modified", self.date_time_string(int(file.stat().st_mtime)))
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        body = content[first:]
        if any(file.name.startswith(name) for name in self.cut):
            body = body[: len(body) // 2]
            self.close_connection = True
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Mirror:
    """A Debian archive over HTTP with the packages that this machine has fetched before."""

    def __init__(self, folder: Path, archives: list[Path]) -> None:
        handler = type("_MirrorHandler", (_Handler,), {"served": Counter(), "resumed": [], "cut": set()})
        self.served: Counter[str] = handler.served
        self.resumed: list[str] = handler.resumed
        self.cut: set[str] = handler.cut
        self._folder = folder
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
        self._thread = threading.Thread(target=self._server.serve_forever, name="mirror")
        self._publish(archives)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/debian"

    def __enter__(self) -> Mirror:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _publish(self, archives: list[Path]) -> None:
        pool = self._folder / "debian/pool"
        index = self._folder / f"debian/dists/trixie/main/binary-{_architecture()}"
        pool.mkdir(parents=True)
        index.mkdir(parents=True)
        stanzas = []
        for archive in archives:
            os.link(archive, pool / archive.name) if _same_device(archive, pool) else shutil.copy(archive, pool)
            described = subprocess.run(["dpkg-deb", "-f", archive], capture_output=True, text=True, check=True).stdout
            content = archive.read_bytes()
            stanzas.append(
                f"{described.strip()}\nFilename: pool/{archive.name}\nSize: {len(content)}\n"
                f"SHA256: {hashlib.sha256(content).hexdigest()}\n"
            )
        packages = "\n".join(stanzas).encode()
        (index / "Packages").write_bytes(packages)
        (index.parents[1] / "Release").write_text(
            f"Origin: Debian\nSuite: stable\nCodename: trixie\nArchitectures: {_architecture()}\nComponents: main\n"
            f"Date: Sat, 09 Aug 2025 10:00:00 UTC\nSHA256:\n"
            f" {hashlib.sha256(packages).hexdigest()} {len(packages)} main/binary-{_architecture()}/Packages\n"
        )


def _architecture() -> str:
    return subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True).stdout.strip()


def _same_device(one: Path, other: Path) -> bool:
    return one.stat().st_dev == other.stat().st_dev


@pytest.fixture(scope="module")
def archives() -> list[Path]:
    """The .deb files as the real mirror gave them; fetched now if this machine never did."""
    cache = fetched_root().parent / "apt"
    return sorted((cache / "archives").glob("*.deb")) or AptRoot(root=cache).download(PACKAGES)


@pytest.fixture
def mirror(tmp_path: Path, archives: list[Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    """A mirror that apt takes for the one this machine is configured with."""
    (tmp_path / "mirror").mkdir()
    with Mirror(tmp_path / "mirror", archives) as running:
        _configure(tmp_path, monkeypatch, f"deb [trusted=yes] {running.url} bookworm main\n")
        yield running
    shutil.rmtree(tmp_path)


def _configure(folder: Path, monkeypatch: pytest.MonkeyPatch, sources: str) -> None:
    """Make `sources` the machine's sources.list for this test."""
    (folder / "machine.list").write_text(sources)
    (folder / "machine.conf").write_text(
        f'Dir::Etc::sourcelist "{folder}/machine.list";\nDir::Etc::sourceparts "/dev/null";\n'
        'Acquire::http::Proxy::127.0.0.1 "DIRECT";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(folder / "machine.conf"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def test_a_cold_cache_is_filled_and_a_warm_one_asks_nobody(mirror: Mirror, tmp_path: Path) -> None:
    root = fetched_root(tmp_path / "home")
    asked = mirror.served.total()
    assert asked > 40
    found = inspect_postgres(root / "usr/lib/postgresql/17/bin", origin="fetched")
    assert (found.version.split(".")[0], found.zoneinfo) == ("17", root / "usr/share/zoneinfo")
    assert subprocess.run([root / "usr/sbin/mosquitto", "-h"], capture_output=True, check=False).returncode in (0, 3)

    # Links to the machine's own files make pg_timezone_names fail where those are missing.
    assert not [link for link in (root / "usr/share/zoneinfo").rglob("*") if not link.resolve().is_relative_to(root)]

    assert fetched_root(tmp_path / "home") == root
    assert mirror.served.total() == asked


@pytest.mark.long
def test_a_download_that_breaks_off_is_an_error_and_the_next_one_goes_on_where_it_was(
    mirror: Mirror, tmp_path: Path
) -> None:
    mirror.cut.add("libicu")
    with pytest.raises(FetchError, match="libicu"):
        fetched_root(tmp_path / "home")
    whole = {name for name, times in mirror.served.items() if name.endswith(".deb") and not name.startswith("libicu")}
    assert not list((tmp_path / "home/cache").glob("debian13-*"))

    mirror.cut.clear()
    mirror.served.clear()
    mirror.resumed.clear()
    root = fetched_root(tmp_path / "home")

    assert inspect_postgres(root / "usr/lib/postgresql/17/bin", origin="fetched").timescaledb
    assert len(whole) > 10
    assert not whole & set(mirror.served), "what was whole is not downloaded twice"
    assert [name for name in mirror.resumed if name.startswith("libicu")]


def test_leftovers_of_an_interrupted_run_are_cleared_away(mirror: Mirror, tmp_path: Path, archives: list[Path]) -> None:
    """kill -9 in the middle of unpacking, a truncated archive, an archive of the right size with wrong bytes."""
    cache = tmp_path / "home/cache"
    kept = cache / "apt/archives"
    kept.mkdir(parents=True)
    for archive in archives:
        shutil.copy(archive, kept)
    truncated, garbled = (next(kept.glob(f"{name}_*")) for name in ("libpq5", "mosquitto"))
    truncated.write_bytes(truncated.read_bytes()[:1000])
    garbled.write_bytes(garbled.read_bytes()[:-1000] + bytes(1000))
    (cache / "unpacking-x1/root/usr").mkdir(parents=True)
    (cache / f"debian13-{_architecture()}-1/usr").mkdir(parents=True)

    root = fetched_root(tmp_path / "home")

    assert inspect_postgres(root / "usr/lib/postgresql/17/bin", origin="fetched").timescaledb
    assert not list(cache.glob("unpacking-*"))
    assert {name for name in mirror.served if name.endswith(".deb")} == {truncated.name, garbled.name}


@pytest.mark.long
def test_two_processes_fetch_once(mirror: Mirror, tmp_path: Path) -> None:
    program = "from local.servers.installation import fetched_root; print(fetched_root())"
    environment = {**os.environ, "SEGS_HOME": str(tmp_path / "home")}
    both = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    said = {process.communicate(timeout=120)[0] for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert len(said) == 1
    assert {times for name, times in mirror.served.items() if name.endswith(".deb")} == {1}


def test_a_mirror_without_a_signature_is_refused(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _configure(tmp_path, monkeypatch, f"deb {mirror.url} bookworm main\n")
    with pytest.raises(FetchError, match="keys on this machine cannot verify Debian 13"):
        fetched_root(tmp_path / "home")
    assert not [name for name in mirror.served if name.endswith(".deb")]


def test_a_mirror_that_is_away_is_named_with_the_ways_around_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _configure(tmp_path, monkeypatch, "deb http://127.0.0.1:9/debian bookworm main\n")
    with pytest.raises(FetchError, match=r"(?s)127\.0\.0\.1:9.*compose\.yaml.*SEGS_TELEMETRY_DSN"):
        fetched_root(tmp_path / "home")


def test_a_machine_without_debian_sources_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _configure(tmp_path, monkeypatch, "deb http://127.0.0.1:9/ubuntu noble main\n")
    with pytest.raises(NotFoundError, match=r"(?s)machine\.list.*compose\.yaml.*SEGS_DOMAIN_DSN"):
        fetched_root(tmp_path / "home")


def test_a_machine_without_apt_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotFoundError, match=r"(?s)no Debian.*compose\.yaml.*SEGS_DOMAIN_DSN"):
        AptRoot(root=tmp_path / "apt")


def test_a_named_folder_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    bin_dir = locate_postgres().bin_dir
    monkeypatch.setenv("SEGS_PG_BIN", str(bin_dir))
    assert (locate_postgres().bin_dir, locate_postgres().origin) == (bin_dir, "SEGS_PG_BIN")


def test_a_named_folder_without_postgres_is_an_error_and_nothing_else_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGS_PG_BIN", str(tmp_path))
    with pytest.raises(NotFoundError, match=r"SEGS_PG_BIN.*no program postgres"):
        locate_postgres()


@pytest.mark.parametrize(("version", "problem"), [("15.14", "16 or newer"), ("17.11", "no TimescaleDB")])
def test_a_server_that_cannot_serve_is_not_taken(tmp_path: Path, version: str, problem: str) -> None:
    for name in ("postgres", "initdb"):
        (tmp_path / name).write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {version}'\n")
        (tmp_path / name).chmod(0o755)
    with pytest.raises(NotFoundError, match=problem):
        inspect_postgres(tmp_path, origin="this machine")


def test_the_broker_is_found(tmp_path: Path) -> None:
    found = locate_mosquitto()
    assert found.version.startswith("2.")
    assert os.access(found.program("mosquitto"), os.X_OK)
