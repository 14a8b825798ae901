"""No request that can be made up is a fault of the API, or answered in a way that its description does not know."""

from __future__ import annotations

import pytest

from cloud.api.app import build
from cloud.api.http.openapi import operations
from tests.integration.api.conftest import Api
from tests.integration.api.fuzz import Outcome, fuzz

_BOUNDED = 300


@pytest.mark.long
@pytest.mark.timeout(0)
def test_no_made_up_request_is_a_fault_of_the_api(api: Api, request: pytest.FixtureRequest) -> None:
    """D16, D18. `make torture-api` asks for more, and other ones."""
    wanted = getattr(request.config, "fuzz", None)
    outcome = fuzz(api, cases=wanted.cases if wanted else _BOUNDED, number=wanted.seed if wanted else 1)
    if wanted:
        wanted.outcome = outcome
    assert not outcome.failures, "\n".join(outcome.failures.values())
    assert outcome.asked == {f"{method} {path}" for method, path, _ in operations(build(None).openapi())}
    _is_no_farce(outcome)


def _is_no_farce(outcome: Outcome) -> None:
    """Some were let in, and some were refused for what they said."""
    assert outcome.statuses[200] > outcome.cases / 20
    assert outcome.statuses[422] > outcome.cases / 20
