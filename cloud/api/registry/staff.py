"""What operators and admins do, and customers do not."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from cloud.api.database import Caller, Databases, Transaction
from cloud.api.http.errors import Forbidden


@asynccontextmanager
async def staff(
    databases: Databases,
    caller: Caller,
    what: str,
    *,
    code: str | None = None,
    details: Mapping[str, object] | None = None,
) -> AsyncIterator[Transaction]:
    """A transaction of an operator or an admin, who looks at `what`, as Transaction.look() writes down. Raises
    Forbidden for a customer.

    Which regions are an operator's, the database's own rules say; this spares it the question, and the customer a
    sentence about what is not there.
    """
    async with databases.domain(caller) as domain:
        if domain.role == "USER":
            raise Forbidden("this is for operators and admins")
        await domain.look(what, code=code, details=details)
        yield domain


@asynccontextmanager
async def admin(databases: Databases, caller: Caller) -> AsyncIterator[Transaction]:
    """A transaction of an admin. Raises Forbidden for anybody else."""
    async with databases.domain(caller) as domain:
        if domain.role != "ADMIN":
            raise Forbidden("this is for admins")
        yield domain
