"""The short way to what screens ask for all the time: the endpoint itself, without all that finds out what is asked.

Only the plain question goes it: a GET without parameters, with one bearer token, by a client that takes JSON. All else
goes the long way, which knows what to say to it; what is answered and what is refused is the same on both.
"""

import re

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from cloud.api.caller import identified
from cloud.api.http.spans import Nothing
from cloud.api.measured.latest import latest, router, say_one
from cloud.api.parts import Parts

_CODE = re.compile(r"MTR-[0-9]{8,30}")
_BEARER = b"Bearer "
_TAKES_JSON = {b"*/*", b"application/json"}
_LONGEST_TAGS = 1000
_NOTHING = Nothing()


class Shortcut:
    """Answers for the route of latest.latest() where the question is a plain one."""

    def __init__(self, app: ASGIApp, *, parts: Parts, of: FastAPI) -> None:
        self._app, self._parts, self._of = app, parts, of
        self._route = next(one for one in router.routes if isinstance(one, APIRoute) and one.endpoint is latest)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = self._plain(scope)
        if asked is None:
            await self._app(scope, receive, send)
            return
        code, token, given = asked
        scope["route"] = self._route
        answer: ASGIApp
        try:
            caller = identified(self._parts, scope, token)
            told = self._parts.quick.recall(caller, (code,), say_one)
            if told is None:
                answer = await latest(code, _NOTHING, given, caller, self._parts)
            else:
                answer = told if given is None else told.answer(given)
        except Exception as error:  # noqa: BLE001 - the application has handlers, and raises what none is for
            answer = self._refused(error)
        await answer(scope, receive, send)

    def _plain(self, scope: Scope) -> tuple[str, str, str | None] | None:
        """Code, token and If-None-Match; None of whatever else is asked."""
        if scope["type"] != "http" or scope["method"] != "GET" or scope["query_string"]:
            return None
        found = self._route.path_regex.match(scope["path"])
        if found is None or not _CODE.fullmatch(found["code"]):
            return None
        token = given = accepted = None
        for name, value in scope["headers"]:
            if name == b"authorization":
                if token is not None or not value.startswith(_BEARER):
                    return None
                token = value[len(_BEARER) :]
            elif name == b"if-none-match":
                if given is not None or len(value) > _LONGEST_TAGS:
                    return None
                given = value
            elif name == b"accept":
                if accepted is not None or value not in _TAKES_JSON:
                    return None
                accepted = value
        if not token or not token.isascii() or b" " in token:
            return None
        return found["code"], token.decode("ascii"), None if given is None else given.decode("latin-1")

    def _refused(self, error: Exception) -> ASGIApp:
        """The application's own answer to an error."""

        async def raised(scope: Scope, receive: Receive, send: Send) -> None:
            raise error

        return ExceptionMiddleware(raised, handlers=self._of.exception_handlers)
