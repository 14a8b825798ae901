"""What every successful answer looks like: {"success": true, "message": ..., "data": ..., "meta": ...}."""

from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

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


class ProblemAnswer(BaseModel):
    """RFC 9457."""

    type: Annotated[str, Field(description="urn:segs:problem: and a short name that does not change.")]
    status: Annotated[int, Field(description="The HTTP status.")]
    detail: Annotated[str, Field(description="One sentence for people.")]
    where: Annotated[str | None, Field(description="The field that is to blame.")] = None
    errors: Annotated[
        list[dict[str, object]] | None, Field(description="Every field that is to blame: where, message, found.")
    ] = None


_MEANING = {
    401: "No session: log in, or refresh the access token.",
    403: "The proof or code is not good, or the caller's role may not do it.",
    404: "There is nothing of that name that the caller may see.",
    409: "Something else stands in its place.",
    412: "It was changed since it was read: the ETag is another.",
    413: "The body is longer than this endpoint takes.",
    428: "If-Match is missing.",
    422: "A value makes no sense; errors says which.",
    429: "Asked too often; Retry-After says when to come again.",
    503: "A database does not answer, or too much is asked at once; Retry-After says when to come again.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, object]]:
    """The errors of an endpoint, for its documentation; 503 is every endpoint's."""
    return {
        status: {
            "description": _MEANING[status],
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemAnswer"}}},
        }
        for status in sorted({*statuses, 503})
    }
