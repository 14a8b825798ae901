"""How questions are taken: nothing that they say is passed over, and one client is one."""

from collections.abc import Iterator
from importlib import import_module
from pkgutil import walk_packages

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict

import cloud.api
from cloud.api.http.errors import install
from cloud.api.http.limits import client


def _models() -> Iterator[type[BaseModel]]:
    """Of the queries of all routes."""
    for module in walk_packages(cloud.api.__path__, "cloud.api."):
        router = getattr(import_module(module.name), "router", None)
        for route in [] if router is None else router.routes:
            for parameter in route.dependant.query_params:
                kind = parameter.field_info.annotation
                if isinstance(kind, type) and issubclass(kind, BaseModel):
                    yield kind


def test_a_parameter_that_is_not_known_is_refused_wherever_there_are_some() -> None:
    """D16."""
    found = set(_models())
    assert len(found) > 10
    assert [kind.__qualname__ for kind in found if kind.model_config.get("extra") != "forbid"] == []


async def test_a_body_with_a_thousand_mistakes_is_answered_with_some_of_them() -> None:
    """An answer that is many times what was sent serves nobody but who sends much."""

    class Nothing(BaseModel):
        model_config = ConfigDict(extra="forbid")

    app = FastAPI()
    install(app)

    @app.post("/")
    async def take(body: Nothing) -> None: ...

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://segs") as asking:
        answer = await asking.post("/", json={f"field{n}": n for n in range(1000)})
    assert (answer.status_code, len(answer.json()["errors"])) == (422, 50)


@pytest.mark.parametrize(
    ("address", "whose"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"),
        (None, None),
    ],
)
def test_passwords_of_one_network_wait_for_each_other(address: str | None, whose: str | None) -> None:
    """A customer has 64 bits of IPv6 to ask from: each would be another client."""
    assert client(address) == whose
