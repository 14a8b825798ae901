"""Where a request comes from, when it comes by way of a proxy."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from cloud.api.settings import Network

_HEADER = "x-forwarded-for"


class Forwarded:
    """The client of a request is who asked the outermost of the `trusted` proxies, and not the proxy.

    Each proxy adds whom it heard at the end of X-Forwarded-For. What stands before the word of the first one that is
    trusted is the client's own, and could be anything. Of anybody else the header is not looked at.
    """

    def __init__(self, app: ASGIApp, *, trusted: Sequence[Network]) -> None:
        self._app, self._trusted = app, trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._trusted and scope["type"] == "http" and scope.get("client"):
            said = ",".join(Headers(scope=scope).getlist(_HEADER))
            scope["client"] = (client(scope["client"][0], said, self._trusted), 0)
        await self._app(scope, receive, send)


def client(peer: str, said: str, trusted: Sequence[Network]) -> str:
    """The address that `peer` speaks for by `said`, its X-Forwarded-For; `peer` itself where it is not trusted, or says
    nothing that is an address."""
    found = peer
    for part in reversed(said.split(",")):
        here = _address(found)
        if here is None or not any(here in network for network in trusted):
            break
        before = _address(part.strip())
        if before is None:
            break
        found = str(before)
    return found


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """Also of [2001:db8::1]:443 and 192.0.2.1:443, as some proxies write it; ::ffff:192.0.2.1 is 192.0.2.1."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found
