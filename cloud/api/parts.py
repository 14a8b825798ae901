"""What the endpoints work with."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from cloud.api.database import Databases
from cloud.api.settings import Network
from cloud.identity.keys import KeyFolder
from cloud.identity.passwords import Passwords
from cloud.identity.settings import IdentitySettings
from cloud.identity.tokens import AccessTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Open already, and closed by who opened them. `ready` says what is missing, and why; of a service that
    can answer everything, nothing. `trusted` are proxies whose word it is where a request comes from.
    """

    databases: Databases
    keys: KeyFolder
    tokens: AccessTokens
    passwords: Passwords
    identity: IdentitySettings
    ready: Callable[[], Awaitable[Mapping[str, str]]]
    trusted: Sequence[Network] = ()
