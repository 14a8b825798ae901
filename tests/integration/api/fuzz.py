"""Made-up requests to every operation for every role: valid ones, spoilt ones, and about things that exist."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.core.failures import FailureGroup
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from cloud.api.access import KEY
from tests.integration.api.conftest import Api
from tests.integration.api.world import KINDS, ROLES, WHOSE, Caller, World

_CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
_MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
_TIMEOUT_S = 30


@dataclass
class Outcome:
    """What a run found; `failures` are lines, each kind of failure of an operation once."""

    cases: int = 0
    asked: set[str] = field(default_factory=set)
    statuses: Counter[int] = field(default_factory=Counter)
    failures: dict[str, str] = field(default_factory=dict)

    def fail(self, key: str, told: str) -> None:
        self.failures.setdefault(key, told)


def fuzz(api: Api, *, cases: int, number: int) -> Outcome:
    """About `cases` requests, the same for the same `number` and description of the API."""
    outcome = Outcome()
    schema = schemathesis.openapi.from_dict(api.get("/openapi.json").json())
    found = [result.ok() for result in schema.get_all_operations()]
    each = max(1, cases // (len(found) * (1 + len(ROLES)) * len(_MODES)))
    with requests.Session() as session:
        session.trust_env = False
        world = World(api)
        with world.domain:
            for operation, role, mode in product(found, ("nobody", *ROLES), _MODES):
                _ask(world, session, operation, role, mode, each, number, outcome)
    return outcome


def _ask(
    world: World,
    session: requests.Session,
    operation: APIOperation[Any, Any, Any],
    role: str,
    mode: GenerationMode,
    each: int,
    number: int,
    outcome: Outcome,
) -> None:
    world.forget_limits()
    caller = world.caller(role)
    kind = operation.definition.raw[KEY].get("of")
    things = [world.thing(kind, whose, caller) for whose in WHOSE] if kind in KINDS else []
    label = f"{operation.label} as {role}"

    @seed(number)
    @settings(
        max_examples=each,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(mode), known=st.sampled_from([None, *things]))
    def asked(case: Case, known: dict[str, Any] | None) -> None:
        nonlocal caller
        for name in known or {}:
            if name in case.path_parameters:
                case.path_parameters[name] = known[name]
        outcome.cases += 1
        outcome.asked.add(operation.label)
        status = _send(world.api.url, session, case, caller, label, outcome)
        if status == 401 and caller.token is not None:
            # Its session was ended by what was just tried.
            caller = world.caller(role)

    try:
        asked()
    except Unsatisfiable:
        # What takes nothing cannot be asked wrongly.
        assert mode is GenerationMode.NEGATIVE, operation.label


def _send(url: str, session: requests.Session, case: Case, caller: Caller, label: str, outcome: Outcome) -> int:
    arguments = case.as_transport_kwargs(base_url=url, headers=caller.headers)
    if caller.token is None:
        arguments["headers"].pop("Authorization", None)
    try:
        with session.request(**arguments, timeout=_TIMEOUT_S, stream=True) as response:
            outcome.statuses[response.status_code] += 1
            if response.status_code >= 500:
                outcome.fail(f"{case.operation.label} {response.status_code}", f"{label}: {_told(case, response)}")
            elif response.headers.get("content-type", "").startswith("text/event-stream"):
                next(response.iter_content(1))
            else:
                case.validate_response(response, checks=_CHECKS)
            return response.status_code
    except FailureGroup as group:
        for failure in group.exceptions:
            key = f"{case.operation.label} {response.status_code} {type(failure).__name__}"
            outcome.fail(key, f"{label}: {failure}: {_told(case, response)}")
        return response.status_code
    except requests.RequestException as error:
        outcome.fail(f"{case.operation.label} {type(error).__name__}", f"{label}: {error}: {case.as_curl_command()}")
        return 0


def _told(case: Case, response: requests.Response) -> str:
    return f"{response.status_code} {response.text[:300]} to {case.as_curl_command()[:600]}"
