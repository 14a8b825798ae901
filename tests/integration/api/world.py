"""People of every role, and something of each kind that is theirs, their neighbour's, or in another region.

Sessions are made in the database, tokens are signed with the API's own keys: no password is hashed for them, so that
each question can have people of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Literal, TypeAlias
from uuid import UUID, uuid4

import psycopg

from tests.integration.api.conftest import Api

Whose: TypeAlias = Literal["own", "neighbour", "far"]
WHOSE: tuple[Whose, ...] = ("own", "neighbour", "far")
ROLES = ("USER", "OPERATOR", "ADMIN")
REFUSED = ("nobody", "suspended", "expired", "logged out")
CALLERS = (*ROLES, "pretender", *REFUSED)
"""A pretender is a customer whose token says that they are an admin."""
_NUMBERS = count(1)

ALERTING = (
    "/alerts/actions",
    "/alerts/{alert_id}/acknowledge",
    "/alerts/{alert_id}/close",
    "/alerts/{alert_id}/comments",
    "/maintenance-windows",
)
"""What people do about alerts that takes a key."""


@dataclass(frozen=True)
class Caller:
    """`role` is what the database says; None where nobody is let in."""

    kind: str
    role: str | None
    user_id: int
    email: str
    token: str | None

    @property
    def headers(self) -> dict[str, str]:
        return {} if self.token is None else {"authorization": f"Bearer {self.token}"}


class World:
    """Makes people and things, as the owner of the databases."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.domain = psycopg.connect(api.domain, autocommit=True)
        for region in ("north", "south"):
            self.one("SELECT region_price_set(%s, 'EUR', 0.4, NULL, NULL, NULL, NULL, now())", region)
        self._hash = self.one("SELECT password_hash FROM users WHERE email = 'hash@example.net'")

    def one(self, statement: str, *parameters: object) -> Any:
        """The one value."""
        row = self.domain.execute(statement, parameters).fetchone()
        assert row is not None
        return row[0]

    def caller(self, kind: str) -> Caller:
        """One of CALLERS, whom nobody has seen before. They live, and look after, the north."""
        role = {"suspended": "ADMIN", "expired": "ADMIN", "logged out": "ADMIN"}.get(kind, kind)
        role = role if role in ROLES else "USER"
        user_id, email = self.person(role, "north")
        now = datetime.now(UTC)
        said, issued_at = role, now
        if kind == "pretender":
            said = "ADMIN"
        if kind == "expired":
            issued_at = now - timedelta(hours=1)
        family = self._session(user_id, now)
        token, _ = self.api.access.issue(user_id=user_id, session_id=family, role=said, now=issued_at)
        if kind == "suspended":
            self.domain.execute("SELECT user_suspend(%s, now())", [user_id])
        if kind == "logged out":
            self.domain.execute(
                "UPDATE sessions SET revoked_at = now(), revoke_reason = 'logout' WHERE family_id = %s", [family]
            )
        let_in = kind not in REFUSED
        return Caller(kind, role if let_in else None, user_id, email, None if kind == "nobody" else token)

    def person(self, role: str, region: str) -> tuple[int, str]:
        """Number and address of a new account."""
        email = f"w{next(_NUMBERS)}@example.com"
        statement = "SELECT user_create(%s, 'Somebody', NULL, %s, %s, %s, %s, now())"
        regions = [region] if role == "OPERATOR" else []
        return self.one(statement, email, region, role, self._hash, regions), email

    def _session(self, user_id: int, now: datetime) -> UUID:
        family = uuid4()
        self.domain.execute(
            "INSERT INTO sessions (family_id, user_id, token_hash, created_at, expires_at) VALUES (%s, %s, %s, %s, %s)",
            [family, user_id, os.urandom(32), now - timedelta(seconds=1), now + timedelta(days=1)],
        )
        return family

    def thing(self, kind: str, whose: Whose, caller: Caller) -> Mapping[str, object]:
        """Something new, by the names that it has as a parameter. Raises KeyError for a kind that nobody taught."""
        return KINDS[kind](self, whose, caller)

    def forget_limits(self) -> None:
        """What others have asked for from this address does not count."""
        self.domain.execute("DELETE FROM rate_buckets")


def _meter(world: World, whose: Whose, caller: Caller) -> Mapping[str, object]:
    region = "south" if whose == "far" else "north"
    owner = caller.user_id if whose == "own" else world.person("USER", region)[0]
    meter_id = world.one("INSERT INTO meters DEFAULT VALUES RETURNING meter_id")
    code = world.one("SELECT meter_code FROM meters WHERE meter_id = %s", meter_id)
    world.domain.execute(
        "INSERT INTO meter_locations (meter_id, region, timezone) VALUES (%s, %s, 'UTC')", [meter_id, region]
    )
    world.domain.execute("SELECT meter_give(%s, %s, '-infinity', now())", [code, owner])
    return {"code": code, "meter": code}


def _user(world: World, whose: Whose, caller: Caller) -> Mapping[str, object]:
    if whose == "own":
        return {"user_id": caller.user_id}
    return {"user_id": world.person("USER", "south" if whose == "far" else "north")[0]}


def _region(world: World, whose: Whose, caller: Caller) -> Mapping[str, object]:
    return {"region": "south" if whose == "far" else "north"}


def _gateway(world: World, whose: Whose, caller: Caller) -> Mapping[str, object]:
    """Of the region's operators; it reads a meter as device m, with two keys."""
    region, name = "south" if whose == "far" else "north", f"walk-{next(_NUMBERS)}"
    hashes = [os.urandom(32) for _ in range(2)]
    world.domain.execute("SELECT gateway_add(%s, %s, now(), %s)", [name, hashes[0], region])
    world.domain.execute("SELECT gateway_key_add(%s, %s, now())", [name, hashes[1]])
    world.domain.execute(
        "SELECT device_register(%s, 'm', %s, 'UTC', 'sdm630', NULL, 1000, NULL, now(), NULL)", [name, region]
    )
    key = "SELECT min(gateway_key_id) FROM gateway_keys WHERE gateway_id = gateway_id_of(%s)"
    return {"name": name, "device": "m", "key_id": world.one(key, name)}


def _override(world: World, whose: Whose, caller: Caller) -> Mapping[str, object]:
    """Of a quarter-hour far ahead."""
    region = "south" if whose == "far" else "north"
    add = "SELECT price_override_add(%s, 2, NULL, %s, %s, 'Storm', now())"
    begin = datetime(2050, 1, 1, tzinfo=UTC) + next(_NUMBERS) * timedelta(minutes=15)
    return {"region": region, "override_id": world.one(add, region, begin, begin + timedelta(minutes=15))}


def _invoice(world: World, whose: Whose, caller: Caller) -> Mapping[str, object]:
    """A final one over January, of 119.00 EUR of which nothing is paid."""
    code = str(_meter(world, whose, caller)["code"])
    owner = world.one("SELECT user_id FROM meters JOIN meter_owners USING (meter_id) WHERE meter_code = %s", code)
    return {"invoice_id": invoice(world, code, owner)}


def invoice(world: World, code: str, owner: int, *, net: str = "100.00", final: bool = True) -> int:
    """A bill of one line and its tax, over January 2026."""
    invoice_id: int = world.one(
        "INSERT INTO invoices (meter_id, user_id, period_start, period_end, timezone, span, currency, net_amount,"
        " tax_amount) SELECT meter_id, %s, '2026-01-01', '2026-02-01', 'UTC', '[2026-01-01Z, 2026-02-01Z)', 'EUR', n, t"
        " FROM meters, (SELECT %s::numeric AS n, round(%s * 0.19, 2) AS t) AS a WHERE meter_code = %s"
        " RETURNING invoice_id",
        *(owner, net, net, code),
    )
    world.domain.execute(
        "INSERT INTO invoice_line_items (invoice_id, position, component, description, quantity, unit, unit_price,"
        " amount) SELECT invoice_id, n, component, component, 1, 'bill', amount, amount FROM invoices, LATERAL"
        " (VALUES (1, 'adjustment', net_amount), (2, 'tax', tax_amount)) AS l (n, component, amount)"
        " WHERE invoice_id = %s",
        [invoice_id],
    )
    if final:
        world.domain.execute("SELECT bill_finalise(%s, now())", [invoice_id])
    return invoice_id


def _alert(world: World, whose: Whose, caller: Caller) -> Mapping[str, object]:
    """An open one of a meter."""
    return {"alert_id": alert(world, str(_meter(world, whose, caller)["code"]))}


def alert(world: World, code: str, **columns: object) -> int:
    """An alert of a meter that fired a minute ago, by which nobody was told yet; `columns` say what else it is."""
    said: dict[str, object] = {"rule": "under_voltage", "category": "supply", "severity": "warning", "state": "firing"}
    said |= columns
    alert_id: int = world.one(
        f"INSERT INTO alerts (meter_id, message, started_at, fired_at, {', '.join(said)})"
        f" SELECT meter_id, 'Voltage is low', now() - INTERVAL '2 minutes', now() - INTERVAL '1 minute',"
        f" {', '.join(['%s'] * len(said))} FROM meters WHERE meter_code = %s RETURNING alert_id",
        *(*said.values(), code),
    )
    world.domain.execute("INSERT INTO alert_events (alert_id, kind, event_at) VALUES (%s, 'fired', now())", [alert_id])
    return alert_id


def _maintenance(world: World, whose: Whose, caller: Caller) -> Mapping[str, object]:
    """Of a region, for an hour."""
    add = "SELECT maintenance_add(NULL, NULL, NULL, %s, NULL, now() + INTERVAL '1 hour', 'Work', now())"
    return {"window_id": world.one(add, "south" if whose == "far" else "north")}


def _rule(world: World, whose: Whose, caller: Caller) -> Mapping[str, object]:
    """One of its own name, for all."""
    name = f"walk_{next(_NUMBERS)}"
    return {"rule": _set_rule(world, name, None, None)}


def _region_rule(world: World, whose: Whose, caller: Caller) -> Mapping[str, object]:
    """One that a region has in place of what holds for all."""
    region = str(_region(world, whose, caller)["region"])
    return {"rule": _set_rule(world, f"walk_{next(_NUMBERS)}", region, None), "region": region}


def _meter_rule(world: World, whose: Whose, caller: Caller) -> Mapping[str, object]:
    """One that a meter has in place of its region's."""
    name = str(_rule(world, whose, caller)["rule"])
    code = str(_meter(world, whose, caller)["code"])
    return {"rule": _set_rule(world, name, None, code), "code": code}


def _set_rule(world: World, name: str, region: str | None, code: str | None) -> str:
    change = (
        '{"metric": "power_w", "above": true, "raise_at": 5, "clear_at": 4, "severity": "low", "category": "load",'
        ' "window_min": 15}'
    )
    number = "(SELECT meter_id FROM meters WHERE meter_code = %s)"
    world.one(f"SELECT alert_rule_set(%s, %s, {number}, %s, now())", name, region, code, change)
    return name


KINDS: dict[str, Callable[[World, Whose, Caller], Mapping[str, object]]] = {
    "alert": _alert,
    "gateway": _gateway,
    "invoice": _invoice,
    "maintenance": _maintenance,
    "meter": _meter,
    "meter rule": _meter_rule,
    "override": _override,
    "user": _user,
    "region": _region,
    "region rule": _region_rule,
    "rule": _rule,
}
"""How to make one of each kind that routes reach; its own, of a neighbour in the north, or far away in the south. A
route of another kind needs its maker here."""
