"""The API as a process whose databases are away, hang or restart, whose keys go, and whose clients never end."""

import asyncio
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import psycopg
import pytest

from cloud.api.database import Databases
from cloud.db.pool import make_pool
from cloud.schema.apply import apply
from local.servers import PostgresServer, free_port
from tests.integration.api.conftest import PASSWORD, Api, Person, await_ready, start
from tests.sql.people import SEED

ME = "/api/v1/users/me"
LATEST = "/api/v1/telemetry/meters/{}/latest"


@dataclass
class Cloud:
    """An API whose databases are on servers of their own, and somebody who is logged in and has a meter."""

    domain: PostgresServer
    telemetry: PostgresServer
    api: Api
    person: Person
    latest: str

    def get(self, path: str, *, timeout: float = 30) -> httpx.Response:
        """By a connection of its own."""
        headers = {"authorization": f"Bearer {self.person.token}"}
        return httpx.get(self.api.url + path, headers=headers, trust_env=False, timeout=timeout)

    def timed(self, path: str) -> tuple[int, float]:
        """Status, and how long it took, s. What is 503 says when to come again."""
        began = time.monotonic()
        answer = self.get(path)
        if answer.status_code == 503:
            assert 1 <= int(answer.headers["retry-after"]) <= 5
            assert answer.headers["content-type"] == "application/problem+json"
        return answer.status_code, time.monotonic() - began

    def missing(self) -> set[str]:
        """What /readyz says is missing."""
        answer = self.get("/readyz")
        assert answer.status_code in (200, 503)
        return {error["where"] for error in answer.json().get("errors", [])}

    def healthy(self) -> bool:
        return not self.missing() and self.get(ME).status_code == 200 and self.get(self.latest).status_code == 200


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    folder = tmp_path_factory.mktemp("api")
    with (
        PostgresServer(data_dir=tmp_path_factory.mktemp("domain"), bound_to_parent=True) as domain,
        PostgresServer(data_dir=tmp_path_factory.mktemp("telemetry"), bound_to_parent=True) as telemetry,
    ):
        apply(domain.dsn(), "domain")
        apply(telemetry.dsn(), "telemetry")
        environment = {
            "SEGS_DOMAIN_DSN": domain.dsn(user="segs_api"),
            "SEGS_TELEMETRY_DSN": telemetry.dsn(user="segs_api"),
            "SEGS_ENV": "development",
            "SEGS_KEYS": str(folder / "keys"),
        }
        with psycopg.connect(domain.dsn(), autocommit=True) as connection:
            connection.execute(SEED)
        port, log = free_port(), folder / "log"
        process = start(environment, log, port)
        try:
            await_ready(f"http://127.0.0.1:{port}", process, log)
            api = Api(f"http://127.0.0.1:{port}", domain.dsn(), telemetry.dsn(), environment, process, log)
            with closing(api):
                told = ("user", "create", "--email", "hash@example.net", "--name", "H")
                assert api.segs_cloud(*told, typed=PASSWORD + "\n").returncode == 0
                person = api.person()
                yield Cloud(domain, telemetry, api, person, LATEST.format(person.meter()))
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def cloud(running: Cloud) -> Cloud:
    """Healthy, whatever the test before did."""
    running.domain.start()
    running.telemetry.start()
    # Connections to a server that was killed are of no use to this test.
    running.api.close_owners()
    assert within(30, running.healthy)
    return running


@contextmanager
def frozen(server: PostgresServer) -> Iterator[None]:
    """SIGSTOP for all of a server, the parent first: it takes connections and bytes, and answers nothing."""
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    pids = [server.pid, *map(int, children)]
    for pid in pids[1:]:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in reversed(pids):
            os.kill(pid, signal.SIGCONT)


@contextmanager
def locked(cloud: Cloud, table: str = "users") -> Iterator[psycopg.Connection]:
    with psycopg.connect(cloud.domain.dsn()) as blocker:
        blocker.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield blocker


@pytest.mark.long
def test_without_the_domain_database_every_answer_comes_soon_and_says_when_to_come_again(cloud: Cloud) -> None:
    """C13: health stays green after the database is gone. D16: every downstream error becomes 500."""
    cloud.domain.kill()
    login = {"email": cloud.person.email, "password": PASSWORD}

    for status, seconds in (cloud.timed(ME), cloud.timed(cloud.latest)):
        assert (status, seconds < 6) == (503, True)
    refused = cloud.api.post("/auth/login", login)
    assert (refused.status_code, refused.json()["type"]) == (503, "urn:segs:problem:unavailable")
    assert cloud.missing() == {"domain"}
    assert [cloud.get(path).status_code for path in ("/livez", "/metrics", "/api/v1/openapi.json")] == [200] * 3

    cloud.domain.start()
    assert within(10, cloud.healthy)


def test_without_the_telemetry_database_all_that_needs_the_domain_only_works(cloud: Cloud) -> None:
    cloud.telemetry.kill()

    # What was told last is told again while it is not half a second old.
    time.sleep(0.6)
    status, seconds = cloud.timed(cloud.latest)
    assert (status, seconds < 6) == (503, True)
    with ThreadPoolExecutor(30) as pool:
        waiting = [pool.submit(cloud.timed, cloud.latest) for _ in range(20)]
        near = [cloud.timed(path) for path in (ME, "/api/v1/meters") * 3]
        far = [each.result() for each in waiting]
    assert {status for status, _ in near} == {200}
    assert max(seconds for _, seconds in near) < 2
    assert {status for status, _ in far} == {503}
    assert cloud.missing() == {"telemetry"}
    text = cloud.get("/metrics").text
    assert 'segs_api_database_failures_total{database="telemetry",why="away"}' in text


@pytest.mark.long
def test_newest_values_of_a_database_that_hangs_end_in_time_for_all_who_ask(cloud: Cloud) -> None:
    """They share few connections: nobody may wait behind all the others who wait."""
    assert cloud.timed(cloud.latest)[0] == 200
    with frozen(cloud.telemetry), ThreadPoolExecutor(60) as pool:
        # What was told last is told again while it is not half a second old.
        time.sleep(0.6)
        rounds = [list(pool.map(cloud.timed, [cloud.latest] * 60)) for _ in range(2)]
    text = cloud.get("/metrics").text

    for answers, seconds in zip(rounds, (10, 8), strict=True):
        assert {status for status, _ in answers} == {503}
        assert max(took for _, took in answers) < seconds
    for why in ("failed", "away"):
        [line] = [line for line in text.splitlines() if f'failures_total{{database="telemetry",why="{why}"}}' in line]
        assert float(line.split()[-1]) > 0
    [asked] = [line for line in text.splitlines() if 'question_seconds_count{database="telemetry"}' in line]
    assert float(asked.split()[-1]) >= 120
    assert within(15, cloud.healthy)


def test_it_starts_without_databases_and_finds_them_once_they_are_there(cloud: Cloud, tmp_path: Path) -> None:
    cloud.domain.kill()
    cloud.telemetry.kill()
    port, log = free_port(), tmp_path / "log"
    process = start(cloud.api.environment, log, port)
    url = f"http://127.0.0.1:{port}"
    try:
        assert within(20, lambda: _status(f"{url}/livez") == 200)
        answer = httpx.get(f"{url}/readyz", trust_env=False, timeout=20)
        assert {error["where"] for error in answer.json()["errors"]} == {"domain", "telemetry"}
        assert _status(f"{url}/metrics") == 200
        cloud.domain.start()
        cloud.telemetry.start()
        assert within(15, lambda: _status(f"{url}/readyz") == 200)
    finally:
        process.terminate()
        assert process.wait(timeout=20) == 0


def _status(url: str) -> int:
    try:
        return httpx.get(url, trust_env=False, timeout=20).status_code
    except httpx.TransportError:
        return 0


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_restart_of_postgresql_costs_some_503_and_nothing_else(cloud: Cloud, how: str) -> None:
    """D16, and C13: a pool is left with dead connections."""
    stop, seen = threading.Event(), list[int]()

    def ask() -> None:
        while not stop.is_set():
            seen.append(cloud.get(ME).status_code)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    getattr(cloud.domain, how)()
    time.sleep(1)
    cloud.domain.start()
    back = within(10, cloud.healthy)
    stop.set()
    for thread in threads:
        thread.join()

    assert back
    assert set(seen) <= {200, 503}
    assert [cloud.get(ME).status_code for _ in range(10)] == [200] * 10


def test_a_backend_that_dies_within_a_request_is_no_fault_of_the_service(cloud: Cloud) -> None:
    with ThreadPoolExecutor(1) as pool, locked(cloud) as blocker:
        waiting = pool.submit(cloud.timed, ME)
        time.sleep(0.7)
        blocker.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'segs_api' AND state = 'active'"
        )
        status, seconds = waiting.result()
    assert (status, seconds < 6) == (503, True)


@pytest.mark.long
def test_a_statement_that_waits_for_a_lock_ends_in_time(cloud: Cloud) -> None:
    with locked(cloud):
        status, seconds = cloud.timed(ME)
    assert (status, 9 < seconds < 12) == (503, True)
    assert cloud.get(ME).status_code == 200


def test_a_database_that_hangs_holds_nobody_for_ever_and_nothing_else_up(cloud: Cloud) -> None:
    """Its own time-outs do not hold then, and a query that is cancelled is waited for."""
    with ThreadPoolExecutor(1) as pool, locked(cloud):
        under_way = pool.submit(cloud.timed, ME)
        time.sleep(0.7)
        with frozen(cloud.domain):
            for status, seconds in (cloud.timed(ME), cloud.timed(ME)):
                assert (status, seconds < 6) == (503, True)
            began = time.monotonic()
            assert cloud.missing() == {"domain"}
            assert time.monotonic() - began < 5
            assert cloud.timed("/livez")[1] < 0.5
            status, seconds = under_way.result()
            assert (status, seconds < 15) == (503, True)
    assert within(15, cloud.healthy)


@pytest.mark.long
def test_questions_under_way_of_a_telemetry_database_that_hangs_end_in_time(cloud: Cloud) -> None:
    asks = replace(cloud, person=cloud.api.person("OPERATOR", "north"))
    meter, span = cloud.latest.removesuffix("/latest"), "from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z"
    paths = [
        f"{meter}/history?{span}&resolution=15m",
        f"{meter}/export?{span}&format=csv",
        "/api/v1/telemetry/regions/north/statistics",
    ]
    assert [asks.timed(path)[0] for path in paths] == [200] * 3
    with psycopg.connect(cloud.telemetry.dsn()) as blocker, ThreadPoolExecutor(3) as pool:
        tables = "SELECT string_agg(oid::regclass::text, ', ') FROM pg_class WHERE relkind = 'r' AND relnamespace = %s"
        [names] = blocker.execute(tables + "::regnamespace", ["public"]).fetchall()[0]
        blocker.execute(f"LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE")
        under_way = [pool.submit(asks.timed, path) for path in paths]
        waiting = "SELECT count(DISTINCT pid) >= 3 FROM pg_locks WHERE NOT granted"
        assert within(10, lambda: blocker.execute(waiting).fetchone() == (True,))
        with frozen(cloud.telemetry):
            for status, seconds in (each.result() for each in under_way):
                assert (status, seconds < 15) == (503, True)
    assert within(15, cloud.healthy)


@pytest.mark.long
async def test_savepoints_of_a_database_that_hangs_end_in_time(cloud: Cloud) -> None:
    """Where one begins and where one ends."""
    together = asyncio.Barrier(3)

    async def ask(databases: Databases, *, inside: bool) -> None:
        async with databases.outside("attempt") as transaction, AsyncExitStack() as attempt:
            if inside:
                await attempt.enter_async_context(transaction.attempt())
            await together.wait()
            await together.wait()
            if not inside:
                await attempt.enter_async_context(transaction.attempt())

    async with make_pool(cloud.domain.dsn(user="segs_api"), name="savepoints", size=2) as pool:
        databases = Databases(domain=pool, telemetry=pool)
        tasks = [asyncio.create_task(ask(databases, inside=inside)) for inside in (False, True)]
        await together.wait()
        with frozen(cloud.domain):
            await together.wait()
            ended, late = await asyncio.wait(tasks, timeout=15)
        await asyncio.gather(*late, return_exceptions=True)
    assert [type(task.exception()) for task in ended] == [psycopg.OperationalError] * 2


@pytest.mark.long
def test_what_a_database_has_no_room_for_is_turned_away_and_does_not_pile_up(cloud: Cloud) -> None:
    """E24: more than 200 that wait for a connection are told so at once."""
    headers = {"authorization": f"Bearer {cloud.person.token}"}
    many = httpx.Limits(max_connections=300)
    with (
        httpx.Client(base_url=cloud.api.url, headers=headers, trust_env=False, timeout=30, limits=many) as client,
        locked(cloud),
        ThreadPoolExecutor(300) as pool,
    ):
        answers = list(pool.map(lambda _: client.get(ME), range(300)))

    assert {answer.status_code for answer in answers} == {503}
    assert max(answer.elapsed.total_seconds() for answer in answers) < 20
    counted = 'segs_api_database_failures_total{database="domain",why="full"}'
    [full] = [line for line in cloud.get("/metrics").text.splitlines() if line.startswith(counted)]
    assert float(full.split()[-1]) > 50
    assert within(10, cloud.healthy)


def test_without_its_keys_it_is_not_ready_and_with_them_it_is_again(cloud: Cloud) -> None:
    keys = Path(cloud.api.environment["SEGS_KEYS"])
    shutil.move(keys, keys.with_name("away"))
    try:
        assert cloud.missing() == {"keys"}
        assert cloud.timed(ME)[0] == 503
        assert cloud.get("/metrics").status_code == 200
    finally:
        shutil.move(keys.with_name("away"), keys)
    assert cloud.healthy()


def test_a_schema_of_another_release_is_named(cloud: Cloud) -> None:
    cloud.api.do("INSERT INTO schema_version (version, master) VALUES (999, 'domain')")
    try:
        assert cloud.missing() == {"domain"}
        assert "999" in cloud.get("/readyz").json()["detail"]
    finally:
        cloud.api.do("DELETE FROM schema_version WHERE version = 999")


def test_a_stop_finishes_what_is_under_way(cloud: Cloud, tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    process = start(cloud.api.environment, log, port)
    url = f"http://127.0.0.1:{port}"
    await_ready(url, process, log)
    headers = {"authorization": f"Bearer {cloud.person.token}"}
    with ThreadPoolExecutor(1) as pool:
        with locked(cloud):
            waiting = pool.submit(httpx.get, url + ME, headers=headers, trust_env=False, timeout=20)
            time.sleep(0.7)
            process.terminate()
            time.sleep(0.7)
        assert waiting.result().status_code == 200
    assert process.wait(timeout=20) == 0


@pytest.mark.long
def test_a_stop_ends_in_time_while_the_database_hangs(cloud: Cloud, tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    process = start(cloud.api.environment, log, port)
    url = f"http://127.0.0.1:{port}"
    await_ready(url, process, log)
    headers = {"authorization": f"Bearer {cloud.person.token}"}
    with ThreadPoolExecutor(1) as pool, locked(cloud):
        waiting = pool.submit(_status_of, url + ME, headers)
        time.sleep(0.7)
        with frozen(cloud.domain):
            began = time.monotonic()
            process.terminate()
            assert process.wait(timeout=40) == 0
            assert time.monotonic() - began < 30
        assert waiting.result() in (0, 503)


def _status_of(url: str, headers: dict[str, str]) -> int:
    try:
        return httpx.get(url, headers=headers, trust_env=False, timeout=40).status_code
    except httpx.TransportError:
        return 0


HEAD = "POST /api/v1/auth/register HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n"


def _connect(cloud: Cloud) -> socket.socket:
    host, port = cloud.api.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=20)


@pytest.mark.long
def test_bodies_that_come_byte_by_byte_are_given_up(cloud: Cloud) -> None:
    """E30: each holds a connection, and there are two thousand."""
    with ExitStack() as stack:
        clients = [stack.enter_context(_connect(cloud)) for _ in range(50)]
        for one in clients:
            one.sendall(HEAD.format(1000).encode() + b"{")
        began = time.monotonic()
        assert cloud.get(ME).status_code == 200
        for _ in range(3):
            time.sleep(1)
            for one in clients:
                one.sendall(b" ")

        said = [_answer(one) for one in clients]

        assert all(b" 408 " in each and b"urn:segs:problem:too-slow" in each for each in said)
        assert 8 < time.monotonic() - began < 15


def _answer(client: socket.socket) -> bytes:
    """Head and body."""
    said = b""
    while b"}" not in said and (more := client.recv(4096)):
        said += more
    return said


def test_a_body_without_end_is_refused_at_its_size_and_takes_no_memory(cloud: Cloud) -> None:
    """E30."""
    before = _resident_mib(cloud.api.process.pid)
    with ExitStack() as stack:
        clients = [stack.enter_context(_connect(cloud)) for _ in range(40)]
        for one in clients:
            one.sendall(HEAD.format(2**30).encode() + b" " * 2**17)
        said = [one.recv(4096) for one in clients]

    assert all(b" 413 " in each for each in said)
    assert _resident_mib(cloud.api.process.pid) - before < 60
    assert cloud.get(ME).status_code == 200


def _resident_mib(pid: int) -> float:
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


@pytest.mark.long
def test_an_answer_that_nobody_takes_is_not_kept_for_ever(cloud: Cloud) -> None:
    """A client that reads nothing held its connection, and with it what the answer was made from."""
    asked = b"GET /api/v1/openapi.json HTTP/1.1\r\nhost: x\r\n\r\n" * 2000
    with _connect(cloud) as client:
        client.settimeout(1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with suppress(TimeoutError):
            client.sendall(asked)

        assert within(45, lambda: _cut(cloud, "stalled") == 1)
    assert cloud.get(ME).status_code == 200


def _cut(cloud: Cloud, why: str) -> float:
    text = cloud.get("/metrics").text
    [line] = [line for line in text.splitlines() if line.startswith(f'segs_http_connections_cut_total{{why="{why}"}}')]
    return float(line.split()[-1])
