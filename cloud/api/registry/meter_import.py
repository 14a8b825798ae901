"""Many meters at once, from a table."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from cloud.api.access import reach
from cloud.api.caller import CallerIs, DatabasesAre
from cloud.api.http.envelope import problems
from cloud.api.http.idempotency import ONCE, OnceIs
from cloud.api.registry.importing import TABLE, Importing, Made, RowsRefused, import_rows, read_table
from cloud.api.registry.meters import NewMeter, add
from cloud.api.registry.recorded import Recorded, recorded
from cloud.api.registry.staff import staff

router = APIRouter(prefix="/api/v1/meters", tags=["meters"])


@router.post(
    "/import",
    responses=problems(401, 403, 413, 422, RowsRefused, *ONCE),
    openapi_extra=TABLE | reach(operator="region"),
)
async def import_(
    how: Annotated[Importing, Query()], request: Request, caller: CallerIs, databases: DatabasesAre, once: OnceIs
) -> Recorded[Made]:
    """Register the meters of a CSV file in UTF-8, with the fields of a new meter as columns: all or none, unless
    `partial` is said. Every row is looked at, and each that is refused is told with its place and what to do."""
    async with staff(databases, caller, "meters", details={"import": caller.request_id}) as domain:
        # Of nobody who may not import it is even looked at.
        table = read_table(await request.body(), NewMeter, alone=("model", "serial"), region=how.region)

        async def make(row: NewMeter) -> tuple[str, bool]:
            return await add(domain, row, now=caller.now), True

        async def work() -> Recorded[Made]:
            made = await import_rows(domain, table, make, how)
            return recorded(made.told, made, now=caller.now)

        return await once.answer(domain, Recorded[Made], work)
