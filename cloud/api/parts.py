"""What the endpoints work with."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from cloud.api.database import Databases
from cloud.identity.keys import KeyFolder
from cloud.identity.passwords import Passwords
from cloud.identity.settings import IdentitySettings
from cloud.identity.tokens import AccessTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Open already, and closed by who opened them. `ready` says why no request can be answered now, None if it can.
    Pages of `cors_origins` may ask in a browser, besides the API's own."""

    databases: Databases
    keys: KeyFolder
    tokens: AccessTokens
    passwords: Passwords
    identity: IdentitySettings
    ready: Callable[[], Awaitable[str | None]]
    cors_origins: tuple[str, ...] = ()
