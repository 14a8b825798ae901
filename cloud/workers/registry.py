"""Copies the domain database's registry to the telemetry database, where somebody changed it behind the commands."""

import asyncio
from datetime import datetime

import psycopg
from psycopg import AsyncConnection

from cloud.gateways.registry_copy import copy_registry
from cloud.workers.loop import Work


def works(*, domain_dsn: str, telemetry_dsn: str) -> list[Work]:
    """One kind of work. An absent domain database delays this, and nothing else."""

    def copy() -> bool:
        with psycopg.connect(domain_dsn) as domain, psycopg.connect(telemetry_dsn) as telemetry:
            return copy_registry(domain, telemetry)

    async def step(_: AsyncConnection, __: datetime) -> bool:
        await asyncio.to_thread(copy)
        return False

    return [Work(name="registry", step=step, pause_s=10)]
