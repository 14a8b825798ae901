"""A receiver on a real database, spoken to over real HTTP."""

import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import httpx
import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from cloud.app import build
from cloud.gateways.key import Key
from cloud.ingest.acceptance import Acceptance
from cloud.ingest.admission import Admission
from cloud.ingest.receiver import Limits, Receiver
from contract.batch import Batch, DeviceBlock
from contract.codec import JSON, MSGPACK, compress, encode
from tests import commands

SegsCloud = Callable[..., subprocess.CompletedProcess[str]]
STREAM = "0b9d3f0e-6a52-4e0c-9c39-3f1f7f6f2a11"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NOW_US = int(NOW.timestamp()) * 1_000_000


@dataclass
class Cloud:
    """One gateway with one registered device `main` (meter 1), and an HTTP client that carries its key."""

    dsn: str
    key: Key
    client: httpx.AsyncClient
    receiver: Receiver
    now: list[datetime] = field(default_factory=lambda: [NOW])

    async def send(self, batch: Batch, **headers: str) -> httpx.Response:
        return await self.post(compress(encode(batch, MSGPACK), "zstd"), **headers)

    async def post(self, body: bytes, **headers: str) -> httpx.Response:
        wanted = {"content-type": MSGPACK, "content-encoding": "zstd", "authorization": f"Bearer {self.key.text}"}
        changed = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.post("/ingest/v1/batches", content=body, headers=wanted | changed)

    async def get(self, path: str) -> httpx.Response:
        return await self.client.get(path, headers={"authorization": f"Bearer {self.key.text}"})

    async def report(self, body: bytes, **headers: str) -> httpx.Response:
        wanted = {"content-type": JSON, "authorization": f"Bearer {self.key.text}"}
        changed = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.put("/ingest/v1/report", content=body, headers=wanted | changed)

    def rows(self, query: str, *parameters: object) -> list[tuple[object, ...]]:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            return connection.execute(query, parameters).fetchall()

    def do(self, statement: str, *parameters: object) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(statement, parameters)


def batch(seq: int = 1, *, device: str = "main", rows: int = 3, first_us: int = NOW_US, **values: list[float]) -> Batch:
    """Readings one second apart."""
    columns = values or {"power_w": [float(n) for n in range(rows)], "energy_import_wh": list(range(1000, 1000 + rows))}
    count = len(next(iter(columns.values())))
    block = DeviceBlock(device=device, time_us=[first_us + n * 1_000_000 for n in range(count)], values=columns)
    return Batch(version=1, stream=STREAM, seq=seq, devices=[block])


def register(dsn: str, key: Key) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("INSERT INTO gateway_registry VALUES (1, 'attic', %s)", [[key.digest]])
        connection.execute("INSERT INTO region_registry VALUES ('north', 1e6)")
        register_device(connection, "main", 1)


def register_device(connection: psycopg.Connection, device: str, meter_id: int) -> None:
    connection.execute(
        "INSERT INTO device_registry (gateway_id, device, meter_id, meter_code, region, timezone, interval_ms)"
        " VALUES (1, %s, %s, %s, 'north', 'UTC', 1000)",
        [device, meter_id, f"MTR-{meter_id:08}"],
    )


@pytest.fixture
def limits() -> Limits:
    """Small ones; a test that wants others is parametrized with them."""
    return Limits(body_bytes=200_000, decompressed_bytes=400_000, readings=10_000, columns=9_000, body_timeout_s=1)


@pytest.fixture
async def cloud(telemetry_db: str, limits: Limits) -> AsyncIterator[Cloud]:
    key = Key.generate()
    register(telemetry_db, key)
    now = [NOW]
    async with AsyncConnectionPool(telemetry_db, min_size=1, max_size=4, open=False, timeout=2) as pool:
        receiver = Receiver(
            pool=pool,
            admission=Admission(in_flight=4, per_gateway=2),
            clock=lambda: now[0],
            limits=limits,
            acceptance=Acceptance(past=timedelta(days=7), future=timedelta(minutes=5)),
        )

        async def ready() -> str | None:
            return None

        transport = httpx.ASGITransport(build(receiver=receiver, ready=ready))
        async with httpx.AsyncClient(transport=transport, base_url="http://cloud") as client:
            yield Cloud(telemetry_db, key, client, receiver, now)


@pytest.fixture
def segs_cloud(domain_db: str, telemetry_db: str, monkeypatch: pytest.MonkeyPatch) -> SegsCloud:
    """Runs segs-cloud on databases of this test's own."""
    monkeypatch.setenv("SEGS_DOMAIN_DSN", domain_db)
    monkeypatch.setenv("SEGS_TELEMETRY_DSN", telemetry_db)
    return commands.segs_cloud
