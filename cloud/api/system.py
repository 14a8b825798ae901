"""Whether the service lives, can work, and how it fares."""

from typing import Annotated, Literal

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, PlainTextResponse, Response

from cloud.api.access import PROBE
from cloud.api.caller import PartsAre
from cloud.api.http.envelope import problems
from cloud.problem import problem_response

router = APIRouter(tags=["system"])


class Alive(BaseModel):
    """The process answers."""

    status: Annotated[Literal["alive"], Field(description="It lives.")]


class Ready(BaseModel):
    """Both databases answer and have the schema of this release."""

    status: Annotated[Literal["ready"], Field(description="It can work.")]


@router.get("/livez", openapi_extra=PROBE, response_model=Alive)
async def livez() -> Response:
    """200 as long as the process answers."""
    return JSONResponse({"status": "alive"})


@router.get("/readyz", openapi_extra=PROBE, response_model=Ready, responses=problems())
async def readyz(parts: PartsAre) -> Response:
    """200 when both databases answer and have the schema of this release, and the keys are there; 503 when not, and
    errors says what is missing: domain, telemetry or keys."""
    missing = await parts.ready()
    if not missing:
        return JSONResponse({"status": "ready"})
    errors = [{"where": where, "message": message} for where, message in missing.items()]
    return problem_response(503, "unavailable", "; ".join(missing.values()), errors=errors, retry_after_s=2)


@router.get("/metrics", openapi_extra=PROBE, response_class=PlainTextResponse)
async def metrics() -> Response:
    """What the process has counted, in Prometheus' text format."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
