"""Made-up requests to every operation for every role: valid ones, spoilt ones, and about things that exist."""

from __future__ import annotations

import contextlib
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
from tests.described import example
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
_LEAST = 4
"""Of an operation, role and mode; the first one that hypothesis makes is the plainest there is."""


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
    """About `cases` requests, more where that is too few to try everything; the same ones for the same `number` and
    description of the API."""
    outcome = Outcome()
    document = api.get("/openapi.json").json()
    schema = schemathesis.openapi.from_dict(document)
    found = [result.ok() for result in schema.get_all_operations()]
    # Where a token is needed, it is enough that nobody is refused once.
    each = max(_LEAST, cases // (len(found) * len(ROLES) * len(_MODES)))
    with requests.Session() as session:
        session.trust_env = False
        world = World(api)
        with world.domain:
            for operation, role, mode in product(found, ("nobody", *ROLES), _MODES):
                closed = role == "nobody" and operation.definition.raw["security"]
                _ask(world, session, document, operation, role, mode, 1 if closed else each, number, outcome)
    return outcome


def _ask(
    world: World,
    session: requests.Session,
    document: dict[str, Any],
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
    named = _examples(document, operation)
    label = f"{operation.label} as {role}"

    @seed(number)
    @settings(
        max_examples=each,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(mode), known=st.sampled_from([{}, *things]), query=st.sampled_from([{}, named]))
    def asked(case: Case, known: dict[str, Any], query: dict[str, Any]) -> None:
        nonlocal caller
        for name in known:
            if name in case.path_parameters:
                case.path_parameters[name] = known[name]
        if mode is GenerationMode.POSITIVE:
            case.query |= query
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


def _examples(document: dict[str, Any], operation: APIOperation[Any, Any, Any]) -> dict[str, Any]:
    """Values of the parameters of a query as they are documented, also of those that need not be given."""
    found = {}
    for parameter in operation.definition.raw.get("parameters", []):
        if parameter["in"] == "query" and parameter["name"] != "cursor":
            with contextlib.suppress(LookupError):
                found[parameter["name"]] = example(document, parameter["schema"])
    return found


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
