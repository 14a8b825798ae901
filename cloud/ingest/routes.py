"""The ingest routes, on bare Starlette: FastAPI's machinery would cost more than the decoding of a batch."""

from collections.abc import Awaitable, Callable
from functools import partial

import msgspec
import psycopg
import structlog
from prometheus_client import Counter, Histogram
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from cloud.ingest.errors import Malformed, Refused, UnknownKey, UnsupportedMedia
from cloud.ingest.receiver import Receiver
from cloud.ingest.transaction import Delivery
from cloud.problem import problem_response
from contract.answer import CREDIT, TIME
from contract.batch import STREAM
from contract.receipt import Receipt

_LOG = structlog.get_logger("segs.ingest")
_JSON = "application/json"

_BATCHES = Counter("segs_ingest_batches", "Batches by outcome: stored, repeated, or the problem's type", ["outcome"])
_READINGS = Counter(
    "segs_ingest_readings", "Readings by outcome: stored, duplicate, or the quarantine's reason", ["outcome"]
)
_SECONDS = Histogram("segs_ingest_seconds", "From the request's headers to the answer, seconds")
_NOTES = Counter("segs_ingest_notes", "Notes stored, by kind", ["kind"])
_REPORTS = Counter("segs_ingest_reports", "Reports by outcome: stored, or the problem's type", ["outcome"])
_CREDIT = Histogram("segs_ingest_credit", "Batches of backlog that an answer allows", buckets=(0, 1, 2, 3, 4, 8, 16))

Handler = Callable[[Request], Awaitable[Response]]


def routes(receiver: Receiver) -> list[Route]:
    """`POST /ingest/v1/batches`, `PUT /ingest/v1/report` and `GET /ingest/v1/streams/{stream}`."""

    async def batches(request: Request) -> Response:
        encoding = request.headers.get("content-encoding", "identity").strip().lower()
        receipt, delivery, new = await receiver.accept(
            _key(request), _media_type(request), encoding, request.stream(), _length(request)
        )
        _count(receipt, delivery, new=new)
        return Response(msgspec.json.encode(receipt), media_type=_JSON)

    async def report(request: Request) -> Response:
        await receiver.report(_key(request), _media_type(request), request.stream(), _length(request))
        _REPORTS.labels("stored").inc()
        return Response(status_code=204)

    async def stream_state(request: Request) -> Response:
        stream = request.path_params["stream"]
        if not STREAM.match(stream):
            raise Malformed("a stream is a lower-case UUID", where="stream")
        state = await receiver.stream_state(_key(request), stream, _from_seq(request))
        return Response(msgspec.json.encode(state), media_type=_JSON)

    answering = partial(_answering, receiver)
    return [
        Route("/ingest/v1/batches", answering(batches, counted=_BATCHES, with_credit=True), methods=["POST"]),
        Route("/ingest/v1/report", answering(report, counted=_REPORTS, with_credit=True), methods=["PUT"]),
        Route("/ingest/v1/streams/{stream}", answering(stream_state, counted=_BATCHES), methods=["GET"]),
    ]


def _answering(receiver: Receiver, handler: Handler, *, counted: Counter, with_credit: bool = False) -> Handler:
    """`handler`, with what it refuses turned into a problem, counted and logged once, and what every answer says."""

    async def answer(request: Request) -> Response:
        with _SECONDS.time():
            try:
                response = await handler(request)
            except Refused as refused:
                counted.labels(refused.problem).inc()
                _LOG.warning("refused", path=request.url.path, problem=refused.problem, detail=refused.detail)
                response = problem_response(
                    refused.status,
                    refused.problem,
                    refused.detail,
                    where=refused.where,
                    retry_after_s=refused.retry_after_s,
                )
                if isinstance(refused, UnsupportedMedia):
                    response.headers["Accept-Post"] = ", ".join(refused.media_types)
            except psycopg.Error:
                counted.labels("internal").inc()
                _LOG.exception("failed", path=request.url.path)
                response = problem_response(500, "internal", "nothing was stored; the receiver's log says why")
            except ClientDisconnect:
                counted.labels("disconnected").inc()
                response = Response(status_code=400)
        response.headers[TIME] = str(receiver.now_us())
        if with_credit:
            # Who is told to come again later has no more to send meanwhile.
            credit = 0 if response.status_code in (429, 503) else receiver.credit(_given_key(request))
            _CREDIT.observe(credit)
            response.headers[CREDIT] = str(credit)
        return response

    return answer


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").split(";")[0].strip().lower()


def _length(request: Request) -> int | None:
    length = request.headers.get("content-length")
    return int(length) if length is not None and length.isdecimal() else None


def _from_seq(request: Request) -> int:
    given = request.query_params.get("from", "1")
    if not (given.isdecimal() and given.isascii() and len(given) < 20 and 1 <= int(given) < 2**63):
        raise Malformed(f"from={given[:40]!r}; it is a sequence number", where="from")
    return int(given)


def _key(request: Request) -> str:
    key = _given_key(request)
    if not key:
        raise UnknownKey("send the gateway's key as Authorization: Bearer KEY")
    return key


def _given_key(request: Request) -> str:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def _count(receipt: Receipt, delivery: Delivery, *, new: bool) -> None:
    _BATCHES.labels("stored" if new else "repeated").inc()
    if not new:
        return
    _READINGS.labels("stored").inc(receipt.stored)
    _READINGS.labels("duplicate").inc(receipt.duplicates)
    for part in receipt.quarantined:
        _READINGS.labels(part.reason).inc(part.readings)
    for note in delivery.contents.notes:
        _NOTES.labels(note.kind.value).inc()
