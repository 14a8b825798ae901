"""Whoever hears that something was done finds it done: no answer from memory is older than the commit."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cloud.api.measured.quick import Quick

_CHANGES_NOTHING = {"GET", "HEAD", "OPTIONS"}


class Fenced:
    """Any other request may have committed something before its answer begins, or before it fails."""

    def __init__(self, app: ASGIApp, *, quick: Quick) -> None:
        self._app, self._quick = app, quick

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in _CHANGES_NOTHING:
            await self._app(scope, receive, send)
            return

        async def fenced(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._quick.fence()
            await send(message)

        try:
            await self._app(scope, receive, fenced)
        finally:
            self._quick.fence()
