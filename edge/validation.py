"""Validation errors in the words of the file: trail, value found, what to do."""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from edge.errors import trail

_NO_VALUE = {"missing", "extra_forbidden"}
_LONGEST_VALUE = 100


def describe(error: ValidationError, root: type[BaseModel], data: object = None) -> Iterator[str]:
    """One line per problem of `error`, which came from validating `root`.

    With `data`, what was validated, the line names the row as well, by its quantity, name or key.
    """
    for item in error.errors(include_url=False):
        yield f"{trail(item['loc'])}{_row(item['loc'], data)}{_found(item)}: {_advice(item, root)}"


def suggestion(name: str, known: Iterable[str], *, most: int = 1) -> str:
    """`, did you mean …?` when something known is near, up to `most` of them, else nothing."""
    near = list(map(repr, get_close_matches(name, list(known), n=most)))
    return f", did you mean {' or '.join(filter(None, (', '.join(near[:-1]), near[-1])))}?" if near else ""


def _row(loc: tuple[int | str, ...], data: object) -> str:
    for part in loc:
        if isinstance(part, int) and isinstance(data, list | tuple) and part < len(data):
            data = data[part]
            names = (data.get(key) for key in ("quantity", "name", "key")) if isinstance(data, dict) else ()
            if name := next((name for name in names if isinstance(name, str)), None):
                return f" ({name})"
        elif isinstance(data, dict):
            data = data.get(part)
    return ""


def _found(item: ErrorDetails) -> str:
    if item["type"] in _NO_VALUE or isinstance(item["input"], dict | BaseModel):
        return ""
    value = item["input"]
    found = str(value).lower() if isinstance(value, bool) else repr(value)
    return f": {found if len(found) <= _LONGEST_VALUE else found[:_LONGEST_VALUE] + '…'}"


def _advice(item: ErrorDetails, root: type[BaseModel]) -> str:
    context = item.get("ctx", {})
    match item["type"]:
        case "missing":
            return "missing; it is required"
        case "extra_forbidden":
            keys = _keys_at(root, item["loc"][:-1])
            return f"unknown key{suggestion(str(item['loc'][-1]), keys)}; known here: {', '.join(keys)}"
        case "value_error":
            return str(context["error"])
        case "string_pattern_mismatch":
            return f"must match {context['pattern']}"
        case _:
            message = item["msg"].replace("Input should be", "must be")
            return message[0].lower() + message[1:]


def _keys_at(root: type[BaseModel], loc: tuple[int | str, ...]) -> tuple[str, ...]:
    model = root
    for part in loc:
        if isinstance(part, str) and part in model.model_fields:
            model = _model_in(model.model_fields[part].annotation)
    return tuple(model.model_fields)


def _model_in(annotation: object) -> type[BaseModel]:
    """The model in `Model`, `list[Model]`, `tuple[Model, ...]` or `Model | None`, however deep."""
    found = _models_in(annotation)
    model = next(found, None)
    assert model is not None, annotation
    return model


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)
