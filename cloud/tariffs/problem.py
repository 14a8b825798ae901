"""What is wrong with a document, each with the path of its key."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from cloud.errors import InputError
from cloud.printable import printable
from cloud.tariffs.amount import plain

_LONGEST = 60
_WHAT = {
    "missing": "is missing; give it",
    "bool_type": "give true or false",
    "dict_type": "give an object with its keys",
    "model_type": "give an object with its keys",
    "int_type": "give a whole number",
    "list_type": "give a list",
    "string_type": "give a text",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """`path` is the key's, `energyratestructure[0][1].rate`; `text` says what was found and what to do."""

    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.text}" if self.path else self.text


class TariffError(InputError):
    """A document that is no tariff; `problems` are all that were found."""

    def __init__(self, where: str, problems: Sequence[Problem]) -> None:
        lines = [f"{where}: {problem}" for problem in problems]
        super().__init__("\n".join(lines))
        self.problems = tuple(problems)


def path_of(keys: Sequence[str | int]) -> str:
    """Keys and indexes as one would write them: `taxes[0].on`."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
    return text.removeprefix(".")


def problems_of(error: ValidationError, known: Sequence[str]) -> Iterator[Problem]:
    """What pydantic found; `known` are the document's keys."""
    for detail in error.errors(include_url=False):
        yield Problem(path_of(detail["loc"]), _text(detail, known))


def _text(detail: ErrorDetails, known: Sequence[str]) -> str:
    kind = detail["type"]
    if kind == "missing":
        return _WHAT[kind]
    if kind == "extra_forbidden":
        near = get_close_matches(str(detail["loc"][-1]), known, n=1)
        return f"there is no such key; {f'did you mean {near[0]}?' if near else 'leave it out'}"
    context = detail.get("ctx", {})
    found = shown(detail["input"])
    if kind == "value_error":
        return f"{found}; {context['error']}"
    if kind in ("too_short", "too_long"):
        least, most = context.get("min_length"), context.get("max_length")
        many = f"at least {least}" if most is None else f"at most {most}"
        return f"has {context['actual_length']} elements; give {many}"
    return f"{found}; {_WHAT.get(kind) or _lowered(detail['msg'])}"


def _lowered(message: str) -> str:
    return message[:1].lower() + message[1:]


def shown(value: object) -> str:
    """A value for a message, on one line, and not all of it where it is long."""
    if isinstance(value, Decimal):
        return plain(value) if abs(value) < 10**20 else str(value)
    text = printable("null" if value is None else repr(value))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
