"""What every successful answer looks like: {"success": true, "message": ..., "data": ..., "meta": ...}."""

from collections.abc import Sequence
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from cloud.api.http.errors import Problem

T = TypeVar("T")


class Body(BaseModel):
    """What a client sends: every field is known, and a field that is not is a mistake."""

    model_config = ConfigDict(extra="forbid")


class Meta(BaseModel):
    """About the answer itself."""

    next: Annotated[str | None, Field(description="Cursor of the next page; null on the last.")] = None
    count: Annotated[int | None, Field(description="How many are on this page.")] = None


class Success(BaseModel, Generic[T]):
    """An answer."""

    success: Annotated[Literal[True], Field(description="Always true; errors are problem+json.")] = True
    message: Annotated[str, Field(description="One sentence for people.")]
    data: Annotated[T, Field(description="What was asked for.")]
    meta: Annotated[Meta | None, Field(description="Pages, for lists.")] = None


class Done(BaseModel):
    """Where nothing but the sentence is to be said."""

    message: Annotated[str, Field(description="One sentence for people.")]


class Fault(BaseModel):
    """One thing that is wrong with a request."""

    where: Annotated[str, Field(description="The field that is to blame.", examples=["body.phone"])]
    message: Annotated[
        str, Field(description="What is wrong with it.", examples=["String should match pattern '^\\\\+[1-9]…'"])
    ]
    found: Annotated[str | None, Field(description="What was found, unless it is secret.", examples=["030 123"])] = None
    reason: Annotated[
        str | None, Field(description="Short name of what is wrong, where it has one.", examples=["common"])
    ] = None


class ProblemAnswer(BaseModel):
    """RFC 9457."""

    type: Annotated[str, Field(description="urn:segs:problem: and a short name that does not change.")]
    status: Annotated[int, Field(description="The HTTP status, a number without unit.")]
    detail: Annotated[str, Field(description="One sentence for people.")]
    where: Annotated[str | None, Field(description="The field that is to blame.")] = None
    errors: Annotated[list[Fault] | None, Field(description="Every field that is to blame.")] = None


# What a status means wherever it is declared by its number alone.
_TYPES: dict[int, tuple[str, ...]] = {
    401: ("unauthenticated",),
    403: ("forbidden",),
    404: ("not-found",),
    409: ("conflict", "immutable"),
    422: ("invalid",),
    429: ("too-many-requests",),
    503: ("unavailable",),
}
_MEANING = {
    401: "No session: log in, or refresh the access token.",
    403: "The proof, password or code is not good, or the caller's role may not do it.",
    404: "There is nothing of that name that the caller may see.",
    406: "The client takes no format that this endpoint answers in.",
    409: "Something else stands in its place.",
    412: "It was changed since it was read: the ETag is another.",
    413: "The body is longer than this endpoint takes.",
    415: "The body is in a format that this endpoint does not take.",
    428: "If-Match is missing.",
    422: "A value makes no sense; errors says which.",
    429: "Asked too often; Retry-After says when to come again.",
    503: "A database does not answer, or too much is asked at once; Retry-After says when to come again.",
}


Refusal = int | type[Problem]


def problems(*refusals: Refusal) -> dict[int | str, dict[str, object]]:
    """The errors of an endpoint, for its documentation; 503 is every endpoint's.

    A status stands for its usual type; what is refused in a way of its own is named by its class.
    """
    kinds: dict[int, list[Refusal]] = {503: [503]}
    for one in refusals:
        kinds.setdefault(one if isinstance(one, int) else one.status, []).append(one)
    return {status: refusal(status, named) for status, named in sorted(kinds.items())}


def refusal(status: int, refusals: Sequence[Refusal]) -> dict[str, object]:
    """The description of one status: what it means, and the types that it comes with."""
    names = [name for one in refusals for name in (_types(one) if isinstance(one, int) else (one.problem,))]
    types = [f"urn:segs:problem:{name}" for name in dict.fromkeys(names)]
    told = [_MEANING[one] if isinstance(one, int) else " ".join((one.__doc__ or "").split()) for one in refusals]
    schema = {
        "allOf": [{"$ref": "#/components/schemas/Problem"}],
        "properties": {
            "type": {"type": "string", "description": "What kind of problem it is.", "enum": types},
            "status": {"type": "integer", "description": "The HTTP status, a number without unit.", "const": status},
        },
    }
    return {
        "description": " ".join(dict.fromkeys(told)),
        "content": {"application/problem+json": {"schema": schema}},
    }


def _types(status: int) -> Sequence[str]:
    """The usual types of a status; of one that has none, whatever the API refuses with it. Raises LookupError."""
    if status in _TYPES:
        return _TYPES[status]
    kinds, found = [Problem], []
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        if kind.status == status:
            found.append(kind.problem)
    if not found:
        raise LookupError(f"nothing is refused with {status}; name the class of the problem")
    return sorted(found)
