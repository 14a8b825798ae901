"""Changes of what was read before: nobody overwrites what they have not seen (RFC 9110, 13.1)."""

import hashlib
from typing import Annotated, ClassVar

from fastapi import Header
from pydantic import BaseModel

from cloud.api.errors import Problem

IfMatch = Annotated[
    str | None,
    Header(max_length=200, description="ETag of what is changed, as its GET has it; * for whatever it is now."),
]


class Unconditional(Problem):
    """A change that does not say what it changes."""

    status: ClassVar[int] = 428
    problem: ClassVar[str] = "precondition-required"


class Changed(Problem):
    """What was read is not what is there now."""

    status: ClassVar[int] = 412
    problem: ClassVar[str] = "precondition-failed"


def tag(seen: BaseModel) -> str:
    """The strong ETag of a representation: another one wherever any of it is another."""
    return f'"{hashlib.sha256(seen.model_dump_json().encode()).hexdigest()[:32]}"'


def require_match(given: str | None, seen: BaseModel) -> None:
    """Raises Unconditional without If-Match, Changed where it names another representation."""
    if given is None:
        raise Unconditional("say what you change: send the ETag of its GET as If-Match", where="header.if-match")
    if given.strip() != "*" and tag(seen) not in [one.strip() for one in given.split(",")]:
        raise Changed("it was changed since you read it; read it again", where="header.if-match")
