"""Real servers for the tests: a private PostgreSQL cluster per worker, a clone of a template database per test."""

from __future__ import annotations

import os
import shutil
import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from local.servers import MosquittoBroker, PostgresServer
from local.servers import free_port as _free_port

_SERVERS = pytest.StashKey[list[str]]()
# A test cluster dies with its test run, so it need not outlive a power cut. Durability tests make their own server.
# One background worker is TimescaleDB's launcher alone: no policy runs by the wall clock in the middle of a test.
_FAST = {
    "fsync": "off",
    "full_page_writes": "off",
    "checkpoint_timeout": "1h",
    "shared_buffers": "128MB",
    "max_wal_size": "256MB",
    # The passwords are random, and of a thousand connections a minute each would cost client and server 4096 hashes.
    "scram_iterations": "1",
    "timescaledb.max_background_workers": "1",
}
_HERE = Path(__file__).parent
_FIRST = (_HERE / "acceptance", _HERE / "docs")
_WAIT = (_HERE / "faults", _HERE / "integration" / "edge", _HERE / "integration" / "simulator")
_SHARE = (_HERE / "integration" / "api",)
_MEMORY, _NAME, _ROOM_BYTES = Path("/dev/shm"), "segs-tests", 2 << 30


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "community: needs TimescaleDB's Community edition")
    config.addinivalue_line("markers", "long: waits or computes for long; `make torture-tests` asks for it")
    config.stash[_SERVERS] = []
    # Who starts the tests in the background of a shell has interrupts ignored, and what tests start would inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One worker does a module of those that start servers for all of it.

    Modules that mostly wait are spread over those that mostly compute, so that neither have the machine to themselves;
    and end before them, as nothing else would be left to do beside them.
    """
    waiting = [item for item in items if item.path.parent in _WAIT]
    busy = [item for item in items if item.path.parent not in (*_WAIT, *_FIRST)]
    places: dict[Path, float] = {}
    for some, until in ((waiting, 0.7), (busy, 1.0)):
        for number, item in enumerate(some):
            places.setdefault(item.path, until * number / len(some))
    for item in items:
        folder = item.path.parent
        if folder in (*_WAIT, *_SHARE) and item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(f"{folder.name}.{item.path.stem}"))
    items.sort(key=lambda item: places.get(item.path, -1))


def pytest_report_header() -> str:
    named = os.environ.get("SEGS_PG_BIN")
    return f"PostgreSQL: {f'SEGS_PG_BIN={named}' if named else 'found on the machine, or fetched'}"


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    """Each worker of pytest-xdist tells the main process which server it ran on."""
    output = getattr(node, "workeroutput", {})
    getattr(node, "config").stash[_SERVERS] += output.get("segs_servers", [])  # noqa: B009 - xdist has no types


def pytest_sessionfinish(session: pytest.Session) -> None:
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["segs_servers"] = session.config.stash[_SERVERS]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in sorted(set(config.stash[_SERVERS])):
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def pg_server(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[PostgresServer]:
    """A running cluster of this worker. Don't kill it: make a PostgresServer of your own for that."""
    folder = in_memory() or tmp_path_factory.mktemp("pg")
    server = PostgresServer(data_dir=folder, settings=_FAST, bound_to_parent=True)
    with _removed_after(folder), server:
        # initdb has hashed it before there were settings.
        password = conninfo_to_dict(server.dsn())["password"]
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            connection.execute(sql.SQL("ALTER ROLE segs PASSWORD {}").format(password))
        found = server.installation
        pytestconfig.stash[_SERVERS].append(
            f"PostgreSQL {found.version}, TimescaleDB {found.timescaledb} ({server.edition} edition), "
            f"{found.origin}: {found.bin_dir}"
        )
        yield server


@pytest.fixture(scope="session")
def pg_owner(pg_server: PostgresServer) -> Iterator[psycopg.Connection]:
    """A connection to no test's database, which makes and drops those."""
    with psycopg.connect(pg_server.dsn(), autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def edition(pg_server: PostgresServer) -> Literal["community", "apache"]:
    return pg_server.edition


@pytest.fixture(autouse=True)
def _community_only(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("community"):
        found = request.getfixturevalue("edition")
        if found != "community":
            pytest.skip(f"needs TimescaleDB's Community edition, and this server has the {found} edition")


@pytest.fixture(scope="session")
def telemetry_template(pg_server: PostgresServer) -> str:
    """Name of a database with the telemetry master schema, to clone from."""
    return _template(pg_server, "telemetry")


@pytest.fixture(scope="session")
def domain_template(pg_server: PostgresServer) -> str:
    """Name of a database with the domain master schema, to clone from."""
    return _template(pg_server, "domain")


@pytest.fixture
def telemetry_db(pg_server: PostgresServer, pg_owner: psycopg.Connection, telemetry_template: str) -> Iterator[str]:
    """DSN of a telemetry database of this test's own."""
    with cloned(pg_server, pg_owner, template=telemetry_template) as dsn:
        yield dsn


@pytest.fixture
def domain_db(pg_server: PostgresServer, pg_owner: psycopg.Connection, domain_template: str) -> Iterator[str]:
    """DSN of a domain database of this test's own."""
    with cloned(pg_server, pg_owner, template=domain_template) as dsn:
        yield dsn


@pytest.fixture
def empty_db(pg_server: PostgresServer, pg_owner: psycopg.Connection) -> Iterator[str]:
    """DSN of a database of this test's own with nothing in it."""
    with cloned(pg_server, pg_owner, template="template0") as dsn:
        yield dsn


@pytest.fixture
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MosquittoBroker]:
    """A running broker of this test's own; kill and restart it at will, it keeps its port."""
    folder = tmp_path_factory.mktemp("broker")
    with _removed_after(folder), MosquittoBroker(data_dir=folder, bound_to_parent=True) as running:
        yield running


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Call it for a free port of 127.0.0.1."""
    return _free_port


def _template(server: PostgresServer, database: Literal["domain", "telemetry"]) -> str:
    from cloud.schema.apply import apply

    return _kept(server, f"{database}_template", "template0", lambda dsn: apply(dsn, database=database))


def filled(server: PostgresServer, template: str, kind: str, fill: Callable[[psycopg.Connection], object]) -> str:
    """Name of a database like `template` in which `fill` was done, to clone from: what a thousand tests begin with."""

    def connected(dsn: str) -> None:
        with psycopg.connect(dsn, autocommit=True) as connection:
            fill(connection)

    return _kept(server, f"{kind}_template", template, connected)


def _kept(server: PostgresServer, name: str, template: str, fill: Callable[[str], object]) -> str:
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute(clone(name, template))
        fill(server.dsn(name))
        # Nobody may be connected to what is cloned, TimescaleDB's scheduler included; it stays away from these.
        connection.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name)))
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
    return name


def in_memory() -> Path | None:
    """A new folder in memory, where there is room for it.

    A database is a thousand files, and a file system on a disk spends more on making and removing them for each test
    than all that is then asked of PostgreSQL.
    """
    if not _MEMORY.is_dir() or shutil.disk_usage(_MEMORY).free < _ROOM_BYTES:
        return None
    for left in _MEMORY.glob(f"{_NAME}*"):
        # Of a run that was killed.
        if not Path("/proc", left.suffix.removeprefix(".")).exists():
            shutil.rmtree(left, ignore_errors=True)
    folder = _MEMORY / f"{_NAME}.{os.getpid()}"
    folder.mkdir(mode=0o755)
    return folder


def clone(name: str, template: str) -> sql.Composed:
    """The statement that makes a database like another; page by page, through the WAL, it would take twice as long."""
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
    return statement.format(sql.Identifier(name), sql.Identifier(template))


@contextmanager
def cloned(server: PostgresServer, owner: psycopg.Connection, *, template: str) -> Iterator[str]:
    """DSN of a clone of `template`, dropped in the end."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    owner.execute(clone(name, template))
    try:
        yield server.dsn(name)
    finally:
        owner.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def _removed_after(folder: Path) -> Iterator[None]:
    """Clusters are large, and pytest keeps the folders of several runs."""
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)
