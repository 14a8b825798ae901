"""Types that several parts of the contract have in common."""

from typing import Annotated

import msgspec

MAX_DEVICE_KEY = 96

Seq = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
DeviceKey = Annotated[
    str, msgspec.Meta(min_length=1, max_length=MAX_DEVICE_KEY, pattern=r"^[A-Za-z0-9._-]+(/[0-9]+)?\Z")
]
TimeUs = Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]
Number = int | float | None
