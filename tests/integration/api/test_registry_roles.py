"""Every endpoint of the registry, asked by everybody: whose it is, who looks after it, and others."""

from collections.abc import Iterator

import pytest

from tests.integration.api.conftest import Api, Person
from tests.integration.api.registry import REGISTRY, WHO, Place, kind_of


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
    answers = {}
    for name, who in people.items():
        there, sent = Place(api, people["the owner"]).request(method, path, another=people["another customer"])
        headers = kind_of(path) | ({"if-match": "*"} if method == "PATCH" else {})
        answers[name] = api.ask(method, there, sent, token=who.token, headers=headers)

    statuses = tuple(answer.status_code for answer in answers.values())
    assert statuses == REGISTRY[method, path][1], {name: answer.text[:300] for name, answer in answers.items()}
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

    log = "SELECT DISTINCT actor, table_name, action FROM audit_logs WHERE request_id = %s ORDER BY table_name, action"
    assert {actor for actor, _, _ in api.do(log, headers["x-request-id"])} == {f"user:{operator.user_id}"}
    logged = [(table, action) for _, table, action in api.do(log, headers["x-request-id"])]
    assert logged == [
        ("gateways", "READ"),
        ("gateways", "UPDATE"),
        ("meter_locations", "INSERT"),
        ("meter_locations", "UPDATE"),
        ("meters", "READ"),
    ]
    assert refused.status_code == 422
