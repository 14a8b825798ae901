"""The API's application: the one place that wires it."""

from fastapi import Depends
from starlette.middleware.cors import CORSMiddleware

from cloud.api import system
from cloud.api.alerts import actions, alerts, maintenance, rules, statistics
from cloud.api.alerts import live as live_alerts
from cloud.api.billing import forecast, invoices, payments, runs, settling, webhooks
from cloud.api.http import docs, errors
from cloud.api.http.forwarded import Forwarded
from cloud.api.http.limits import Limited
from cloud.api.http.methods import Heads
from cloud.api.http.negotiation import negotiate
from cloud.api.http.openapi import Application, operation_id
from cloud.api.http.requests import Bounded, Named
from cloud.api.measured import exports, latest, live, region_reads, telemetry
from cloud.api.measured.fence import Fenced
from cloud.api.measured.shortcut import Shortcut
from cloud.api.parts import Parts
from cloud.api.people import (
    accounts,
    audit,
    login,
    passwords,
    preferences,
    registration,
    second_factor,
    sessions,
    users,
)
from cloud.api.registry import claims, devices, gateways, meter_history, meter_import, meters, region_prices, regions
from cloud.api.registry.importing import MOST_BYTES

_PEOPLE = (registration, login, passwords, second_factor, sessions, users, preferences, accounts)
_REGISTRY = (meters, meter_history, meter_import, claims, gateways, devices, regions, region_prices)
_MEASURED = (latest, telemetry, region_reads, exports, live)
_BILLING = (invoices, payments, settling, forecast, runs, webhooks)
# Whose paths are fixed comes before whose have a number in their place.
_ALERTS = (statistics, live_alerts, actions, alerts, rules, maintenance)
_RESOURCES = (system, *_PEOPLE, *_REGISTRY, *_MEASURED, *_ALERTS, *_BILLING, audit)
_SENT = [
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "Last-Event-ID",
    "X-Request-Id",
]
_SHOWN = ["Allow", "ETag", "Link", "RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-Id"]

_DESCRIPTION = """\
Success is `{"success": true, "message": …, "data": …, "meta": …}`; a refusal is RFC 9457 `application/problem+json`,
whose `type` does not change. Times are RFC 3339 with an offset. Names of fields carry units: `power_w`,
`energy_import_wh`; `expires_in` and what ends in `_s` are seconds. Money is a decimal text. Something that
the caller may not see is as absent as what does not exist. `x-segs-access` says of each operation how far which role
reaches."""


def build(parts: Parts | None) -> Application:
    """The application over parts that are open already; without any it can only be described."""
    app = Application(
        title="SEGS",
        version="1",
        summary="People, meters, what these measure and what it costs.",
        description=_DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
        openapi_tags=_tags(),
        generate_unique_id_function=operation_id,
        dependencies=[Depends(negotiate)],
        redirect_slashes=False,
    )
    app.state.parts = parts
    errors.install(app)
    for resource in _RESOURCES:
        app.include_router(resource.router)
    app.include_router(docs.router)
    app.add_middleware(Bounded, larger={"import": MOST_BYTES})
    app.add_middleware(Heads)
    if parts is not None:
        app.add_middleware(Fenced, quick=parts.quick)
        app.add_middleware(Shortcut, parts=parts, of=app)
        app.add_middleware(Limited, requests=parts.requests)
    if parts is not None and parts.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=parts.cors_origins,
            allow_methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=_SENT,
            expose_headers=_SHOWN,
        )
    app.add_middleware(Named)
    if parts is not None:
        app.add_middleware(Forwarded, trusted=parts.trusted)
    return app


def _tags() -> list[dict[str, str]]:
    """What the modules of each tag say of themselves."""
    told: dict[str, list[str]] = {}
    for resource in _RESOURCES:
        for tag in resource.router.tags:
            told.setdefault(str(tag), []).append(" ".join((resource.__doc__ or "").split()))
    return [{"name": tag, "description": " ".join(texts)} for tag, texts in told.items()]
