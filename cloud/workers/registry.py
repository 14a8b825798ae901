"""Copies the domain database's registry to the telemetry database, where somebody changed it behind the commands."""

import asyncio
from datetime import datetime

import psycopg
from psycopg import AsyncConnection

from cloud.registry_copy import PAUSE_S, copy_registry
from cloud.workers.loop import Work

# A thread cannot be cancelled: without a bound, a database that does not answer would hold up the process's end.
_TIMEOUT_S = 8


def _connect(dsn: str) -> psycopg.Connection:
    return psycopg.connect(
        dsn,
        connect_timeout=_TIMEOUT_S,
        tcp_user_timeout=_TIMEOUT_S * 1000,
        application_name="segs-worker",
        options=f"-c statement_timeout={_TIMEOUT_S * 1000}",
    )


def works(*, domain_dsn: str, telemetry_dsn: str) -> list[Work]:
    """One kind of work. An absent domain database delays this, and nothing else."""

    def copy() -> bool:
        with _connect(domain_dsn) as domain, _connect(telemetry_dsn) as telemetry:
            return copy_registry(domain, telemetry)

    async def step(_: AsyncConnection, __: datetime) -> bool:
        await asyncio.to_thread(copy)
        return False

    return [Work(name="registry", step=step, pause_s=PAUSE_S)]
