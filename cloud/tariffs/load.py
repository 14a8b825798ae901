"""A tariff document from JSON: whole, or with everything that is wrong with it."""

import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cloud.errors import InputError
from cloud.tariffs.contradictions import contradictions
from cloud.tariffs.document import Document
from cloud.tariffs.problem import TariffError, problems_of


def load(path: Path) -> Document:
    """The document in a file. Raises TariffError and InputError, which begin with the file's name."""
    return parse(path.read_bytes(), where=path.name)


def parse(text: bytes | str, *, where: str = "tariff") -> Document:
    """The document in `text`; `where` begins each line of what is wrong. Raises TariffError and InputError."""
    try:
        found = json.loads(text, parse_float=Decimal, parse_constant=_constant, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: no JSON document: {error}; correct it there") from error
    return validate(found, where=where)


def validate(found: Mapping[str, Any] | object, *, where: str = "tariff") -> Document:
    """`found` as a document; its numbers are ints, Decimals or texts, never floats. Raises TariffError."""
    try:
        document = Document.model_validate(found)
    except ValidationError as error:
        raise TariffError(where, list(problems_of(error, list(Document.model_fields)))) from error
    wrong = list(contradictions(document))
    if wrong:
        raise TariffError(where, wrong)
    return document


def _constant(name: str) -> object:
    raise ValueError(f"{name} is no number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} is there twice")
    return found
