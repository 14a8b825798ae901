"""Validation errors in the words of the file: trail, value found, what to do."""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from edge.errors import trail

_NO_VALUE = {"missing", "extra_forbidden"}


def describe(error: ValidationError, root: type[BaseModel]) -> Iterator[str]:
    """One line per problem of `error`, which came from validating `root`."""
    for item in error.errors(include_url=False):
        yield f"{trail(item['loc'])}{_found(item)}: {_advice(item, root)}"


def suggestion(name: str, known: Iterable[str]) -> str:
    """`, did you mean …?` when something known is near, else nothing."""
    near = get_close_matches(name, list(known), n=1)
    return f", did you mean {near[0]!r}?" if near else ""


def _found(item: ErrorDetails) -> str:
    if item["type"] in _NO_VALUE or isinstance(item["input"], dict | BaseModel):
        return ""
    value = item["input"]
    return f": {str(value).lower() if isinstance(value, bool) else repr(value)}"


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
        if isinstance(part, str):
            model = _model_in(model.model_fields[part].annotation)
    return tuple(model.model_fields)


def _model_in(annotation: object) -> type[BaseModel]:
    """The model in `Model` or `list[Model]`."""
    inner = get_args(annotation)
    model = inner[0] if inner else annotation
    assert isinstance(model, type), annotation
    assert issubclass(model, BaseModel), annotation
    return model
