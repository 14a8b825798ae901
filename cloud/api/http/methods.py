"""Methods: HEAD is answered wherever GET is, and each path knows what may be asked of it."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

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
    for template, operations in app.openapi()["paths"].items():
        if re.fullmatch(_pattern(template, operations.values()), path):
            found |= {method.upper() for method in operations}
    if "GET" in found:
        found.add("HEAD")
    return sorted(found) if len(found) > 1 else []


def _pattern(template: str, operations: Iterable[Mapping[str, Any]]) -> str:
    """What a path of the template looks like: where a number is wanted, a word is another path."""
    numbers = {
        parameter["name"]
        for operation in operations
        for parameter in operation.get("parameters", ())
        if parameter["in"] == "path" and parameter["schema"].get("type") == "integer"
    }
    pattern = re.escape(template)
    for name in re.findall(r"{(\w+)}", template):
        pattern = pattern.replace(rf"\{{{name}\}}", "[0-9]+" if name in numbers else "[^/]+")
    return pattern
