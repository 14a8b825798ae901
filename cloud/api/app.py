"""The API's application: the one place that wires it."""

from fastapi import FastAPI

from cloud.api import (
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
    region_reads,
    regions,
    system,
    telemetry,
    users,
)
from cloud.api.importing import MOST_BYTES
from cloud.api.parts import Parts
from cloud.api.requests import Bounded, Named


def build(parts: Parts) -> FastAPI:
    """The application over parts that are open already."""
    app = FastAPI(title="SEGS", version="1", docs_url=None, redoc_url=None, openapi_url="/api/v1/openapi.json")
    app.state.parts = parts
    errors.install(app)
    for resource in (system, auth, users, audit, latest, telemetry, region_reads, exports, live):
        app.include_router(resource.router)
    for resource in (meters, meter_history, meter_import, claims, gateways, devices, regions):
        app.include_router(resource.router)
    app.add_middleware(Bounded, larger={"import": MOST_BYTES})
    app.add_middleware(Named)
    return app
