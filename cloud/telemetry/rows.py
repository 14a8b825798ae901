"""Rows that the telemetry database answers with. Energy in Wh and varh, power in W, coverage and load in percent.

Times are aware; intervals are half-open. None says that nothing is known. `quality` is an ESPI QualityOfReading code.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a meter told at one time. `flags`: 1 the meter's own clock, 2 the time was corrected by the gateway."""

    meter_id: int
    time: datetime
    flags: int
    power_w: float | None
    power_l1_w: float | None
    power_l2_w: float | None
    power_l3_w: float | None
    apparent_power_va: float | None
    reactive_power_var: float | None
    power_factor: float | None
    voltage_l1_v: float | None
    voltage_l2_v: float | None
    voltage_l3_v: float | None
    current_l1_a: float | None
    current_l2_a: float | None
    current_l3_a: float | None
    frequency_hz: float | None
    energy_import_wh: int | None
    energy_export_wh: int | None
    reactive_energy_import_varh: int | None
    reactive_energy_export_varh: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """One point of a history. Of `raw`, start and end are the time of the reading, and there is no energy.

    `version` counts up with every change, and is None for what has none; `missing` counts quarter-hours of which
    nothing is known.
    """

    start_time: datetime
    end_time: datetime
    energy_import_wh: int | None
    energy_export_wh: int | None
    reactive_energy_import_varh: int | None
    reactive_energy_export_varh: int | None
    power_w_mean: float | None
    power_w_min: float | None
    power_w_max: float | None
    coverage: float | None
    quality: int
    version: int | None
    missing: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Channels:
    """Voltages, currents, frequency and power factor of an interval: mean of the readings, lowest, highest."""

    start_time: datetime
    end_time: datetime
    voltage_l1_v_mean: float | None
    voltage_l1_v_min: float | None
    voltage_l1_v_max: float | None
    voltage_l2_v_mean: float | None
    voltage_l2_v_min: float | None
    voltage_l2_v_max: float | None
    voltage_l3_v_mean: float | None
    voltage_l3_v_min: float | None
    voltage_l3_v_max: float | None
    current_l1_a_mean: float | None
    current_l1_a_min: float | None
    current_l1_a_max: float | None
    current_l2_a_mean: float | None
    current_l2_a_min: float | None
    current_l2_a_max: float | None
    current_l3_a_mean: float | None
    current_l3_a_min: float | None
    current_l3_a_max: float | None
    frequency_hz_mean: float | None
    frequency_hz_min: float | None
    frequency_hz_max: float | None
    power_factor_mean: float | None
    power_factor_min: float | None
    power_factor_max: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What a span amounts to. `power_w_*` by samples, `peak_demand_*` of the highest quarter-hour by its register.

    `energy_import_wh_per_day` is a mean day, `load_factor` the mean by the highest quarter-hour, 0 to 1.
    """

    start_time: datetime
    end_time: datetime
    energy_import_wh: int | None
    energy_export_wh: int | None
    reactive_energy_import_varh: int | None
    reactive_energy_export_varh: int | None
    energy_import_wh_per_day: float | None
    power_w_mean: float | None
    power_w_min: float | None
    power_w_max: float | None
    peak_demand_w: int | None
    peak_demand_at: datetime | None
    peak_demand_quality: int | None
    load_factor: float | None
    coverage: float
    quality: int | None
    version: int
    missing: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """A local day or month. `day` is its date, of a month its first; a whole day has 92, 96 or 100 `quarters`."""

    day: date
    start_time: datetime
    end_time: datetime
    energy_import_wh: int | None
    energy_export_wh: int | None
    reactive_energy_import_varh: int | None
    reactive_energy_export_varh: int | None
    peak_demand_w: int | None
    peak_demand_at: datetime | None
    peak_demand_quality: int | None
    coverage: float
    quality: int
    version: int
    quarters: int
    missing: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two spans, and what changed from the one before to the one after. A change of nothing has no percentage.

    A side of which no quarter-hour has begun has no times.
    """

    before_start_time: datetime | None
    before_end_time: datetime | None
    before_energy_import_wh: int | None
    before_energy_export_wh: int | None
    before_energy_import_wh_per_day: float | None
    before_peak_demand_w: int | None
    before_load_factor: float | None
    before_coverage: float | None
    before_quality: int | None
    before_missing: int | None
    after_start_time: datetime | None
    after_end_time: datetime | None
    after_energy_import_wh: int | None
    after_energy_export_wh: int | None
    after_energy_import_wh_per_day: float | None
    after_peak_demand_w: int | None
    after_load_factor: float | None
    after_coverage: float | None
    after_quality: int | None
    after_missing: int | None
    energy_import_change_wh: int | None
    energy_import_change_percent: float | None
    energy_export_change_wh: int | None
    energy_export_change_percent: float | None
    energy_import_per_day_change_percent: float | None
    peak_demand_change_w: int | None
    peak_demand_change_percent: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Completeness:
    """Readings of one registration of a meter, from `start_time` to `end_time`.

    `stretches` are the newest of what is missing, each with from, to, missing, gaps, reason and detail; `reasons`
    counts all missing readings by reason.
    """

    start_time: datetime
    end_time: datetime
    gateway: str
    device: str
    interval_ms: int
    first_time: datetime | None
    last_time: datetime | None
    expected: int
    received: int
    missing: int
    quarantined: int
    received_percent: float | None
    gap_count: int
    stretches: list[dict[str, Any]]
    reasons: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A region in the `latest` quarter-hour, the last `hour` or the last `day`; `quarters` are those that are known."""

    region: str
    period: str
    start_time: datetime
    end_time: datetime
    quarters: int
    meters_active: int
    meters_expected: int
    energy_import_wh: int | None
    energy_export_wh: int | None
    power_w_mean: float | None
    capacity_w: float | None
    load_percent: float | None
    load_percent_max: float | None
    load_percent_max_at: datetime | None
    coverage: float
    quality: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionQuarter:
    """A quarter-hour of a region."""

    start_time: datetime
    end_time: datetime
    meters_active: int
    meters_expected: int
    energy_import_wh: int | None
    energy_export_wh: int | None
    power_w_mean: float | None
    capacity_w: float | None
    load_percent: float | None
    coverage: float
    quality: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumer:
    """A meter among those that take the most in a region; `share_percent` is of what all of them took."""

    nth: int
    meter_id: int
    meter_code: str
    energy_import_wh: int
    share_percent: float | None
    coverage: float
    quality: int
    missing: int
    start_time: datetime
    end_time: datetime


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
