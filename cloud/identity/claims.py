"""Codes by which customers take their meters: on paper, typed by hand."""

import secrets

# Without letters that are read as digits, or as each other (Crockford's base 32).
_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_GROUPS, _GROUP = 4, 4
_READ = str.maketrans("OIL", "011", "- ")


def generate() -> str:
    """80 random bits: `K7QF-3M0T-9XWB-HD2R`."""
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(_GROUP)) for _ in range(_GROUPS))


def normal(code: str) -> str:
    """The code as it was made, however it was typed: small letters, without hyphens, O for 0."""
    return code.upper().translate(_READ)
