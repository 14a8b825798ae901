"""Rows that the telemetry database answers with, described as the API shows them.

Energy in Wh and varh, power in W, coverage and load in percent.
Times are aware; intervals are half-open. None says that nothing is known. `quality` is an ESPI QualityOfReading code.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field
from typing_extensions import TypedDict


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """What a meter told at one time; null is what it did not tell."""

    time: Annotated[datetime, Field(description="When it was read.")]
    flags: Annotated[
        int,
        Field(description="Sum of bits: 1 the time is the meter's own clock, 2 the time was corrected by the gateway."),
    ]
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
    frequency_hz: Annotated[float | None, Field(description="Frequency of the grid, Hz.")]
    energy_import_wh: Annotated[int | None, Field(description="Register of energy taken from the grid, Wh.")]
    energy_export_wh: Annotated[int | None, Field(description="Register of energy given to the grid, Wh.")]
    reactive_energy_import_varh: Annotated[
        int | None, Field(description="Register of reactive energy taken from the grid, varh.")
    ]
    reactive_energy_export_varh: Annotated[
        int | None, Field(description="Register of reactive energy given to the grid, varh.")
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading(Values):
    """The same, of one of several meters."""

    meter_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """One point of a history. Of `raw`, start and end are the time of the reading, and there is no energy.

    `version` counts up with every change, and is None for what has none; `missing` counts quarter-hours of which
    nothing is known.
    """

    start_time: Annotated[datetime, Field(description="The first instant.")]
    end_time: Annotated[datetime, Field(description="The first instant after it.")]
    energy_import_wh: Annotated[int | None, Field(description="Energy taken from the grid, Wh; null is not known.")]
    energy_export_wh: Annotated[int | None, Field(description="Energy given to the grid, Wh; null is not known.")]
    reactive_energy_import_varh: Annotated[
        int | None, Field(description="Reactive energy taken from the grid, varh; null is not known.")
    ]
    reactive_energy_export_varh: Annotated[
        int | None, Field(description="Reactive energy given to the grid, varh; null is not known.")
    ]
    power_w_mean: Annotated[float | None, Field(description="Mean of the power that was read, W.")]
    power_w_min: Annotated[float | None, Field(description="Lowest power that was read, W.")]
    power_w_max: Annotated[float | None, Field(description="Highest power that was read, W.")]
    coverage: Annotated[float | None, Field(description="How much of it was read, percent.")]
    quality: Annotated[int, Field(description="ESPI QualityOfReading, the worst of what is in it.")]
    version: Annotated[int | None, Field(description="Counts up with every change; null for what has none.")]
    missing: Annotated[int, Field(description="Quarter-hours of which nothing is known.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Channels:
    """Voltages, currents, frequency and power factor of an interval: mean of the readings, lowest, highest."""

    start_time: Annotated[datetime, Field(description="The first instant.")]
    end_time: Annotated[datetime, Field(description="The first instant after it.")]
    voltage_l1_v_mean: Annotated[float | None, Field(description="Voltage of phase 1, mean, V.")]
    voltage_l1_v_min: Annotated[float | None, Field(description="Voltage of phase 1, lowest, V.")]
    voltage_l1_v_max: Annotated[float | None, Field(description="Voltage of phase 1, highest, V.")]
    voltage_l2_v_mean: Annotated[float | None, Field(description="Voltage of phase 2, mean, V.")]
    voltage_l2_v_min: Annotated[float | None, Field(description="Voltage of phase 2, lowest, V.")]
    voltage_l2_v_max: Annotated[float | None, Field(description="Voltage of phase 2, highest, V.")]
    voltage_l3_v_mean: Annotated[float | None, Field(description="Voltage of phase 3, mean, V.")]
    voltage_l3_v_min: Annotated[float | None, Field(description="Voltage of phase 3, lowest, V.")]
    voltage_l3_v_max: Annotated[float | None, Field(description="Voltage of phase 3, highest, V.")]
    current_l1_a_mean: Annotated[float | None, Field(description="Current of phase 1, mean, A.")]
    current_l1_a_min: Annotated[float | None, Field(description="Current of phase 1, lowest, A.")]
    current_l1_a_max: Annotated[float | None, Field(description="Current of phase 1, highest, A.")]
    current_l2_a_mean: Annotated[float | None, Field(description="Current of phase 2, mean, A.")]
    current_l2_a_min: Annotated[float | None, Field(description="Current of phase 2, lowest, A.")]
    current_l2_a_max: Annotated[float | None, Field(description="Current of phase 2, highest, A.")]
    current_l3_a_mean: Annotated[float | None, Field(description="Current of phase 3, mean, A.")]
    current_l3_a_min: Annotated[float | None, Field(description="Current of phase 3, lowest, A.")]
    current_l3_a_max: Annotated[float | None, Field(description="Current of phase 3, highest, A.")]
    frequency_hz_mean: Annotated[float | None, Field(description="Frequency of the grid, mean, Hz.")]
    frequency_hz_min: Annotated[float | None, Field(description="Frequency of the grid, lowest, Hz.")]
    frequency_hz_max: Annotated[float | None, Field(description="Frequency of the grid, highest, Hz.")]
    power_factor_mean: Annotated[float | None, Field(description="Power factor, mean, -1 to 1.")]
    power_factor_min: Annotated[float | None, Field(description="Power factor, lowest, -1 to 1.")]
    power_factor_max: Annotated[float | None, Field(description="Power factor, highest, -1 to 1.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What a span amounts to. `power_w_*` by samples, `peak_demand_*` of the highest quarter-hour by its register.

    `energy_import_wh_per_day` is a mean day, `load_factor` the mean by the highest quarter-hour, 0 to 1.
    """

    start_time: Annotated[datetime, Field(description="The first instant.")]
    end_time: Annotated[datetime, Field(description="The first instant after it.")]
    energy_import_wh: Annotated[int | None, Field(description="Energy taken from the grid, Wh; null is not known.")]
    energy_export_wh: Annotated[int | None, Field(description="Energy given to the grid, Wh; null is not known.")]
    reactive_energy_import_varh: Annotated[
        int | None, Field(description="Reactive energy taken from the grid, varh; null is not known.")
    ]
    reactive_energy_export_varh: Annotated[
        int | None, Field(description="Reactive energy given to the grid, varh; null is not known.")
    ]
    energy_import_wh_per_day: Annotated[float | None, Field(description="A mean day of import, Wh.")]
    power_w_mean: Annotated[float | None, Field(description="Mean of the power that was read, W.")]
    power_w_min: Annotated[float | None, Field(description="Lowest power that was read, W.")]
    power_w_max: Annotated[float | None, Field(description="Highest power that was read, W.")]
    peak_demand_w: Annotated[
        int | None, Field(description="Highest quarter-hour of import by its register, as power, W.")
    ]
    peak_demand_at: Annotated[datetime | None, Field(description="When the first such quarter-hour began.")]
    peak_demand_quality: Annotated[int | None, Field(description="ESPI QualityOfReading of that quarter-hour.")]
    load_factor: Annotated[float | None, Field(description="Mean by highest quarter-hour, 0 to 1.")]
    coverage: Annotated[float, Field(description="How much of it was read, percent.")]
    quality: Annotated[int | None, Field(description="ESPI QualityOfReading, the worst of what is in it.")]
    version: Annotated[int, Field(description="Counts up with every change; null for what has none.")]
    missing: Annotated[int, Field(description="Quarter-hours of which nothing is known.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """A local day or month. `day` is its date, of a month its first; a whole day has 92, 96 or 100 `quarters`."""

    day: Annotated[date, Field(description="The local date, of a month its first.")]
    start_time: Annotated[datetime, Field(description="The first instant.")]
    end_time: Annotated[datetime, Field(description="The first instant after it.")]
    energy_import_wh: Annotated[int | None, Field(description="Energy taken from the grid, Wh; null is not known.")]
    energy_export_wh: Annotated[int | None, Field(description="Energy given to the grid, Wh; null is not known.")]
    reactive_energy_import_varh: Annotated[
        int | None, Field(description="Reactive energy taken from the grid, varh; null is not known.")
    ]
    reactive_energy_export_varh: Annotated[
        int | None, Field(description="Reactive energy given to the grid, varh; null is not known.")
    ]
    peak_demand_w: Annotated[
        int | None, Field(description="Highest quarter-hour of import by its register, as power, W.")
    ]
    peak_demand_at: Annotated[datetime | None, Field(description="When the first such quarter-hour began.")]
    peak_demand_quality: Annotated[int | None, Field(description="ESPI QualityOfReading of that quarter-hour.")]
    coverage: Annotated[float, Field(description="How much of it was read, percent.")]
    quality: Annotated[int, Field(description="ESPI QualityOfReading, the worst of what is in it.")]
    version: Annotated[int, Field(description="Counts up with every change; null for what has none.")]
    quarters: Annotated[int, Field(description="Quarter-hours in it; a whole day has 92, 96 or 100.")]
    missing: Annotated[int, Field(description="Quarter-hours of which nothing is known.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two spans, and what changed from the one before to the one after. A change of nothing has no percentage.

    A side of which no quarter-hour has begun has no times.
    """

    before_start_time: Annotated[datetime | None, Field(description="Before: the first instant.")]
    before_end_time: Annotated[datetime | None, Field(description="Before: the first instant after it.")]
    before_energy_import_wh: Annotated[
        int | None, Field(description="Before: energy taken from the grid, Wh; null is not known.")
    ]
    before_energy_export_wh: Annotated[
        int | None, Field(description="Before: energy given to the grid, Wh; null is not known.")
    ]
    before_energy_import_wh_per_day: Annotated[float | None, Field(description="Before: a mean day of import, Wh.")]
    before_peak_demand_w: Annotated[
        int | None, Field(description="Before: highest quarter-hour of import by its register, as power, W.")
    ]
    before_load_factor: Annotated[float | None, Field(description="Before: mean by highest quarter-hour, 0 to 1.")]
    before_coverage: Annotated[float | None, Field(description="Before: how much of it was read, percent.")]
    before_quality: Annotated[
        int | None, Field(description="Before: ESPI QualityOfReading, the worst of what is in it.")
    ]
    before_missing: Annotated[int | None, Field(description="Before: how many quarter-hours nothing is known of.")]
    after_start_time: Annotated[datetime | None, Field(description="After: the first instant.")]
    after_end_time: Annotated[datetime | None, Field(description="After: the first instant after it.")]
    after_energy_import_wh: Annotated[
        int | None, Field(description="After: energy taken from the grid, Wh; null is not known.")
    ]
    after_energy_export_wh: Annotated[
        int | None, Field(description="After: energy given to the grid, Wh; null is not known.")
    ]
    after_energy_import_wh_per_day: Annotated[float | None, Field(description="After: a mean day of import, Wh.")]
    after_peak_demand_w: Annotated[
        int | None, Field(description="After: highest quarter-hour of import by its register, as power, W.")
    ]
    after_load_factor: Annotated[float | None, Field(description="After: mean by highest quarter-hour, 0 to 1.")]
    after_coverage: Annotated[float | None, Field(description="After: how much of it was read, percent.")]
    after_quality: Annotated[int | None, Field(description="After: ESPI QualityOfReading, the worst of what is in it.")]
    after_missing: Annotated[int | None, Field(description="After: how many quarter-hours nothing is known of.")]
    energy_import_change_wh: Annotated[int | None, Field(description="Import after less import before, Wh.")]
    energy_import_change_percent: Annotated[
        float | None, Field(description="The same, of the import before, percent; null of nothing.")
    ]
    energy_export_change_wh: Annotated[int | None, Field(description="Export after less export before, Wh.")]
    energy_export_change_percent: Annotated[
        float | None, Field(description="The same, of the export before, percent; null of nothing.")
    ]
    energy_import_per_day_change_percent: Annotated[
        float | None,
        Field(description="Change of a mean day of import, percent; spans of unequal length compare by it."),
    ]
    peak_demand_change_w: Annotated[int | None, Field(description="Change of the highest quarter-hour, W.")]
    peak_demand_change_percent: Annotated[float | None, Field(description="The same, of the one before, percent.")]


Stretch = TypedDict(
    "Stretch",
    {
        "from": Annotated[datetime, Field(description="The first instant.")],
        "to": Annotated[datetime, Field(description="The first instant after it.")],
        "missing": Annotated[int, Field(description="Readings that are not there.")],
        "gaps": Annotated[int, Field(description="Gaps with the same reason one after another.")],
        "reason": Annotated[str, Field(description="Why they are not there, a key of reasons.")],
        "detail": Annotated[str | None, Field(description="What else is known of it.")],
    },
)
Stretch.__doc__ = """A stretch of missing readings; its times are text, as the database made it JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completeness:
    """Readings of one registration of a meter, from `start_time` to `end_time`.

    `stretches` are the newest of what is missing, each with from, to, missing, gaps, reason and detail; `reasons`
    counts all missing readings by reason.
    """

    start_time: Annotated[datetime, Field(description="The first instant.")]
    end_time: Annotated[datetime, Field(description="The first instant after it.")]
    gateway: Annotated[str, Field(description="The gateway that reads it.")]
    device: Annotated[str, Field(description="The gateway's name for the meter.")]
    interval_ms: Annotated[int, Field(description="Time between two readings that is expected, ms.")]
    first_time: Annotated[datetime | None, Field(description="The first reading.")]
    last_time: Annotated[datetime | None, Field(description="The last reading.")]
    expected: Annotated[int, Field(description="Readings that should be there.")]
    received: Annotated[int, Field(description="Readings that are there.")]
    missing: Annotated[int, Field(description="Readings that are not there.")]
    quarantined: Annotated[int, Field(description="Readings that were set aside.")]
    received_percent: Annotated[float | None, Field(description="Received of expected, percent.")]
    gap_count: Annotated[int, Field(description="Stretches of missing readings, all of them.")]
    stretches: Annotated[list[Stretch], Field(description="The newest of what is missing.")]
    reasons: Annotated[dict[str, int], Field(description="Missing readings by reason.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionLoad:
    """A region in the `latest` quarter-hour, the last `hour` or the last `day`; `quarters` are those that are known."""

    region: Annotated[str, Field(description="Name of the region.")]
    period: Annotated[Literal["latest", "hour", "day"], Field(description="latest quarter-hour, last hour, last day.")]
    start_time: Annotated[datetime, Field(description="The first instant.")]
    end_time: Annotated[datetime, Field(description="The first instant after it.")]
    quarters: Annotated[int, Field(description="Quarter-hours of it that are known.")]
    meters_active: Annotated[int, Field(description="Meters that told something, in its newest quarter-hour.")]
    meters_expected: Annotated[int, Field(description="Meters that are there, in its newest quarter-hour.")]
    energy_import_wh: Annotated[int | None, Field(description="Energy taken from the grid, Wh; null is not known.")]
    energy_export_wh: Annotated[int | None, Field(description="Energy given to the grid, Wh; null is not known.")]
    power_w_mean: Annotated[float | None, Field(description="Mean of the power that was read, W.")]
    capacity_w: Annotated[float | None, Field(description="What the supply can carry, W; null is not known.")]
    load_percent: Annotated[float | None, Field(description="Mean load of the capacity, percent.")]
    load_percent_max: Annotated[float | None, Field(description="Highest load of a quarter-hour, percent.")]
    load_percent_max_at: Annotated[datetime | None, Field(description="When the first such quarter-hour began.")]
    coverage: Annotated[float, Field(description="How much of it was read, percent.")]
    quality: Annotated[int, Field(description="ESPI QualityOfReading, the worst of what is in it.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionQuarter:
    """A quarter-hour of a region."""

    start_time: Annotated[datetime, Field(description="The first instant.")]
    end_time: Annotated[datetime, Field(description="The first instant after it.")]
    meters_active: Annotated[int, Field(description="Meters that told something.")]
    meters_expected: Annotated[int, Field(description="Meters that are there.")]
    energy_import_wh: Annotated[int | None, Field(description="Energy taken from the grid, Wh; null is not known.")]
    energy_export_wh: Annotated[int | None, Field(description="Energy given to the grid, Wh; null is not known.")]
    power_w_mean: Annotated[float | None, Field(description="Mean of the power that was read, W.")]
    capacity_w: Annotated[float | None, Field(description="What the supply can carry, W; null is not known.")]
    load_percent: Annotated[float | None, Field(description="Mean load of the capacity, percent.")]
    coverage: Annotated[float, Field(description="How much of it was read, percent.")]
    quality: Annotated[int, Field(description="ESPI QualityOfReading, the worst of what is in it.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumer:
    """A meter among those that take the most in a region; `share_percent` is of what all of them took."""

    nth: Annotated[int, Field(description="Rank, from 1.")]
    meter_id: int
    meter_code: Annotated[str, Field(description="Code of the meter.")]
    energy_import_wh: Annotated[int, Field(description="Energy taken from the grid, Wh; null is not known.")]
    share_percent: Annotated[float | None, Field(description="Of what all meters of the region took, percent.")]
    coverage: Annotated[float, Field(description="How much of it was read, percent.")]
    quality: Annotated[int, Field(description="ESPI QualityOfReading, the worst of what is in it.")]
    missing: Annotated[int, Field(description="Quarter-hours of which nothing is known.")]
    start_time: Annotated[datetime, Field(description="The first instant.")]
    end_time: Annotated[datetime, Field(description="The first instant after it.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What a gateway delivered, and its last report, by the clock of the receiver."""

    gateway_id: int
    last_batch_at: datetime | None
    batches: int
    readings: int
    last_stream: UUID | None
    last_seq: int | None
    last_report_at: datetime | None
    clock_ahead_s: float | None
    report: dict[str, Any] | None
