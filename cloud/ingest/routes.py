"""The ingest routes, on bare Starlette: FastAPI's machinery would cost more than the decoding of a batch."""

from collections.abc import Awaitable, Callable

import msgspec
import psycopg
import structlog
from prometheus_client import Counter, Histogram
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from cloud.ingest.errors import Malformed, Refused, UnknownKey
from cloud.ingest.receiver import Receiver
from cloud.problem import problem_response
from contract.batch import STREAM
from contract.receipt import Receipt

_LOG = structlog.get_logger("segs.ingest")
_JSON = "application/json"

_BATCHES = Counter("segs_ingest_batches", "Batches by outcome: stored, repeated, or the problem's type", ["outcome"])
_READINGS = Counter(
    "segs_ingest_readings", "Readings by outcome: stored, duplicate, or the quarantine's reason", ["outcome"]
)
_SECONDS = Histogram("segs_ingest_seconds", "From the request's headers to the answer, seconds")

Handler = Callable[[Request], Awaitable[Response]]


def routes(receiver: Receiver) -> list[Route]:
    """`POST /ingest/v1/batches` and `GET /ingest/v1/streams/{stream}`."""

    async def batches(request: Request) -> Response:
        headers = request.headers
        length = headers.get("content-length")
        receipt, new = await receiver.accept(
            _key(request),
            headers.get("content-type", "").split(";")[0].strip().lower(),
            headers.get("content-encoding", "identity").strip().lower(),
            request.stream(),
            int(length) if length is not None and length.isdecimal() else None,
        )
        _count(receipt, new=new)
        return Response(msgspec.json.encode(receipt), media_type=_JSON)

    async def stream_state(request: Request) -> Response:
        stream = request.path_params["stream"]
        if not STREAM.match(stream):
            raise Malformed("a stream is a lower-case UUID", where="stream")
        return Response(msgspec.json.encode(await receiver.stream_state(_key(request), stream)), media_type=_JSON)

    return [
        Route("/ingest/v1/batches", _answering(batches), methods=["POST"]),
        Route("/ingest/v1/streams/{stream}", _answering(stream_state), methods=["GET"]),
    ]


def _answering(handler: Handler) -> Handler:
    """`handler`, with what it refuses turned into a problem, counted and logged once."""

    async def answer(request: Request) -> Response:
        with _SECONDS.time():
            try:
                return await handler(request)
            except Refused as refused:
                _BATCHES.labels(refused.problem).inc()
                _LOG.warning("refused", path=request.url.path, problem=refused.problem, detail=refused.detail)
                return problem_response(
                    refused.status,
                    refused.problem,
                    refused.detail,
                    where=refused.where,
                    retry_after_s=refused.retry_after_s,
                )
            except psycopg.Error:
                _BATCHES.labels("internal").inc()
                _LOG.exception("failed", path=request.url.path)
                return problem_response(500, "internal", "the batch was not stored; the receiver's log says why")
            except ClientDisconnect:
                _BATCHES.labels("disconnected").inc()
                return Response(status_code=400)

    return answer


def _key(request: Request) -> str:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key:
        raise UnknownKey("send the gateway's key as Authorization: Bearer KEY")
    return key.strip()


def _count(receipt: Receipt, *, new: bool) -> None:
    _BATCHES.labels("stored" if new else "repeated").inc()
    if not new:
        return
    _READINGS.labels("stored").inc(receipt.stored)
    _READINGS.labels("duplicate").inc(receipt.duplicates)
    for part in receipt.quarantined:
        _READINGS.labels(part.reason).inc(part.readings)
