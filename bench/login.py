"""A login over HTTP, against the bare comparison of a password that it cannot do without."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import httpx
import psycopg
from argon2 import PasswordHasher

from bench.result import Result
from bench.usage import Usage
from cloud.schema.apply import apply
from local.servers import PostgresServer, free_port

_PASSWORD = "correct horse battery"
# The parameters of cloud.identity.passwords.
_HASHER = PasswordHasher(time_cost=2, memory_cost=47_104, parallelism=1)
_PEOPLE = 50
_WRONG, _GUESSING = 1000, 100


def run(*, logins: int, rounds: int, home: Path) -> list[Result]:
    """`logins` in a round, each followed by a bare comparison; figures are of a round: the median by the clock, and the
    CPU of the API, for one login. ms."""
    hashed = _HASHER.hash(_PASSWORD)
    clock, clock_alone, cpu, cpu_alone = [], [], [], []
    with (
        TemporaryDirectory(dir=home, prefix="bench-") as folder,
        _api(Path(folder), hashed) as (url, pid),
        httpx.Client(base_url=url, trust_env=False, timeout=20) as client,
    ):
        turns, usage = count(), Usage(pid)

        def log_in() -> None:
            # Limits count for what a proxy says: an address of its own each time.
            n = next(turns)
            headers = {"x-forwarded-for": f"10.0.{n // 250}.{n % 250}"}
            body = {"email": f"p{n % _PEOPLE}@example.net", "password": _PASSWORD}
            client.post("/api/v1/auth/login", json=body, headers=headers).raise_for_status()

        for _ in range(10):
            log_in()
        for _ in range(rounds):
            took, alone, alone_cpu_s = [], [], 0.0
            usage.reset()
            for _ in range(logins):
                took.append(_took_ms(log_in))
                before_s = time.process_time()
                alone.append(_took_ms(lambda: _HASHER.verify(hashed, _PASSWORD)))
                alone_cpu_s += time.process_time() - before_s
            clock.append(median(took))
            clock_alone.append(median(alone))
            usage.look()
            cpu.append(1000 * usage.cpu_s / logins)
            cpu_alone.append(1000 * alone_cpu_s / logins)
        # Once: their answers are held back, so that a thousand take their time.
        beside = [_beside(url, log_in)]
    results = [
        Result(
            name=f"login: a right password over HTTP, {how}",
            unit="ms",
            figures=ours,
            peer="argon2id alone",
            peer_figures=theirs,
            at_most=1.25,
        )
        for how, ours, theirs in (("by the clock", clock, clock_alone), ("CPU of the API", cpu, cpu_alone))
    ]
    results.append(
        Result(
            name=f"login: a right password, beside {_WRONG} wrong ones of another address",
            unit="ms",
            figures=[under for _, under in beside],
            peer="the same alone",
            peer_figures=[alone for alone, _ in beside],
        )
    )
    return results


def _beside(url: str, log_in: Callable[[], object]) -> tuple[float, float]:
    """Median of logins alone, and of those while somebody else fails to log in `_WRONG` times. ms."""
    alone = median(_took_ms(log_in) for _ in range(15))
    under: list[float] = []
    with ThreadPoolExecutor(_GUESSING) as pool:
        guessing = [pool.submit(_guess, url, first, _WRONG // _GUESSING) for first in range(_GUESSING)]
        while not all(guess.done() for guess in guessing):
            under.append(_took_ms(log_in))
        for guess in guessing:
            guess.result()
    return alone, median(under)


def _guess(url: str, first: int, times: int) -> None:
    """At one account after another, so that none of them is locked for strangers."""
    place = urlsplit(url)
    with closing(HTTPConnection(place.hostname or "", place.port, timeout=20)) as connection:
        for n in range(first, first + times):
            body = json.dumps({"email": f"p{n % _PEOPLE}@example.net", "password": "wrong"})
            headers = {"content-type": "application/json", "x-forwarded-for": "192.0.2.1"}
            connection.request("POST", "/api/v1/auth/login", body, headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status not in {401, 429, 503}:
                raise RuntimeError(f"a wrong password was answered with {answer.status}")


def _took_ms(work: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began_s)


@contextmanager
def _api(folder: Path, hashed: str) -> Iterator[tuple[str, int]]:
    """URL and pid of one process of the API, whose people all have the same password."""
    folder.chmod(0o755)
    server = PostgresServer(data_dir=folder / "pg", settings={}, bound_to_parent=True)
    with server:
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            for name in ("domain", "telemetry"):
                connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        apply(server.dsn("domain"), "domain")
        apply(server.dsn("telemetry"), "telemetry")
        with psycopg.connect(server.dsn("domain")) as connection:
            connection.execute(
                "SELECT user_create('p' || n || '@example.net', 'P', NULL, NULL, 'USER', %s, '{}', now())"
                " FROM generate_series(0, %s) AS n",
                [hashed, _PEOPLE - 1],
            )
        environment = os.environ | {
            "SEGS_DOMAIN_DSN": server.dsn("domain", "segs_api"),
            "SEGS_TELEMETRY_DSN": server.dsn("telemetry", "segs_api"),
            "SEGS_ENV": "development",
            "SEGS_KEYS": str(folder / "keys"),
            "SEGS_TRUSTED_PROXIES": "127.0.0.1",
        }
        port = free_port()
        command = [sys.executable, "-m", "cloud", "api", "--port", str(port)]
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(command, env=environment, stderr=log)
        try:
            url = f"http://127.0.0.1:{port}"
            _await(f"{url}/readyz", process)
            yield url, process.pid
        finally:
            process.terminate()
            process.wait(timeout=20)


def _await(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(url, trust_env=False).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise RuntimeError("the API does not answer")
