"""What the API refuses, as problem+json with types that do not change; nothing that is secret comes back in it."""

import re
from collections.abc import Mapping, Sequence
from typing import ClassVar, cast

import psycopg
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from cloud.api.http.faults import described
from cloud.api.http.methods import allowed
from cloud.db.errors import (
    ConflictError,
    DomainError,
    ForbiddenError,
    ImmutableError,
    InvalidError,
    NotFoundError,
    OutdatedError,
    domain_error,
)
from cloud.errors import CloudError
from cloud.identity.errors import KeysError, TooBusy, WeakPassword
from cloud.problem import problem_response

_LOG = structlog.get_logger("segs.api")
_SECRET = {
    *("password", "new_password", "old_password", "otp", "totp", "code", "token", "refresh_token", "claim_code"),
}
# A database that is away, starting, stopping or full: asked again, it may answer.
_AWAY = (psycopg.OperationalError, psycopg.errors.ReadOnlySqlTransaction)
# Whoever has more to mend finds the rest the next time; an answer is not to be many times what was sent.
_MOST_FAULTS = 50
_LOST_PLUS = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d\S* \d\d:?\d\d")


class Problem(CloudError):
    """The root of what the API itself refuses; `problem` is the type's short name, for clients to rely on."""

    status: ClassVar[int] = 400
    problem: ClassVar[str] = "refused"

    def __init__(
        self,
        detail: str,
        *,
        where: str | None = None,
        retry_after_s: int | None = None,
        errors: Sequence[Mapping[str, object]] = (),
    ) -> None:
        super().__init__(detail)
        self.detail, self.where, self.retry_after_s, self.errors = detail, where, retry_after_s, errors


class Unauthenticated(Problem):
    """No access token, one that proves nothing, or one whose session is over."""

    status, problem = 401, "unauthenticated"


class CredentialsRefused(Problem):
    """Address and password do not fit together, or belong to nobody: no one is told which."""

    status, problem = 401, "credentials-refused"


class SecondFactorRequired(Problem):
    """The password is right; a code of the app, or a recovery code, is wanted as well."""

    status, problem = 401, "second-factor-required"


class SecondFactorRefused(Problem):
    """A code that is wrong, too old, or was used before."""

    status, problem = 401, "second-factor-refused"


class SecondFactorMissing(Problem):
    """The caller's role asks for a second factor, and there is none yet."""

    status, problem = 403, "second-factor-missing"


class Forbidden(Problem):
    """Not for the caller's role."""

    status, problem = 403, "forbidden"


class PasswordRefused(Problem):
    """The caller is logged in, and the password that was to prove it once more is wrong."""

    status, problem = 403, "password-refused"


class UnderWay(Problem):
    """The same request, by its Idempotency-Key, is being answered."""

    status, problem = 409, "under-way"


class KeyUsed(Problem):
    """An Idempotency-Key that came with another request before."""

    status, problem = 422, "idempotency-key-used"


class CodeRefused(Problem):
    """A one-time code that is wrong, too old, or tried too often: no one is told which."""

    status, problem = 403, "code-refused"


class NotFound(Problem):
    """There is nothing of that name that the caller may see."""

    status, problem = 404, "not-found"


class Malformed(Problem):
    """A value that makes no sense, and no model has noticed it."""

    status, problem = 422, "invalid"


class WeakPasswordRefused(Problem):
    """A password that is too short, too common, or too much like its owner's name or address."""

    status, problem = 422, "weak-password"


class NotAcceptable(Problem):
    """The client takes no format that this endpoint answers in."""

    status, problem = 406, "not-acceptable"


class TooLarge(Problem):
    """The body is longer than this endpoint takes."""

    status, problem = 413, "too-large"


class UnsupportedMedia(Problem):
    """The body is in a format that this endpoint does not take."""

    status, problem = 415, "unsupported-media-type"


class Busy(Problem):
    """Too many passwords are being compared; Retry-After says when to come again."""

    status, problem = 503, "busy"


class TooMany(Problem):
    """Asked too often; `retry_after_s` says when the next answer may come."""

    status, problem = 429, "too-many-requests"


_DOMAIN: tuple[tuple[type[DomainError], int, str], ...] = (
    (NotFoundError, 404, "not-found"),
    (ConflictError, 409, "conflict"),
    (ImmutableError, 409, "immutable"),
    (InvalidError, 422, "invalid"),
    (ForbiddenError, 403, "forbidden"),
    (OutdatedError, 503, "unavailable"),
)


def install(app: FastAPI) -> None:
    """Every refusal of `app` becomes a problem."""

    @app.exception_handler(Problem)
    async def refused(request: Request, error: Problem) -> Response:
        return problem_response(
            error.status,
            error.problem,
            error.detail,
            where=error.where,
            retry_after_s=error.retry_after_s,
            errors=error.errors,
        )

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        faults = [_fault(fault) for fault in error.errors()[:_MOST_FAULTS]]
        return problem_response(422, "invalid", "the request makes no sense; errors says where", errors=faults)

    @app.exception_handler(WeakPassword)
    async def weak(request: Request, error: WeakPassword) -> Response:
        fault = {"where": "password", "message": str(error), "reason": error.reason}
        return problem_response(
            WeakPasswordRefused.status, WeakPasswordRefused.problem, str(error), where="password", errors=[fault]
        )

    @app.exception_handler(TooBusy)
    async def busy(request: Request, error: TooBusy) -> Response:
        return problem_response(Busy.status, Busy.problem, "too many passwords are being compared", retry_after_s=1)

    @app.exception_handler(KeysError)
    async def keys(request: Request, error: KeysError) -> Response:
        _LOG.error("keys_cannot_be_used", said=str(error))
        return problem_response(503, "unavailable", "the service lacks its keys now", retry_after_s=5)

    @app.exception_handler(psycopg.Error)
    async def database(request: Request, error: psycopg.Error) -> Response:
        meaning = domain_error(error)
        if meaning is not None:
            status, problem = next((status, problem) for kind, status, problem in _DOMAIN if isinstance(meaning, kind))
            if status == 503 or (status == 403 and meaning.sqlstate == "42501"):
                _LOG.error("refused_by_the_database", **described(error))
                return problem_response(status, problem, "the service may not do this; its log says why")
            detail = str(error.diag.message_primary or meaning)
            return problem_response(status, problem, detail if meaning.constraint is None else str(meaning))
        if isinstance(error, _AWAY):
            return _away(error)
        _LOG.error("failed", **described(error))
        return problem_response(500, "internal", "nothing was changed; the service's log says why")

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        if error.status_code == 405:
            return _not_that_way(request, error)
        if error.status_code == 400:
            # FastAPI's word for a body that is no text, or nested too deeply.
            return problem_response(422, "invalid", "the body cannot be read", where="body")
        problem = {404: "not-found", 408: "too-slow", 413: TooLarge.problem}.get(error.status_code, "refused")
        response = problem_response(error.status_code, problem, str(error.detail))
        response.headers.update(error.headers or {})
        return response


def _not_that_way(request: Request, error: HTTPException) -> Response:
    """405 with all methods of the path, or the answer to OPTIONS: that is what it asks for."""
    of_route = (error.headers or {}).get("Allow", "")
    allow = ", ".join(allowed(cast(FastAPI, request.app), request.url.path)) or of_route
    if request.method == "OPTIONS":
        return Response(status_code=204, headers={"Allow": allow})
    response = problem_response(405, "method-not-allowed", f"this path takes {allow}")
    response.headers["Allow"] = allow
    return response


def _away(error: Exception) -> Response:
    _LOG.warning("database_does_not_answer", error=type(error).__name__)
    return problem_response(503, "unavailable", "a database does not answer now", retry_after_s=2)


def _fault(fault: Mapping[str, object]) -> dict[str, object]:
    """Where, what was found unless it is secret or large, and what is wrong with it."""
    place = fault["loc"]
    names = [_told(part) for part in place if isinstance(part, str | int)] if isinstance(place, Sequence) else []
    found = fault.get("input")
    said: dict[str, object] = {"where": ".".join(names), "message": _told(fault["msg"])}
    if names[:1] == ["query"] and isinstance(found, str) and _LOST_PLUS.fullmatch(found):
        said["message"] = f"{said['message']}; a + in an address is a blank: write %2B"
    if isinstance(found, str | int | float | bool) and not _SECRET & set(names) and names[:1] != ["header"]:
        said["found"] = _told(found)
    return said


def _told(text: object) -> str:
    """The text, or its beginning, without what is no character: half a surrogate came as JSON and cannot go back."""
    return str(text)[:200].encode("utf-8", "replace").decode()
