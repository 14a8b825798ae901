"""How many people's screens one process of the API serves: latest values, against a FastAPI route with a constant."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import httpx
import psycopg

from bench.result import Result
from cloud.schema.apply import apply
from local.servers import PostgresServer, free_port

_CONNECTIONS = 4
_PASSWORD = "correct horse battery"
_METERS, _ASKED = 500, 100
_PEOPLE = """
INSERT INTO regions (region, name, timezone) VALUES ('north', 'North', 'UTC');
INSERT INTO meters (model) SELECT 'sdm630' FROM generate_series(1, {meters});
INSERT INTO meter_locations (meter_id, region, timezone) SELECT meter_id, 'north', 'UTC' FROM meters;
"""
_READINGS = """
INSERT INTO raw_readings (time, meter_id, batch_id, power_w, power_l1_w, power_l2_w, power_l3_w, voltage_l1_v,
                          voltage_l2_v, voltage_l3_v, current_l1_a, current_l2_a, current_l3_a, frequency_hz,
                          power_factor, energy_import_wh)
SELECT %(to)s - n * INTERVAL '15 minutes', m, 1, 1234.5, 411.5, 411.5, 411.5, 230.12, 229.87, 231.4, 1.79, 1.8, 1.78,
       49.98, 0.97, 10000000 + n
FROM generate_series(0, 7 * 96 - 2) AS n CROSS JOIN generate_series(1, %(meters)s) AS m
"""


def run(*, seconds: float, rounds: int, home: Path) -> Iterator[Result]:
    """Rounds take turns: the constant, then latest values of meters that are the caller's own."""
    with TemporaryDirectory(dir=home, prefix="bench-") as folder, _api(Path(folder)) as (port, token):
        requests = [
            _request(f"/api/v1/telemetry/meters/MTR-{meter:08}/latest", token) for meter in range(1, _ASKED + 1)
        ]
        answer = Path(folder) / "answer"
        one = httpx.get(
            f"http://127.0.0.1:{port}/api/v1/telemetry/meters/MTR-00000001/latest",
            headers={"authorization": f"Bearer {token}"},
            trust_env=False,
        )
        answer.write_bytes(one.raise_for_status().content)
        with _constant(answer) as constant:
            ours, peers = [], []
            _ask(2, port, requests)
            _ask(2, constant, [_request("/constant", token)])
            for _ in range(rounds):
                peers.append(_ask(seconds, constant, [_request("/constant", token)]))
                ours.append(_ask(seconds, port, requests))
    yield Result(
        name=f"api: latest values, {_CONNECTIONS} connections",
        unit="requests/s",
        figures=[one.per_second for one in ours],
        peer="a constant of the same size",
        peer_figures=[one.per_second for one in peers],
        at_least=0.5,
    )
    slowest = median(one.p99_ms for one in ours)
    yield Result.limit(f"api: latest values, {_CONNECTIONS} connections, p99", "ms", slowest, at_most=25)


@dataclass(frozen=True, slots=True)
class _Round:
    per_second: float
    p99_ms: float


def _ask(seconds: float, port: int, requests: Sequence[str]) -> _Round:
    asked = "\n".join([str(port), *map(json.dumps, requests)])
    command = [sys.executable, "-m", "bench.asker", str(seconds), str(_CONNECTIONS)]
    done = subprocess.run(command, input=asked, capture_output=True, text=True, timeout=seconds + 60, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    answered, took_s, p99_ms, _ = map(float, done.stdout.split())
    return _Round(answered / took_s, p99_ms)


def _request(path: str, token: str) -> str:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n"


@contextmanager
def _api(folder: Path) -> Iterator[tuple[int, str]]:
    """Port of an API on databases with a week of readings, and an access token of the meters' owner."""
    folder.chmod(0o755)
    with PostgresServer(data_dir=folder / "pg", settings={"max_wal_size": "4GB"}, bound_to_parent=True) as server:
        for name in ("domain", "telemetry"):
            with psycopg.connect(server.dsn(), autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        apply(server.dsn("domain"), "domain")
        apply(server.dsn("telemetry"), "telemetry")
        # Requests are counted as ever; whoever asks as fast as answers come would soon be told to wait.
        limit = {"SEGS_API_REQUESTS_PER_MINUTE": "10000000"}
        environment = {"SEGS_ENV": "development", "SEGS_KEYS": str(folder / "keys"), **limit}
        owner = {"SEGS_DOMAIN_DSN": server.dsn("domain"), "SEGS_TELEMETRY_DSN": server.dsn("telemetry")}
        with psycopg.connect(server.dsn("domain"), autocommit=True) as domain:
            domain.execute(_PEOPLE.format(meters=_METERS).encode())
            made = ["user", "create", "--email", "ada@example.org", "--name", "Ada", "--role", "USER"]
            subprocess.run(
                [sys.executable, "-m", "cloud", *made],
                env=os.environ | environment | owner,
                input=_PASSWORD + "\n",
                text=True,
                check=True,
                stdout=subprocess.DEVNULL,
            )
            domain.execute(
                "INSERT INTO meter_owners (meter_id, user_id, valid) SELECT m, u.user_id, '[-infinity, infinity)'"
                " FROM generate_series(1, %s) AS m CROSS JOIN users AS u",
                [_ASKED],
            )
            domain.execute("VACUUM ANALYZE")
        with psycopg.connect(server.dsn("telemetry"), autocommit=True) as telemetry:
            to = datetime.fromtimestamp(time.time() // 60 * 60, UTC) - timedelta(minutes=1)
            telemetry.execute(_READINGS, {"to": to, "meters": _METERS})
            telemetry.execute("VACUUM ANALYZE")
            telemetry.execute("CHECKPOINT")
        api = {
            "SEGS_DOMAIN_DSN": server.dsn("domain", "segs_api"),
            "SEGS_TELEMETRY_DSN": server.dsn("telemetry", "segs_api"),
        }
        port = free_port()
        with _running(["cloud", "api", "--port", str(port)], environment | api, f"http://127.0.0.1:{port}/readyz"):
            login = httpx.post(
                f"http://127.0.0.1:{port}/api/v1/auth/login",
                json={"email": "ada@example.org", "password": _PASSWORD},
                trust_env=False,
            )
            yield port, login.raise_for_status().json()["data"]["access_token"]


@contextmanager
def _constant(answer: Path) -> Iterator[int]:
    port = free_port()
    with _running(["bench.constant", str(port), str(answer)], {}, f"http://127.0.0.1:{port}/constant"):
        yield port


@contextmanager
def _running(module: Sequence[str], environment: Mapping[str, str], url: str) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-m", *module], env=os.environ | environment, stderr=subprocess.DEVNULL)
    try:
        deadline_s = time.monotonic() + 30
        while True:
            try:
                if httpx.get(url, trust_env=False).is_success:
                    break
            except httpx.TransportError:
                pass
            if time.monotonic() > deadline_s or process.poll() is not None:
                raise RuntimeError(f"{module[0]} does not answer")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(timeout=20)
