"""The description of the API is complete, and it is the one that is checked in."""

import json
from pathlib import Path
from typing import Annotated

import pytest
from fastapi import APIRouter
from pydantic import BaseModel, Field

from cloud.api.access import PUBLIC, SELF
from cloud.api.app import build
from cloud.api.caller import CallerIs
from cloud.api.http.openapi import written
from tests.described import lacks

PAGE = Path(__file__).parents[3] / "docs" / "openapi.json"


class Bare(BaseModel):
    """What somebody wrote in a hurry."""

    power: float
    voltage: Annotated[float, Field(description="Of phase 1.")]
    colour: str


def test_everything_is_described_with_its_unit_its_errors_and_an_example() -> None:
    """D18: whoever writes a client has nothing to guess."""
    assert lacks(build(None).openapi()) == []


def test_the_description_that_is_checked_in_is_the_api_s() -> None:
    """D18: documentation of another program."""
    assert PAGE.read_text() == written(build(None).openapi()), "docs/openapi.json is stale; make docs writes it anew"


def test_the_document_is_openapi_3_1_and_knows_no_model_of_a_framework() -> None:
    document = json.loads(PAGE.read_text())
    assert document["openapi"].startswith("3.1.")
    assert {"HTTPValidationError", "ValidationError"} & set(document["components"]["schemas"]) == set()


def test_no_name_of_a_model_tells_where_its_code_is() -> None:
    """Generated clients have these names: they would change with every move of a module."""
    assert [name for name in json.loads(PAGE.read_text())["components"]["schemas"] if "cloud__" in name] == []


def test_it_is_the_same_however_often_it_is_made() -> None:
    assert build(None).openapi() == build(None).openapi()


@pytest.fixture(scope="module")
def found() -> list[str]:
    """What is said of endpoints that lack everything."""
    app = build(None)
    router = APIRouter(prefix="/api/v1/hasty", tags=["hasty"])

    @router.get("/{thing}")
    async def hasty(thing: str, limit: int, caller: CallerIs) -> Bare:
        raise NotImplementedError

    @router.post("", openapi_extra=SELF)
    async def made(body: Bare) -> dict[str, int]:
        """Make one."""
        raise NotImplementedError

    @router.post("/open", openapi_extra=PUBLIC)
    async def opened(body: Bare) -> None:
        """Open one."""

    app.include_router(router)
    return lacks(app.openapi())


@pytest.mark.parametrize(
    "line",
    [
        "GET /api/v1/hasty/{thing}: no summary; write a docstring",
        "GET /api/v1/hasty/{thing}: no tag with a description",
        "GET /api/v1/hasty/{thing}: no declared access; see cloud/api/access.py",
        "GET /api/v1/hasty/{thing}: parameter thing: no description",
        "GET /api/v1/hasty/{thing}: parameter thing: no example",
        "GET /api/v1/hasty/{thing}: parameter limit: a number without unit, in name or description",
        "GET /api/v1/hasty/{thing}: 401 is not among its errors",
        "GET /api/v1/hasty/{thing}: 404 is not among its errors",
        "GET /api/v1/hasty/{thing}: 422 is no problem+json with types",
        "GET /api/v1/hasty/{thing}: 503 is not among its errors",
        "GET /api/v1/hasty/{thing}: 200 has no example; each field needs one",
        "POST /api/v1/hasty: access self, and security []",
        "POST /api/v1/hasty: its body has no example; each field needs one",
        "POST /api/v1/hasty/open: 503 is not among its errors",
        "Bare.power: no description",
        "Bare.power: a number without unit, in name or description",
        "Bare.voltage: a number without unit, in name or description",
        "Bare.colour: no example",
    ],
)
def test_an_endpoint_that_leaves_something_out_is_told_what(found: list[str], line: str) -> None:
    assert line in found
