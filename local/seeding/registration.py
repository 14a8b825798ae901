"""Regions, people, prices, the gateway, its meters and whose they are: in the domain database all, or nothing."""

import asyncio
import json
from collections.abc import Mapping
from datetime import datetime

import psycopg

from cloud.db.queries import Queries
from cloud.gateways.key import Key
from cloud.identity.passwords import Passwords, require_strong
from cloud.tariffs.load import validate
from cloud.tariffs.normal import settled
from local.seeding.folder import GATEWAY
from local.seeding.plan import INTERVAL_MS, PEOPLE, REGIONS, Meter
from local.seeding.prices import code_of, tariffs

ACTOR = "segs seed"
_QUERIES, _GATEWAY_QUERIES = Queries("seeding"), Queries("gateway")
_MAX_POWER_W = 25_000


def register(
    dsn: str, *, meters: list[Meter], passwords: Mapping[str, str], key: Key, begin: datetime, now: datetime
) -> None:
    """`passwords` by address; prices hold from `begin` on. Raises psycopg's errors, with nothing registered."""
    hashes = asyncio.run(_hashes(passwords))
    with psycopg.connect(dsn) as domain:
        domain.execute(_QUERIES["actor"], {"actor": ACTOR})
        for region in REGIONS:
            place: dict[str, object] = {"region": region.region, "name": region.name, "timezone": region.timezone}
            domain.execute(_QUERIES["region"], {**place, "capacity_w": region.capacity_w, "now": now})
        users = {}
        for one in PEOPLE:
            what = {"email": one.email, "name": one.name, "region": one.region, "role": one.role}
            regions = [one.region] if one.role == "OPERATOR" else []
            users[one.email] = _one(
                domain, "person", {**what, "regions": regions, "password_hash": hashes[one.email], "now": now}
            )
        domain.execute(_GATEWAY_QUERIES["gateway_add"], {"name": GATEWAY, "key_hash": key.digest, "now": now})
        for tariff, region, document in tariffs():
            found = json.dumps(settled(validate(document)))
            priced = {"code": tariff, "document": found, "region": region.region, "from": begin, "now": now}
            domain.execute(_QUERIES["tariff"], priced)
        for meter in meters:
            code = _add(domain, meter, users, now)
            billed = {"code": code, "tariff": code_of(meter.region, meter.kind), "from": begin, "now": now}
            domain.execute(_QUERIES["assign"], billed)


def _add(domain: psycopg.Connection, meter: Meter, users: Mapping[str, object], now: datetime) -> str:
    device = {
        "name": GATEWAY,
        "device": meter.device,
        "region": meter.region.region,
        "timezone": None,
        "model": meter.model,
        "serial": serial(meter.device),
        "interval_ms": INTERVAL_MS,
        "max_power_w": _MAX_POWER_W,
        "meter_code": None,
    }
    row = domain.execute(_GATEWAY_QUERIES["device_register"], {**device, "now": now}).fetchone()
    assert row is not None
    _, code = row
    for since, owner in meter.owners:
        domain.execute(_QUERIES["give"], {"code": code, "user_id": users[owner.email], "from": since, "now": now})
    if meter.exchange is not None:
        told = {
            "code": code,
            "at": meter.exchange.at,
            "serial": f"{serial(meter.device)}-new",
            "final_import_wh": meter.exchange.final_wh,
            "first_import_wh": meter.exchange.first_wh,
        }
        domain.execute(_QUERIES["exchange"], told)
    return str(code)


def serial(device: str) -> str:
    """On the plate of the meter of a device."""
    return f"demo-{device}"


def end(dsn: str, *, now: datetime) -> None:
    """Nothing more is expected of the history's meters; they stay whose they are."""
    with psycopg.connect(dsn) as domain:
        domain.execute(_QUERIES["actor"], {"actor": ACTOR})
        domain.execute(_QUERIES["end"], {"gateway": GATEWAY, "now": now})


async def _hashes(passwords: Mapping[str, str]) -> dict[str, str]:
    for one in PEOPLE:
        require_strong(passwords[one.email], email=one.email, name=one.name)
    with Passwords() as hasher:
        hashes = await asyncio.gather(*(hasher.hash(passwords[one.email]) for one in PEOPLE))
    return {one.email: hashed for one, hashed in zip(PEOPLE, hashes, strict=True)}


def _one(domain: psycopg.Connection, query: str, parameters: Mapping[str, object]) -> object:
    row = domain.execute(_QUERIES[query], parameters).fetchone()
    assert row is not None
    return row[0]
