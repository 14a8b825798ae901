"""Numbers of a tariff: decimals from the first digit on, whether JSON has them as numbers or as texts."""

import re
from decimal import Decimal
from typing import Annotated

import typer
from pydantic import BeforeValidator, Field

PLACES = 8
"""Decimal places of a price: what tariff_rules has room for."""
_LARGEST = Decimal(10) ** 10
_TEXT = re.compile(r"[+-]?(\d{1,40}(\.\d{0,40})?|\.\d{1,40})([eE][+-]?\d{1,2})?", re.ASCII)
_TODO = 'give a decimal number, 0.25 or "0.25"'


def _decimal(value: object) -> Decimal:
    """`value` as it stands. Raises ValueError, which says what to give; floats are refused, for they were rounded."""
    if isinstance(value, str) and _TEXT.fullmatch(value):
        value = Decimal(value)
    if isinstance(value, int) and not isinstance(value, bool):
        value = Decimal(value)
    if not isinstance(value, Decimal) or not value.is_finite():
        raise ValueError(_TODO)
    return value


def price_of(value: object) -> Decimal:
    """`value` as a price that the databases have room for. Raises ValueError, which says what to give."""
    found = _decimal(value)
    if abs(found) >= _LARGEST:
        raise ValueError("give a number below 10000000000")
    if len(plain(found).partition(".")[2]) > PLACES:
        raise ValueError(f"give at most {PLACES} decimal places")
    return found


def a_price(text: str) -> Decimal:
    """Parser of an option that takes a price or a factor."""
    try:
        return price_of(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}; {error}") from None


def some(text: str) -> list[Decimal]:
    """Parser of an option that takes several, with commas between."""
    return [a_price(one.strip()) for one in text.split(",")]


Amount = Annotated[Decimal, BeforeValidator(price_of)]
"""Any amount, credits too."""
NotNegative = Annotated[Amount, Field(ge=0)]
Share = Annotated[Amount, Field(ge=0, le=1)]
Boundless = Annotated[Decimal, BeforeValidator(_decimal)]
"""A decimal of any size: programs write the end of the last tier as 1e38."""


def plain(number: Decimal) -> str:
    """All of its digits, without exponent and trailing zeros."""
    text = f"{number:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
