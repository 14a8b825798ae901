"""The description of the API, OpenAPI 3.1: what FastAPI derives of the routes, and what all of them have in common."""

import copy
import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from cloud.api.access import KEY
from cloud.api.http.envelope import ProblemAnswer, refusal
from cloud.api.http.errors import NotAcceptable, Problem, SecondFactorMissing, TooLarge, TooMany, UnsupportedMedia

_METHODS = ("get", "put", "post", "delete", "patch")
_STRING = {"type": "string"}
_ANY: tuple[type[Problem], ...] = (NotAcceptable,)
_COUNTED: tuple[type[Problem], ...] = (TooMany,)
"""Of whatever is no probe."""
_SESSIONS: tuple[type[Problem], ...] = (SecondFactorMissing,)
"""Of whatever needs a session."""
_BODIES: tuple[type[Problem], ...] = (TooLarge, UnsupportedMedia)
_PROBLEM = "application/problem+json"
_HEADERS = {
    "X-Request-Id": {
        "description": "Name of the request, as in the service's log: the client's own X-Request-Id, or a new one.",
        "schema": _STRING,
        "required": True,
    },
    "WWW-Authenticate": {"description": "How to authenticate: Bearer.", "schema": _STRING, "required": True},
    "Retry-After": {"description": "When to come again, s.", "schema": {"type": "integer"}, "required": True},
}
_ALWAYS = {"401": "WWW-Authenticate", "429": "Retry-After", "503": "Retry-After"}
_EXAMPLES: Mapping[str, object] = {
    "access_token": "eyJhbGciOiJFZERTQSIsImtpZCI6Ii4uLiJ9.eyJzdWIiOiIxNyJ9.c2lnbmF0dXJl",
    "actor": "user:17",
    "address": "192.0.2.17",
    "claim_code": "7K3P-X9BS-WY3D-2HQM",
    "code": "MTR-00000001",
    "currency": "EUR",
    "cursor": "YTUw",
    "database_role": "segs_api",
    "despite": "the display was photographed",
    "despite_readings": "the display was photographed",
    "detail": "there is no meter MTR-00000009",
    "device": "main",
    "email": "ada@example.org",
    "flags": 0,
    "found": "-1",
    "gateway": "north-substation",
    "if-match": '"1f0c6e0a9d3b4c58"',
    "if-none-match": '"1f0c6e0a9d3b4c58"',
    "key": "q8Zk0vWm3sT5nB1xYc7uLr2eHd9gPa4jFi6oKt8wXzQ",
    "message": "Done.",
    "meter": "MTR-00000001",
    "model": "sdm630",
    "name": "Ada Lovelace",
    "new_model": "sdm630",
    "new_password": "a battery of horses",
    "new_serial": "20418832",
    "next": "YTUw",
    "old_model": "sdm630",
    "old_password": "correct horse battery",
    "old_serial": "20418831",
    "otp": "123456",
    "password": "correct horse battery",
    "phone": "+4930123456",
    "power_factor": 0.97,
    "reason": "common",
    "refresh_token": "q8Zk0vWm3sT5nB1xYc7uLr2eHd9gPa4jFi6oKt8wXzQ",
    "region": "north",
    "request_id": "6d1f0b3c9a7e4c52",
    "revoked_reason": "another meter was meant",
    "row": "17",
    "row_key": "17",
    "search": "0000",
    "serial": "20418831",
    "set_password_token": "Jm4tW9cR1yL6hV0qXb8sZk3nTe5uAg7dPi2fOo-wCzM",
    "site": "Town hall",
    "software": "segs-edge 0.2.0",
    "status": 422,
    "table": "meters",
    "table_name": "meters",
    "timezone": "Europe/Berlin",
    "token": "Jm4tW9cR1yL6hV0qXb8sZk3nTe5uAg7dPi2fOo-wCzM",
    "totp": "123456",
    "type": "urn:segs:problem:invalid",
    "user_agent": "Mozilla/5.0",
    "where": "body.phone",
}
_BY_UNIT: Mapping[str, int | float] = {
    "w": 1250,
    "va": 1290,
    "var": 310,
    "v": 230,
    "a": 5,
    "hz": 50,
    "wh": 48_211_300,
    "varh": 1_204_000,
    "kwh": 48,
    "deg": 52,
    "percent": 98,
    "ratio": 1,
    "ms": 1000,
    "s": 900,
    "in": 900,
    "id": 17,
    "count": 50,
}
_BY_FORMAT: Mapping[str, object] = {
    "date-time": "2026-11-28T09:00:00Z",
    "date": "2026-11-28",
    "uuid": "7b0f5c0e-2d7c-4c0e-9a44-0c2f6a1f3f10",
    "binary": "",
}


class Application(FastAPI):
    """FastAPI, with a description that leaves nothing out, and without its own telemetry: requests are counted and
    logged here, and to find out each time that nobody traces them takes longer than that."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await Starlette.__call__(self, scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            # What FastAPI returns has parts of the routes in it, which other applications are made of too.
            self.openapi_schema = _complete(copy.deepcopy(super().openapi()))
        return self.openapi_schema


def operation_id(route: APIRoute) -> str:
    """The name of an operation in a client that is generated: its tag and its function."""
    return "_".join([*(str(tag) for tag in route.tags[:1]), route.name])


def written(document: Mapping[str, Any]) -> str:
    """The document as the file that is checked in."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Method, path and description of every operation."""
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item:
                yield method.upper(), path, item[method]


def _complete(document: dict[str, Any]) -> dict[str, Any]:
    schemas = document["components"]["schemas"]
    described = ProblemAnswer.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(described.pop("$defs", {}))
    schemas["Problem"] = described
    for _, _, operation in operations(document):
        _summarise(operation)
        operation.setdefault("security", [])
        _refuse(operation)
        for status, response in operation["responses"].items():
            _head(status, response)
            if response["description"] == "Successful Response":
                response["description"] = _told(response, schemas) or operation["summary"]
            if _PROBLEM in response.get("content", {}):
                operation["responses"][status] = _shared(status, response, document["components"])
        for parameter in operation.get("parameters", []):
            _illustrate(parameter["name"], parameter["schema"])
    for name, schema in schemas.items():
        for field, one in schema.get("properties", {}).items():
            _lift(one)
            if name == "Problem" and field in ("type", "status"):
                one["examples"] = [_EXAMPLES[field]]
            else:
                _illustrate(field, one)
    document["components"] |= {"schemas": dict(sorted(schemas.items())), "headers": _HEADERS}
    return document


def _summarise(operation: dict[str, Any]) -> None:
    """The first sentence of a route's docstring is the summary, the rest the description."""
    said = " ".join(operation.pop("description", "").split())
    first, _, rest = said.partition(". ")
    operation["summary"] = first.removesuffix(".")
    if rest:
        operation["description"] = rest


def _refuse(operation: dict[str, Any]) -> None:
    """What an endpoint may refuse by the way it is asked, besides what it declares."""
    refused = list(_ANY)
    if operation.get(KEY, {}).get("who") != "probe":
        refused += _COUNTED
    if operation["security"]:
        refused += _SESSIONS
    if "requestBody" in operation:
        refused += _BODIES
    responses = operation["responses"]
    for kind in refused:
        added: dict[str, Any] = refusal(kind.status, [kind])
        known: dict[str, Any] = responses.setdefault(str(kind.status), added)
        if not set(_kinds(added)) <= set(_kinds(known)):
            _kinds(known).extend(_kinds(added))
            known["description"] += f" {added['description']}"
    operation["responses"] = dict(sorted(responses.items()))


def _head(status: str, response: dict[str, Any]) -> None:
    """The headers that its answers always have."""
    names = ["X-Request-Id", *([_ALWAYS[status]] if status in _ALWAYS else [])]
    common = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
    response["headers"] = {**common, **response.get("headers", {})}


def _kinds(response: Mapping[str, Any]) -> list[str]:
    """The types that a refusal comes with."""
    types: list[str] = response["content"][_PROBLEM]["schema"]["properties"]["type"]["enum"]
    return types


def _shared(status: str, response: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    """A reference to the response, which many operations have."""
    name = ".".join([status, *(one.rpartition(":")[2] for one in _kinds(response))])
    known = components.setdefault("responses", {}).setdefault(name, response)
    return {"$ref": f"#/components/responses/{name}"} if known == response else response


def _told(response: Mapping[str, Any], schemas: Mapping[str, Any]) -> str | None:
    """What is in an answer, as its model says."""
    schema = response.get("content", {}).get("application/json", {}).get("schema", {})
    data = _followed(_followed(schema, schemas).get("properties", {}).get("data", {}), schemas)
    many = data.get("type") == "array"
    item = _followed(data.get("items", {}), schemas) if many else data
    return " ".join(item["description"].split()) if "description" in item and "properties" in item else None


def _followed(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Mapping[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    return {**schemas[name], **{key: value for key, value in schema.items() if key != "$ref"}} if name else schema


def _lift(schema: dict[str, Any]) -> None:
    """What is said of a value that may be null stands beside its kinds, where a reader looks for it."""
    for kind in schema.get("anyOf", []):
        for key in ("description", "examples"):
            if key in kind:
                schema.setdefault(key, kind.pop(key))


def _illustrate(name: str, schema: dict[str, Any]) -> None:
    """An example of a field that has none of its own, by its name, its unit or its format."""
    kinds = [schema, *schema.get("anyOf", [])]
    if any({"examples", "example", "enum", "const", "$ref", "items", "properties", "default"} & set(k) for k in kinds):
        return
    types = {kind.get("type") for kind in kinds}
    formats = [_BY_FORMAT[kind["format"]] for kind in kinds if kind.get("format") in _BY_FORMAT]
    unit = re.split(r"_", name.removesuffix("_min").removesuffix("_max").removesuffix("_mean"))[-1]
    if formats:
        schema["examples"] = [formats[0]]
    elif _fits(_EXAMPLES.get(name.lower()), types):
        schema["examples"] = [_EXAMPLES[name.lower()]]
    elif _fits(_BY_UNIT.get(unit), types):
        schema["examples"] = [_BY_UNIT[unit]]
    elif {"integer", "number"} & types:
        schema["examples"] = [max([1, *(math.ceil(kind["minimum"]) for kind in kinds if "minimum" in kind)])]


def _fits(example: object, types: set[object]) -> bool:
    if example is None or isinstance(example, str):
        return example is not None and "string" in types
    return "number" in types or ("integer" in types and isinstance(example, int))
