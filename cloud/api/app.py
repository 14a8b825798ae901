"""The API's application: the one place that wires it."""

from fastapi import FastAPI

from cloud.api import (
    accounts,
    audit,
    auth,
    claims,
    devices,
    errors,
    exports,
    gateways,
    latest,
    live,
    meter_history,
    meter_import,
    meters,
    passwords,
    preferences,
    region_reads,
    regions,
    second_factor,
    sessions,
    system,
    telemetry,
    users,
)
from cloud.api.forwarded import Forwarded
from cloud.api.importing import MOST_BYTES
from cloud.api.limits import Limited
from cloud.api.parts import Parts
from cloud.api.requests import Bounded, Named


def build(parts: Parts) -> FastAPI:
    """The application over parts that are open already."""
    app = FastAPI(title="SEGS", version="1", docs_url=None, redoc_url=None, openapi_url="/api/v1/openapi.json")
    app.state.parts = parts
    errors.install(app)
    people = (auth, passwords, second_factor, sessions, users, preferences, accounts)
    registry = (meters, meter_history, meter_import, claims, gateways, devices, regions)
    measured = (latest, telemetry, region_reads, exports, live)
    for resource in (system, *people, *registry, *measured, audit):
        app.include_router(resource.router)
    app.add_middleware(Bounded, larger={"import": MOST_BYTES})
    app.add_middleware(Limited, requests=parts.requests)
    app.add_middleware(Named)
    app.add_middleware(Forwarded, trusted=parts.trusted)
    return app
