"""Every endpoint of the registry, asked by everybody: whose it is, who looks after it, and others."""

import json
from collections.abc import Iterator

import pytest

from cloud.identity import claims, tokens
from tests.integration.api.conftest import Api, Person
from tests.integration.api.registry import REGISTRY, WHO, Place, fresh


@pytest.fixture(scope="module")
def people(api: Api) -> dict[str, Person]:
    return dict(
        zip(
            WHO,
            (
                api.person(),
                api.person(),
                api.person("OPERATOR", "north"),
                api.person("OPERATOR", "south"),
                api.person("ADMIN"),
            ),
            strict=True,
        )
    )


@pytest.fixture(autouse=True)
def _unlimited(api: Api) -> Iterator[None]:
    yield
    api.do("DELETE FROM rate_buckets")


@pytest.mark.parametrize(("method", "path"), REGISTRY)
def test_an_endpoint_answers_whom_it_is_for(api: Api, people: dict[str, Person], method: str, path: str) -> None:
    """D6, D12: neither a region that sets a price nor somebody's meter is a customer's to change."""
    body, expected = REGISTRY[method, path]
    answers = {}
    for name, who in people.items():
        place, claim = Place(api, people["the owner"]), claims.generate()
        api.do(
            "INSERT INTO meter_claims (meter_id, code_hash, issued_by, created_at, expires_at)"
            " SELECT meter_id, %s, 3, now(), now() + INTERVAL '1 day' FROM meters WHERE meter_code = %s",
            tokens.digest(claims.normal(claim)),
            place.code,
        )
        names = {"code": place.code, "name": place.gateway, "key_id": place.keys[0], "device": "m", "region": "north"}
        given = {"fresh": fresh(), "claim": claim, "another": people["another customer"].user_id}
        sent: object = body
        if isinstance(body, bytes):
            sent = body.replace(b"{fresh}", given["fresh"].encode())  # type: ignore[union-attr]
        elif body is not None:
            text = json.dumps(body).replace('"{another}"', str(given["another"]))
            sent = json.loads(text.replace("{fresh}", str(given["fresh"])).replace("{claim}", claim))
        answers[name] = api.ask(
            method,
            path.format(**names),
            sent,
            token=who.token,
            headers={"if-match": "*"} if method == "PATCH" else None,
        )

    statuses = tuple(answer.status_code for answer in answers.values())
    assert statuses == expected, {name: answer.text[:300] for name, answer in answers.items()}
    for answer in answers.values():
        kind = "application/json" if answer.status_code < 400 else "application/problem+json"
        assert answer.headers["content-type"] == kind


def test_what_happened_to_a_meter_is_told_to_whom_it_concerns(api: Api, people: dict[str, Person]) -> None:
    """D13: the audit log names who was logged in, whatever the request says."""
    place, operator = Place(api, people["the owner"]), people["the operator"]
    headers = {"x-request-id": f"audit-{place.gateway}", "x-user-id": "5", "x-actor": "user:5"}
    for method, path, body in (
        ("POST", f"/meters/{place.code}/move", {"region": "north", "timezone": "Europe/Berlin"}),
        ("POST", f"/gateways/{place.gateway}/disable", None),
    ):
        assert api.ask(method, path, body, token=operator.token, headers=headers).status_code == 200
    refused = api.ask("POST", f"/meters/{place.code}/move", {"region": "north", "actor": "x"}, token=operator.token)

    logged = api.do("SELECT DISTINCT actor, table_name FROM audit_logs WHERE request_id = %s", headers["x-request-id"])
    assert sorted(logged) == [
        (f"user:{operator.user_id}", "gateways"),
        (f"user:{operator.user_id}", "meter_locations"),
    ]
    assert refused.status_code == 422
