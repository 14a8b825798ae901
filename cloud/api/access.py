"""Who may reach what: declared beside each route, published with the API, and tried role by role in a test.

A route has `openapi_extra=PUBLIC`, `PROBE`, `SELF` or `reach(...)`. It grants nothing: the database does, and the walk
of every endpoint by every role compares.
"""

from typing import Literal

KEY = "x-segs-access"
Reach = Literal["none", "own", "region", "all"]
Refusal = Literal[403, 404]

PUBLIC: dict[str, object] = {KEY: {"who": "everybody"}}
"""Without a token; what is sent in the body decides."""
PROBE: dict[str, object] = {KEY: {"who": "probe"}}
"""Without a token, and about the service itself: for probes and tools on the inside."""
SELF: dict[str, object] = {KEY: {"who": "self"}}
"""Whoever is logged in, about nobody but themselves."""


def reach(
    of: str | None = None,
    *,
    user: Reach = "none",
    operator: Reach = "none",
    admin: Reach = "all",
    refusal: Refusal = 403,
) -> dict[str, object]:
    """How far each role reaches among the objects of kind `of`: `own`, those of their `region` and their own, or `all`.

    An object that is beyond it is absent, 404. A role that reaches `none` gets `refusal` for whatever it names. Of a
    route whose path names no object, that is a list or what makes a new one, `of` says what is in the list.
    """
    roles = {"USER": user, "OPERATOR": operator, "ADMIN": admin}
    return {KEY: {"who": "roles", "of": of, "roles": roles, "refusal": refusal}}
