"""Whether the service lives, can work, and how it fares."""

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import JSONResponse, Response

from cloud.api.caller import PartsAre
from cloud.problem import problem_response

router = APIRouter(tags=["system"])


@router.get("/livez")
async def livez() -> JSONResponse:
    """200 as long as the process answers."""
    return JSONResponse({"status": "alive"})


@router.get("/readyz")
async def readyz(parts: PartsAre) -> Response:
    """200 when both databases answer and have the schema of this release, and the keys are there; 503 when not, and
    errors says what is missing: domain, telemetry or keys."""
    missing = await parts.ready()
    if not missing:
        return JSONResponse({"status": "ready"})
    errors = [{"where": where, "message": message} for where, message in missing.items()]
    return problem_response(503, "unavailable", "; ".join(missing.values()), errors=errors, retry_after_s=2)


@router.get("/metrics")
async def metrics() -> Response:
    """Prometheus' text format."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
