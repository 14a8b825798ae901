"""What operators and admins do, and customers do not."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

from cloud.api.database import Caller, Databases, Transaction
from cloud.api.errors import Problem


class Forbidden(Problem):
    """The caller may see it perhaps, and may not do it."""

    status: ClassVar[int] = 403
    problem: ClassVar[str] = "forbidden"


@asynccontextmanager
async def staff(databases: Databases, caller: Caller) -> AsyncIterator[Transaction]:
    """A transaction of an operator or an admin. Raises Forbidden for a customer.

    Which regions are an operator's, the database's own rules say; this spares it the question, and the customer a
    sentence about what is not there.
    """
    async with databases.domain(caller) as domain:
        if domain.role == "USER":
            raise Forbidden("this is for operators and admins")
        yield domain


@asynccontextmanager
async def admin(databases: Databases, caller: Caller) -> AsyncIterator[Transaction]:
    """A transaction of an admin. Raises Forbidden for anybody else."""
    async with databases.domain(caller) as domain:
        if domain.role != "ADMIN":
            raise Forbidden("this is for admins")
        yield domain
