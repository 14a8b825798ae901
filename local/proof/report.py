"""The proof from end to end: journal and database in, one report out."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path

import psycopg

from local.proof import stored
from local.proof.compare import EXAMPLES, Findings, LossSpan, compare
from local.proof.truth import Served, read

_ACTIVE = ("energy_import_wh", "energy_export_wh")
_REACTIVE = ("reactive_energy_import_varh", "reactive_energy_export_varh")
_MARGIN = timedelta(seconds=60)
# A row under a wrong time is still a row: what is a zone or a day off must not escape the count.
_ASTRAY = timedelta(days=1)


@dataclass(slots=True)
class Report:
    """What became of everything that the meters served.

    `readings_polled` = `readings_stored` + `lost` + `in_loss_window` + `undelivered`. `altered` and `duplicated` count
    rows, `foreign` rows that no meter ever gave, `partial` rows of polls that lack a response. `undelivered` messages
    were still in the simulator when it ended. `unmapped` names, per meter, quantities that were served and
    stored in no row: every profile maps all that its simulated model serves. `energy_error_wh` sums, over
    meters and both active registers, the largest deviation among: rows against the journal, minutes against rows,
    quarter-hours against rows; `energy_wh` is how much energy that was, by the journal.
    """

    meters: int = 0
    readings_polled: int = 0
    readings_stored: int = 0
    lost: int = 0
    duplicated: int = 0
    altered: int = 0
    in_loss_window: int = 0
    undelivered: int = 0
    foreign: int = 0
    partial: int = 0
    energy_wh: int = 0
    energy_error_wh: int = 0
    reactive_energy_error_varh: int = 0
    unregistered: list[str] = field(default_factory=list)
    unmapped: dict[str, list[str]] = field(default_factory=dict)
    examples: list[dict[str, object]] = field(default_factory=list)

    @property
    def proven(self) -> bool:
        """Whether everything asked for is there once, unchanged, and adds up; an empty journal proves nothing."""
        faults = self.lost + self.duplicated + self.altered + self.foreign + len(self.unmapped)
        return self.readings_stored > 0 and not (faults + self.energy_error_wh + self.reactive_energy_error_varh)

    def as_dict(self) -> dict[str, object]:
        return {**asdict(self), "proven": self.proven}

    def _add(self, meter: str, findings: Findings) -> None:
        self.meters += 1
        self.readings_polled += findings.polled
        self.readings_stored += findings.stored
        for name in ("lost", "duplicated", "altered", "in_loss_window", "undelivered", "foreign", "partial"):
            setattr(self, name, getattr(self, name) + getattr(findings, name))
        if findings.unmapped:
            self.unmapped[meter] = findings.unmapped
        for example in findings.examples:
            self._example({"meter": meter, **example})

    def _example(self, example: dict[str, object]) -> None:
        if sum(1 for known in self.examples if known["what"] == example["what"]) < EXAMPLES:
            self.examples.append(example)


def prove(
    *,
    journal: Path,
    dsn: str,
    cutoff_us: int | None = None,
    spans: Sequence[LossSpan] = (),
    meter_ids: Mapping[str, int] | None = None,
    gateway: str | None = None,
) -> Report:
    """Compare the telemetry database at `dsn` with `journal`, and the aggregates with the rows.

    Call it when nothing is on its way any more: simulator and gateway stopped, everything synced, no dirty marks.
    `meter_ids` overrides the registry; `gateway` names the gateway if several have devices of the same name.
    Raises ProofError when the comparison cannot be made.
    """
    served = read(journal)
    report = Report()
    if not served:
        return report
    latest_us = max(reading.sort_us for readings in served.values() for reading in readings)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SET timezone = 'UTC'")
        if meter_ids is None:
            meter_ids = stored.meter_ids(connection, list(served), gateway, stored.moment(latest_us))
        for meter, readings in served.items():
            if meter not in meter_ids:
                report.unregistered.append(meter)
            _prove_meter(connection, meter, meter_ids.get(meter), readings, report, cutoff_us=cutoff_us, spans=spans)
    return report


def _prove_meter(
    connection: psycopg.Connection,
    meter: str,
    meter_id: int | None,
    readings: list[Served],
    report: Report,
    *,
    cutoff_us: int | None,
    spans: Sequence[LossSpan],
) -> None:
    first = stored.moment(readings[0].sort_us) - _ASTRAY
    last = stored.moment(max(readings[-1].sort_us, max(reading.t_us for reading in readings))) + _MARGIN
    rows = [] if meter_id is None else stored.rows(connection, meter_id, first, last + _ASTRAY)
    findings = compare(readings, rows, cutoff_us=cutoff_us, spans=spans)
    report._add(meter, findings)
    for register in (*_ACTIVE, *_REACTIVE):
        told = _span([reading.values.get(register) for reading in findings.counted])
        kept = _span([row.values.get(register) for row in findings.matched_rows])
        errors = {} if register in findings.unmapped and register not in _ACTIVE else {"rows": abs(kept - told)}
        if meter_id is not None:
            whole = stored.register_span(connection, meter_id, register, last)
            for table in ("aggregates_1m", "aggregates_15m"):
                total = stored.energy_sum(connection, table, meter_id, register, last)
                errors[table] = abs(total - (whole or 0))
        if register in _ACTIVE:
            report.energy_wh += told
            report.energy_error_wh += max(errors.values())
        else:
            report.reactive_energy_error_varh += max(errors.values(), default=0)
        if any(errors.values()):
            report._example({"what": "energy", "meter": meter, "register": register, "journal": told, **errors})


def _span(register: list[int | float | None]) -> int:
    """Last minus first of the values that are there."""
    values = [round(value) for value in register if value is not None]
    return values[-1] - values[0] if values else 0
