"""Types that several parts of the contract have in common."""

import re
from typing import Annotated

import msgspec

MAX_DEVICE_KEY = 96
DEVICE_KEY = re.compile(r"^[A-Za-z0-9._-]+(/[0-9]+)?\Z")
"""The gateway's name of a device, `name/n` for a channel of it; its length is bounded too."""
TIME_LIMIT, INTERVAL_LIMIT, FLAG_LIMIT = 2**62, 2**31, 2**15
"""The largest time that a reading may have either way; intervals and flags are below theirs, and not below 0."""

Seq = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
DeviceKey = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_DEVICE_KEY, pattern=DEVICE_KEY.pattern)]
TimeUs = Annotated[int, msgspec.Meta(ge=-TIME_LIMIT, le=TIME_LIMIT)]
Number = int | float | None
