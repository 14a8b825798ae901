"""Numbers as publishers write them: JSON numbers, digits in strings, with a decimal comma, with a unit behind."""

import re

from contract.quantities import BY_NAME

# Beyond this, an integer of a payload fits no 64-bit field and a float no 32-bit column.
LIMIT = 1e18

_TEXT = re.compile(r"([+-]?(?:[0-9]+(?:[.,][0-9]*)?|[.,][0-9]+)(?:[eE][+-]?[0-9]{1,3})?)\s*([A-Za-z]{0,5})")
# 1,234 may be a thousand and more, or one and a quarter: two readings, so neither.
_GROUPED = re.compile(r"[+-]?[1-9][0-9]{0,2},[0-9]{3}\Z")
_NOT_A_NUMBER = frozenset({"", "-", "--", "---", "nan", "-nan", "null", "none", "n/a", "na", "inf", "-inf", "+inf"})
_NO_VALUE = _NOT_A_NUMBER | {"infinity", "-infinity", "unavailable", "unknown", "undefined"}
_UNITS = {
    "w": ("W", 1.0), "kw": ("W", 1e3), "mw": ("W", 1e6), "gw": ("W", 1e9),
    "wh": ("Wh", 1.0), "kwh": ("Wh", 1e3), "mwh": ("Wh", 1e6), "gwh": ("Wh", 1e9),
    "va": ("VA", 1.0), "kva": ("VA", 1e3), "mva": ("VA", 1e6),
    "var": ("var", 1.0), "kvar": ("var", 1e3), "mvar": ("var", 1e6),
    "varh": ("varh", 1.0), "kvarh": ("varh", 1e3), "mvarh": ("varh", 1e6),
    "v": ("V", 1.0), "kv": ("V", 1e3), "mv": ("V", 1e-3),
    "a": ("A", 1.0), "ka": ("A", 1e3), "ma": ("A", 1e-3),
    "hz": ("Hz", 1.0),
}  # fmt: skip
_MILLI = {"mW": ("W", 1e-3), "mWh": ("Wh", 1e-3), "mVA": ("VA", 1e-3)}


class NotANumber(ValueError):
    """A value that should have been a number; the message says what it is."""


def number(value: object) -> float | None:
    """`value` as a number without a unit; None where the publisher says that it has none. Raises NotANumber."""
    measured = _split(value)
    if measured is None:
        return None
    if measured[1]:
        raise NotANumber(f"{shown(value)} has a unit, where a bare number is expected")
    return measured[0]


def measured(value: object, quantity: str, factor: float | None) -> float | None:
    """`value` in the unit of `quantity`: a bare number times `factor`, one with a unit of its own by that unit.

    Without a factor, a bare number is refused.

    None where the publisher says that it has none: null, NaN, "n/a". Raises NotANumber.
    """
    found = _split(value)
    if found is None:
        return None
    if not found[1]:
        if factor is None:
            raise NotANumber(f"{shown(value)} has no unit; say under fields which it is, by scale")
        return found[0] * factor
    unit, scale = _unit(found[1])
    if unit != BY_NAME[quantity].unit:
        raise NotANumber(f"{shown(value)} is not in {BY_NAME[quantity].unit}")
    return found[0] * scale


def shown(value: object) -> str:
    """`value` for a message: short, whatever a publisher sent."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "an array"
    if isinstance(value, int) and not -LIMIT < value < LIMIT:
        return f"an integer of {value.bit_length()} bits"
    text = ascii(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _split(value: object) -> tuple[float, str] | None:
    if value is None:
        return None
    if isinstance(value, bool):
        raise NotANumber(f"{shown(value)} is no number")
    if isinstance(value, int | float):
        return _bounded(value, value)
    if isinstance(value, str):
        return _from_text(value)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, dict) and "value" in value and isinstance(unit := value.get("unit", ""), str):
        found = None if isinstance(value["value"], dict | list) else _split(value["value"])
        return None if found is None else (found[0], found[1] or unit)
    raise NotANumber(f"{shown(value)} is no number")


def _from_text(value: str) -> tuple[float, str] | None:
    text = value.strip()
    if text.lower() in _NO_VALUE:
        return None
    match = _TEXT.fullmatch(text) if len(text) <= 64 else None
    if match is None:
        raise NotANumber(f"{shown(value)} is no number")
    if _GROUPED.match(match[1]):
        raise NotANumber(f"{shown(value)} may group thousands or decimals")
    found = _bounded(float(match[1].replace(",", ".")), value)
    return None if found is None else (found[0], match[2])


def _bounded(value: float, written: object) -> tuple[float, str] | None:
    if -LIMIT < value < LIMIT:
        return value, ""
    if isinstance(value, float):
        return None if value != value or value in (float("inf"), float("-inf")) else _refuse(written)
    return _refuse(written)


def _refuse(written: object) -> tuple[float, str]:
    raise NotANumber(f"{shown(written)} is beyond all fields")


def _unit(text: str) -> tuple[str, float]:
    # Only where milli and mega differ in nothing but the case of a letter does the case matter.
    if text in _MILLI:
        return _MILLI[text]
    found = _UNITS.get(text.lower())
    if found is None:
        raise NotANumber(f"{shown(text)} is no unit that is known")
    return found
