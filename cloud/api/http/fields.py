"""Fields that several models have, with the rules of the schema."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, Field, StringConstraints

from cloud.command import LARGEST_WH


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
Zone = Annotated[
    str, Field(max_length=60, description="IANA zone.", examples=["Europe/Berlin"]), AfterValidator(printable)
]
GatewayName = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$",
        description="Name of a gateway, as in its own configuration.",
        examples=["north-substation"],
    ),
]
DeviceName = Annotated[
    str,
    Field(
        max_length=96,
        pattern=r"^[A-Za-z0-9._-]+(/[0-9]+)?$",
        description="The gateway's name of a device; name/n for its channel n.",
        examples=["main"],
    ),
]
Words = Annotated[
    str, StringConstraints(strip_whitespace=True), Field(min_length=1, max_length=200), AfterValidator(printable)
]
"""A model, a serial number, a site, a reason; its field says which."""
Instant = Annotated[AwareDatetime, Field(ge=datetime(1970, 1, 1, tzinfo=UTC), lt=datetime(3000, 1, 1, tzinfo=UTC))]
"""A time with its offset."""
Watts = Annotated[float, Field(gt=0, le=1e12, allow_inf_nan=False, description="Highest power that is carried, W.")]
WattHours = Annotated[int, Field(ge=0, le=LARGEST_WH)]
"""The read of a register, Wh."""
IntervalMs = Annotated[int, Field(ge=1, le=2**31 - 1, description="Expected time between two readings, ms.")]
