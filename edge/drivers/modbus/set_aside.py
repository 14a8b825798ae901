"""Where it is remembered which registers a meter refuses, so that a restart need not find out again."""

from collections.abc import Collection
from typing import Protocol


class SetAside(Protocol):
    """Register keys by device. What was set aside under another `profile`, a digest, is forgotten."""

    def of(self, device: str, profile: str) -> frozenset[str]: ...

    async def keep(self, device: str, profile: str, keys: Collection[str]) -> None: ...


class NotKept:
    """For those who do not outlive what they learn."""

    def of(self, device: str, profile: str) -> frozenset[str]:
        return frozenset()

    async def keep(self, device: str, profile: str, keys: Collection[str]) -> None:
        return
