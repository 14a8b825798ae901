"""Methods: HEAD is answered wherever GET is, and each path knows what may be asked of it."""

import re

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Heads:
    """HEAD is GET without the body; of an answer that goes on and on, its beginning."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        over = False

        async def heard() -> Message:
            return {"type": "http.disconnect"} if over else await receive()

        async def begun(message: Message) -> None:
            nonlocal over
            if over:
                return
            await send(message)
            if message["type"] == "http.response.start":
                over = True
                await send({"type": "http.response.body", "body": b""})

        await self._app({**scope, "method": "GET"}, heard, begun)


def allowed(app: FastAPI, path: str) -> list[str]:
    """The methods of a path, for Allow; empty where there is none."""
    found = {"OPTIONS"}
    for template, methods in app.openapi()["paths"].items():
        if re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template)), path):
            found |= {method.upper() for method in methods}
    if "GET" in found:
        found.add("HEAD")
    return sorted(found) if len(found) > 1 else []
