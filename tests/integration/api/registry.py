"""What the API has of the registry, and what each of its endpoints answers to whom."""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass, field
from itertools import count

from cloud.identity import claims, tokens
from tests.integration.api.conftest import Api, Person

WHO = ("the owner", "another customer", "the operator", "another operator", "an admin")
# Of a meter, a gateway and a device in the north, where the owner lives and the operator works; the other one works in
# the south. Bodies are what is sent; names in braces are of things that are made anew for each request.
_STAFF = (403, 403, 200, 404, 200)
_MADE = (403, 403, 201, 404, 201)
_SEEN = (200, 404, 200, 404, 200)
_ADMIN = (403, 403, 403, 403, 200)
_CSV = b"model,serial,region\nx,{fresh},north\n"
REGISTRY: dict[tuple[str, str], tuple[object, tuple[int, ...]]] = {
    ("GET", "/meters"): (None, (200,) * 5),
    ("POST", "/meters"): ({"region": "north", "model": "x", "serial": "{fresh}"}, (403, 403, 201, 403, 201)),
    ("POST", "/meters/import"): (_CSV, (403, 403, 200, 422, 200)),
    ("POST", "/meters/claim"): ({"claim_code": "{claim}"}, (200, 409, 403, 403, 403)),
    ("GET", "/meters/{code}"): (None, _SEEN),
    ("PATCH", "/meters/{code}"): ({"site": "barn"}, _STAFF),
    ("GET", "/meters/{code}/locations"): (None, _SEEN),
    ("POST", "/meters/{code}/move"): ({"region": "north", "timezone": "Europe/Berlin"}, _STAFF),
    ("GET", "/meters/{code}/owners"): (None, _SEEN),
    ("POST", "/meters/{code}/owners"): ({"user_id": "{another}"}, _MADE),
    ("POST", "/meters/{code}/owners/end"): ({}, _STAFF),
    ("GET", "/meters/{code}/exchanges"): (None, _SEEN),
    ("POST", "/meters/{code}/exchanges"): ({"serial": "{fresh}", "model": "y"}, _MADE),
    ("POST", "/meters/{code}/exchanges/revoke"): ({"at": "2026-01-01T00:00:00Z", "reason": "never was"}, _STAFF),
    ("PUT", "/meters/{code}/registers"): ({"rollover_wh": 100000000}, _STAFF),
    ("GET", "/meters/{code}/claims"): (None, _STAFF),
    ("POST", "/meters/{code}/claims"): ({"days": 7}, _MADE),
    ("DELETE", "/meters/{code}/claims"): (None, _STAFF),
    ("GET", "/gateways"): (None, (403, 403, 200, 200, 200)),
    ("POST", "/gateways"): ({"name": "{fresh}", "region": "north"}, (403, 403, 201, 403, 201)),
    ("GET", "/gateways/{name}"): (None, _STAFF),
    ("PATCH", "/gateways/{name}"): ({"region": "south"}, _ADMIN),
    ("POST", "/gateways/{name}/disable"): (None, _STAFF),
    ("POST", "/gateways/{name}/enable"): (None, _STAFF),
    ("GET", "/gateways/{name}/keys"): (None, _STAFF),
    ("POST", "/gateways/{name}/keys"): (None, _MADE),
    ("DELETE", "/gateways/{name}/keys/{key_id}"): (None, _STAFF),
    ("GET", "/gateways/{name}/devices"): (None, _STAFF),
    ("POST", "/gateways/{name}/devices"): (
        {"device": "new", "interval_ms": 1000, "region": "north", "model": "x"},
        _MADE,
    ),
    ("POST", "/gateways/{name}/devices/import"): (
        b"device,interval_ms,region,model\nnew,1000,north,x\n",
        (403, 403, 200, 404, 200),
    ),
    ("POST", "/gateways/{name}/devices/{device}/move"): ({"to_device": "other"}, _STAFF),
    ("DELETE", "/gateways/{name}/devices/{device}"): (None, _STAFF),
    ("GET", "/regions"): (None, (200,) * 5),
    ("POST", "/regions"): (
        {"region": "{fresh}", "name": "New", "timezone": "UTC", "capacity_w": 1e6},
        (403, 403, 403, 403, 201),
    ),
    ("GET", "/regions/{region}"): (None, (200,) * 5),
    ("PATCH", "/regions/{region}"): ({"name": "The north"}, _ADMIN),
    ("GET", "/regions/{region}/capacities"): (None, _STAFF),
    ("PUT", "/regions/{region}/capacity"): ({"capacity_w": 2e6}, _ADMIN),
}
_NUMBERS = count(1)


@dataclass
class Place:
    """A meter of the owner's in the north, which device m of a gateway is, read with two keys."""

    api: Api
    owner: Person
    code: str = field(init=False)
    gateway: str = field(init=False)
    keys: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.code = self.owner.meter("north")
        self.gateway = f"gw-{uuid.uuid4().hex[:8]}"
        hashes = [hashlib.sha256(f"{self.gateway} {n}".encode()).digest() for n in range(2)]
        self.api.do("SELECT gateway_add(%s, %s, now(), 'north')", self.gateway, hashes[0])
        self.api.do("SELECT gateway_key_add(%s, %s, now())", self.gateway, hashes[1])
        self.keys = [
            key
            for (key,) in self.api.do(
                "SELECT gateway_key_id FROM gateway_keys WHERE gateway_id = gateway_id_of(%s) ORDER BY 1", self.gateway
            )
        ]
        self.api.do(
            "SELECT device_register(%s, 'm', 'north', 'UTC', NULL, NULL, 1000, NULL, now(), %s)",
            self.gateway,
            self.code,
        )
        self.api.do(
            "INSERT INTO meter_exchanges (meter_id, exchanged_at, new_model, new_serial)"
            " SELECT meter_id, '2026-01-01Z', model, serial FROM meters WHERE meter_code = %s",
            self.code,
        )

    def request(self, method: str, path: str, *, another: Person) -> tuple[str, bytes | None]:
        """Where REGISTRY's request about this goes, and its body. `another` is who may get the meter."""
        names = {"code": self.code, "name": self.gateway, "key_id": self.keys[0], "device": "m", "region": "north"}
        body, _ = REGISTRY[method, path]
        if body is None:
            return path.format(**names), None
        text = body.decode() if isinstance(body, bytes) else json.dumps(body)
        text = text.replace('"{another}"', str(another.user_id)).replace("{fresh}", fresh())
        if "{claim}" in text:
            text = text.replace("{claim}", self._claim())
        return path.format(**names), text.encode()

    def _claim(self) -> str:
        """A code that is good for the meter."""
        claim = claims.generate()
        self.api.do(
            "INSERT INTO meter_claims (meter_id, code_hash, issued_by, created_at, expires_at)"
            " SELECT meter_id, %s, 3, now(), now() + INTERVAL '1 day' FROM meters WHERE meter_code = %s",
            tokens.digest(claims.normal(claim)),
            self.code,
        )
        return claim


def fresh() -> str:
    """A name that nothing has yet."""
    return f"n{next(_NUMBERS)}-{uuid.uuid4().hex[:6]}"


def kind_of(path: str) -> dict[str, str]:
    """The header that says what the body of a request to it is."""
    return {"content-type": "text/csv" if path.partition("?")[0].endswith("import") else "application/json"}
