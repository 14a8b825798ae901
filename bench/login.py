"""A login over HTTP, against the bare comparison of a password that it cannot do without."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import httpx
import psycopg
from argon2 import PasswordHasher

from bench.result import Result
from cloud.schema.apply import apply
from local.servers import PostgresServer, free_port

_PASSWORD = "correct horse battery"
# The parameters of cloud.identity.passwords.
_HASHER = PasswordHasher(time_cost=2, memory_cost=47_104, parallelism=1)
_PEOPLE = 50


def run(*, logins: int, rounds: int, home: Path) -> Result:
    """`logins` of each kind in a round, one after the other; figures are medians of a round, ms."""
    hashed = _HASHER.hash(_PASSWORD)
    figures, peers = [], []
    with TemporaryDirectory(dir=home, prefix="bench-") as folder, _api(Path(folder), hashed) as url:
        turns = count()
        with httpx.Client(base_url=url, trust_env=False, timeout=20) as client:

            def log_in() -> None:
                # Limits count for what a proxy says: an address of its own each time.
                n = next(turns)
                headers = {"x-forwarded-for": f"10.0.{n // 250}.{n % 250}"}
                body = {"email": f"p{n % _PEOPLE}@example.net", "password": _PASSWORD}
                client.post("/api/v1/auth/login", json=body, headers=headers).raise_for_status()

            _median_ms(log_in, 10)
            for _ in range(rounds):
                figures.append(_median_ms(log_in, logins))
                peers.append(_median_ms(lambda: _HASHER.verify(hashed, _PASSWORD), logins))
    return Result(
        name="login: a right password over HTTP",
        unit="ms",
        figures=figures,
        peer="argon2id alone",
        peer_figures=peers,
        at_most=1.25,
    )


def _median_ms(work: Callable[[], object], times: int) -> float:
    took = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        took.append(1000 * (time.perf_counter() - began))
    return median(took)


@contextmanager
def _api(folder: Path, hashed: str) -> Iterator[str]:
    """URL of one process of the API, whose people all have the same password."""
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
        }
        port = free_port()
        command = [sys.executable, "-m", "cloud", "api", "--port", str(port)]
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(command, env=environment, stderr=log)
        try:
            url = f"http://127.0.0.1:{port}"
            _await(f"{url}/readyz", process)
            yield url
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
