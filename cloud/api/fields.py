"""Fields that several models have, with the rules of the schema."""

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints


def printable(text: str) -> str:
    """Raises ValueError for what nobody can see, and no database can keep: NUL is among it."""
    if not text.isprintable():
        raise ValueError("it has characters that nobody can see")
    return text


Email = Annotated[
    str,
    StringConstraints(strip_whitespace=True),
    Field(
        max_length=254,
        pattern=r"^[^@\s\x00-\x1f]+@[^@\s\x00-\x1f]+\.[^@\s\x00-\x1f]+$",
        description="E-mail address; upper and lower case are the same.",
        examples=["ada@example.org"],
    ),
    AfterValidator(printable),
    AfterValidator(str.lower),
]
Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True),
    Field(min_length=1, max_length=200, description="Name for letters and bills.", examples=["Ada Lovelace"]),
    AfterValidator(printable),
]
Phone = Annotated[str, Field(pattern=r"^\+[1-9][0-9]{6,14}$", description="E.164 number.", examples=["+4930123456"])]
Region = Annotated[
    str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$", description="Name of a region.", examples=["north"])
]
