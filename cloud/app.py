"""The cloud's HTTP application: ingest, health, metrics."""

from collections.abc import Awaitable, Callable

from fastapi import FastAPI
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import JSONResponse, Response

from cloud.ingest.receiver import Receiver
from cloud.ingest.routes import routes
from cloud.problem import problem_response

Ready = Callable[[], Awaitable[str | None]]
"""Returns why the process cannot do its work now, None when it can."""


def build(*, receiver: Receiver, ready: Ready) -> FastAPI:
    """The application over a receiver that is open already."""
    app = FastAPI(title="SEGS cloud", docs_url=None, redoc_url=None)
    app.router.routes.extend(routes(receiver))

    @app.get("/livez")
    async def livez() -> JSONResponse:
        """200 as long as the process answers."""
        return JSONResponse({"status": "alive"})

    @app.get("/readyz")
    async def readyz() -> Response:
        """200 when a batch would be stored now, 503 with the reason when not."""
        obstacle = await ready()
        if obstacle is None:
            return JSONResponse({"status": "ready"})
        return problem_response(503, "unavailable", obstacle, retry_after_s=2)

    @app.get("/metrics")
    async def metrics() -> Response:
        """Prometheus' text format."""
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return app
