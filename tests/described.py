"""The description of the API, read as its users read it: what an operation takes and answers, and what is missing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from cloud.api.access import KEY
from cloud.api.http.openapi import operations

# Units that fields have, at the end of the name, or in the description as `, Wh` or `, s.`
_UNITS = "W|kW|Wh|kWh|VA|var|varh|V|A|Hz|s|ms|min|h|days?|%|degrees|bytes|B|px|ppm|EUR"
_IN_NAME = re.compile(r"_(w|kw|wh|kwh|va|var|varh|v|a|hz|s|ms|deg|percent|bytes|days|px)(_|$)")
_IN_WORDS = re.compile(rf"(, |\bin |\b\d[\d,.]* )({_UNITS})\b|%|minor units|currency|\bin unit\b")
# Numbers that have none: names of rows, shares of one, and counts, whose unit is what is counted.
_WITHOUT = re.compile(
    r"\b(number|numbers|count|counts|how many|how often|rows|points|bits|factor|ratio|share|version|status|year|month"
    r"|position|percent|0 to 1|QualityOfReading)\b"
    r"|^(meters|readings|quarter-hours|gaps|stretches|users|channels|devices|gateways|keys|sessions|codes|lines)\b",
    re.IGNORECASE,
)
_KINDS = ("anyOf", "oneOf", "allOf")


def lacks(document: Mapping[str, Any]) -> list[str]:
    """Each thing that somebody who writes a client would have to guess, by its place."""
    return sorted({*_of_operations(document), *_of_schemas(document)})


def example(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Any:
    """A value of `schema`, of its examples; of an object, all fields that have one. Raises LookupError."""
    schema = followed(document, schema)
    if schema.get("examples"):
        return schema["examples"][0]
    for key in ("const", "default", "example"):
        if key in schema:
            return schema[key]
    if "enum" in schema:
        return schema["enum"][0]
    if "properties" in schema:
        return {name: example(document, one) for name, one in schema["properties"].items()}
    if schema.get("type") == "array" and "items" in schema:
        return [example(document, schema["items"])]
    if schema.get("type") == "boolean":
        return True
    if schema.get("type") == "object":
        return {}
    for kind in _KINDS:
        for one in schema.get(kind, []):
            if one.get("type") != "null":
                return example(document, one)
    raise LookupError(schema.get("title", "a schema"))


def followed(document: Mapping[str, Any], found: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a reference means, with what stands beside it."""
    while "$ref" in found:
        there: Any = document
        for name in found["$ref"].removeprefix("#/").split("/"):
            there = there[name]
        found = {**there, **{key: value for key, value in found.items() if key != "$ref"}}
    return found


def _of_operations(document: Mapping[str, Any]) -> Iterator[str]:
    tags = {tag["name"] for tag in document.get("tags", []) if tag.get("description")}
    seen: dict[str, str] = {}
    for method, path, operation in operations(document):
        at = f"{method} {path}"
        name = operation.get("operationId", "")
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            yield f"{at}: no operationId that is a name"
        elif seen.setdefault(name, at) != at:
            yield f"{at}: the operationId {name} is {seen[name]}'s"
        if not operation.get("summary"):
            yield f"{at}: no summary; write a docstring"
        if not operation.get("tags") or not set(operation["tags"]) <= tags:
            yield f"{at}: no tag with a description"
        if "security" not in operation:
            yield f"{at}: no security"
        if KEY not in operation:
            yield f"{at}: no declared access; see cloud/api/access.py"
        elif (operation[KEY]["who"] in ("self", "roles")) is not bool(operation.get("security")):
            yield f"{at}: access {operation[KEY]['who']}, and security {operation.get('security')}"
        for parameter in operation.get("parameters", []):
            place = f"{at}: parameter {parameter['name']}"
            if not parameter.get("description"):
                yield f"{place}: no description"
            yield from _of_value(document, place, parameter["name"], {**parameter, **parameter["schema"]})
        for missing in sorted(_expected(operation) - set(operation["responses"])):
            yield f"{at}: {missing} is not among its errors"
        yield from _of_bodies(document, at, operation)


def _expected(operation: Mapping[str, Any]) -> set[str]:
    """The errors that an operation has by what it takes and whom it serves."""
    access = operation.get(KEY, {"who": "everybody"})
    expected = {"406"}
    if access["who"] != "probe":
        expected |= {"429", "503"}
    if operation.get("security"):
        expected.add("401")
    if "none" in access.get("roles", {}).values():
        expected.add(str(access["refusal"]))
    if any(parameter["in"] == "path" for parameter in operation.get("parameters", [])):
        expected.add("404")
    if operation.get("parameters") or "requestBody" in operation:
        expected.add("422")
    if "requestBody" in operation:
        expected |= {"413", "415"}
    return expected


def _of_bodies(document: Mapping[str, Any], at: str, operation: Mapping[str, Any]) -> Iterator[str]:
    bodies = dict(operation.get("requestBody", {}).get("content", {}))
    if any(not _examples(document, body["schema"]) and "example" not in body for body in bodies.values()):
        yield f"{at}: its body has no example; each field needs one"
    succeeds = False
    for status, reference in operation["responses"].items():
        response = followed(document, reference)
        if not response.get("description") or response["description"] == "Successful Response":
            yield f"{at}: {status} has no description"
        content = response.get("content", {})
        if status.startswith(("4", "5")):
            types = content.get("application/problem+json", {}).get("schema", {}).get("properties", {}).get("type", {})
            if not types.get("enum"):
                yield f"{at}: {status} is no problem+json with types"
            continue
        succeeds = True
        for media_type, body in content.items():
            if not body.get("schema"):
                yield f"{at}: {status} {media_type} has no schema"
            elif media_type.endswith("json") and not _examples(document, body["schema"]):
                yield f"{at}: {status} has no example; each field needs one"
    if not succeeds:
        yield f"{at}: no success"


def _examples(document: Mapping[str, Any], schema: Mapping[str, Any]) -> bool:
    try:
        example(document, schema)
    except LookupError:
        return False
    return True


def _of_schemas(document: Mapping[str, Any]) -> Iterator[str]:
    for name, schema in document["components"]["schemas"].items():
        # Of a generic model its argument is described: it is the only thing that differs.
        if not schema.get("description") and "enum" not in schema and "[" not in schema.get("title", ""):
            yield f"{name}: no description; write a docstring"
        for field, one in schema.get("properties", {}).items():
            if not followed(document, one).get("description"):
                yield f"{name}.{field}: no description"
            yield from _of_value(document, f"{name}.{field}", field, one)


def _of_value(document: Mapping[str, Any], place: str, name: str, schema: Mapping[str, Any]) -> Iterator[str]:
    said = schema.get("description", "")
    numeric = bool({"integer", "number"} & set(_types(schema))) and "enum" not in schema
    if numeric and not (
        _IN_NAME.search(name) or name.endswith("_id") or _IN_WORDS.search(said) or _WITHOUT.search(said)
    ):
        yield f"{place}: a number without unit, in name or description"
    if not _examples(document, schema):
        yield f"{place}: no example"


def _types(schema: Mapping[str, Any]) -> Iterator[str]:
    """Those of the field itself and of its items, not of what it refers to."""
    if isinstance(schema.get("type"), str):
        yield schema["type"]
    for one in [
        *(one for kind in _KINDS for one in schema.get(kind, [])),
        *([schema["items"]] if schema.get("items") else []),
    ]:
        yield from _types(one)
