"""What the endpoints work with."""

from asyncio import Event
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from cloud.api.database import Databases
from cloud.api.http.limits import Requests
from cloud.api.http.pace import Pace
from cloud.api.http.places import Places
from cloud.api.measured.quick import Quick
from cloud.api.settings import Network
from cloud.identity.keys import KeyFolder
from cloud.identity.passwords import Passwords
from cloud.identity.settings import IdentitySettings
from cloud.identity.tokens import AccessTokens
from cloud.identity.turns import Turns
from cloud.payments.provider import Provider


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Open already, and closed by who opened them. `ready` says what is missing, and why; of a service that can answer
    everything, nothing. `trusted` are proxies whose word it is where a request comes from. `stopping` is set when the
    service is about to end, and streams end too. Pages of `cors_origins` may ask in a browser, besides the API's own.
    `providers` are who takes money, by their names. Attempts of one client to log in take turns, so that they hold one
    connection and no more.
    """

    databases: Databases
    quick: Quick
    keys: KeyFolder
    tokens: AccessTokens
    passwords: Passwords
    identity: IdentitySettings
    requests: Requests
    pace: Pace
    ready: Callable[[], Awaitable[Mapping[str, str]]]
    trusted: Sequence[Network] = ()
    cors_origins: tuple[str, ...] = ()
    providers: Mapping[str, Provider] = field(default_factory=dict)
    logins: Turns = field(default_factory=lambda: Turns(most=32))
    exports: Places = field(default_factory=lambda: Places(of_one=2, of_all=8))
    streams: Places = field(default_factory=lambda: Places(of_one=4, of_all=500))
    stopping: Event = field(default_factory=Event)
