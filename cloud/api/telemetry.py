"""What meters measure."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from cloud.api.access import reach
from cloud.api.caller import CallerIs, DatabasesAre
from cloud.api.envelope import Success, problems
from cloud.api.errors import NotFound
from cloud.api.meters import Code
from cloud.db.queries import Queries

router = APIRouter(prefix="/api/v1/telemetry", tags=["telemetry"])
_QUERIES = Queries("api_meters")


class Reading(BaseModel):
    """What a meter told at one time; null is what it did not tell."""

    time: Annotated[datetime, Field(description="When it was read.")]
    flags: Annotated[int, Field(description="What is known of the reading, as a sum of bits; 0 for nothing.")]
    power_w: Annotated[float | None, Field(description="Active power of all phases, W; negative for export.")]
    power_l1_w: Annotated[float | None, Field(description="Active power of phase 1, W.")]
    power_l2_w: Annotated[float | None, Field(description="Active power of phase 2, W.")]
    power_l3_w: Annotated[float | None, Field(description="Active power of phase 3, W.")]
    apparent_power_va: Annotated[float | None, Field(description="Apparent power, VA.")]
    reactive_power_var: Annotated[float | None, Field(description="Reactive power, var.")]
    power_factor: Annotated[float | None, Field(description="Power factor, -1 to 1.")]
    voltage_l1_v: Annotated[float | None, Field(description="Voltage of phase 1, V.")]
    voltage_l2_v: Annotated[float | None, Field(description="Voltage of phase 2, V.")]
    voltage_l3_v: Annotated[float | None, Field(description="Voltage of phase 3, V.")]
    current_l1_a: Annotated[float | None, Field(description="Current of phase 1, A.")]
    current_l2_a: Annotated[float | None, Field(description="Current of phase 2, A.")]
    current_l3_a: Annotated[float | None, Field(description="Current of phase 3, A.")]
    frequency_hz: Annotated[float | None, Field(description="Frequency, Hz.")]
    energy_import_wh: Annotated[int | None, Field(description="Register of imported energy, Wh.")]
    energy_export_wh: Annotated[int | None, Field(description="Register of exported energy, Wh.")]
    reactive_energy_import_varh: Annotated[int | None, Field(description="Register of imported reactive energy, varh.")]
    reactive_energy_export_varh: Annotated[int | None, Field(description="Register of exported reactive energy, varh.")]


class Latest(BaseModel):
    """The newest reading of a meter."""

    code: Annotated[str, Field(description="Code of the meter.")]
    reading: Annotated[Reading | None, Field(description="Null where nothing is kept that the caller may read.")]


@router.get(
    "/meters/{code}/latest",
    openapi_extra=reach("meter", user="own", operator="region"),
    responses=problems(401, 404, 422),
)
async def latest(code: Code, caller: CallerIs, databases: DatabasesAre) -> Success[Latest]:
    """The newest reading of a meter within the last 7 days, while it was the caller's."""
    async with databases.domain(caller) as domain:
        meter = await domain.row(_QUERIES["readable"], {"code": code})
    if meter is None:
        raise NotFound(f"there is no meter {code}")
    async with databases.telemetry(meter["grants"]) as telemetry:
        found = await telemetry.row(_QUERIES["latest"], {"meter_id": meter["meter_id"], "now": caller.now})
    reading = None if found is None else Reading.model_validate(found)
    return Success(message="The newest reading.", data=Latest(code=code, reading=reading))
