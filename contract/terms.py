"""Types that several parts of the contract have in common."""

import re
from typing import Annotated

import msgspec

MAX_DEVICE_KEY = 96
DEVICE_KEY = re.compile(r"^[A-Za-z0-9._-]+(/[0-9]+)?\Z")
"""The gateway's name of a device, `name/n` for a channel of it; its length is bounded too."""

Seq = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
DeviceKey = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_DEVICE_KEY, pattern=DEVICE_KEY.pattern)]
TimeUs = Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]
Number = int | float | None
