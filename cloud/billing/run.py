"""The run of a month: each meter in a transaction of its own, so that a run may end at any moment, and begin again.

Any number of runs work at once: each takes meters that no other has.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import psycopg

from cloud.billing.energy import Energy, energy, version
from cloud.billing.finding import Finding
from cloud.db.errors import DomainError, domain_error
from cloud.db.queries import Queries
from cloud.errors import UnknownMeter
from cloud.instant import written
from cloud.operator import Row, actor, rows

_QUERIES = Queries("billing")
_MOST = 10
"""Of what lacks a price, so many spans are named."""


@dataclass(frozen=True, slots=True)
class Billed:
    """What became of a meter: `state` is done, drafted or blocked; `bills` are those that were made now."""

    meter: str
    state: str
    bills: list[Row] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


class Run:
    """A run of `month` (its first day) on connections of its own; `meters` are codes, all without them.

    `domain` and `telemetry` are in autocommit. `clock` says what time it is.
    """

    def __init__(
        self,
        domain: psycopg.Connection,
        telemetry: psycopg.Connection,
        *,
        month: date,
        meters: Sequence[str] = (),
        clock: Callable[[], datetime],
    ) -> None:
        self._domain, self._telemetry, self._clock = domain, telemetry, clock
        self._month, self._meters = month, self._numbers(meters) if meters else None
        self._begun = clock()

    def _numbers(self, codes: Sequence[str]) -> list[int]:
        found = {
            row["meter_code"]: row["meter_id"] for row in rows(self._domain, _QUERIES["meters"], {"codes": list(codes)})
        }
        for code in codes:
            if code not in found:
                raise UnknownMeter(code)
        return list(found.values())

    def __iter__(self) -> Iterator[Billed]:
        """Bills one meter after another. Raises psycopg.Error where a database fails; what was billed is kept."""
        self._domain.execute(_QUERIES["enlist"], {"month": self._month, "meters": self._meters})
        while True:
            # A number is given in this transaction, and gone with it.
            with self._domain.transaction():
                self._domain.execute("SELECT set_config('segs.actor', %s, true)", [actor()])
                taken = {"month": self._month, "meters": self._meters, "begun": self._begun, "now": self._clock()}
                found = rows(self._domain, _QUERIES["take"], taken)
                if not found:
                    return
                billed = self._bill(found[0]["meter_id"], found[0]["meter_code"])
                said = {
                    "month": self._month,
                    "meter": found[0]["meter_id"],
                    "state": billed.state,
                    "findings": json.dumps([finding.document() for finding in billed.findings]),
                }
                self._domain.execute(_QUERIES["report"], said)
            yield billed

    def _bill(self, meter_id: int, code: str) -> Billed:
        meter = {"meter": meter_id, "month": self._month, "now": self._clock()}
        [settings] = rows(self._domain, _QUERIES["settings"])
        [over] = rows(self._domain, _QUERIES["over"], meter)
        if over["at"] > meter["now"]:
            return Billed(
                code, "blocked", findings=[Finding("not_over", text=f"it is billed from {written(over['at'])} on")]
            )
        bills: list[Row] = self._correct(meter, settings)
        findings: list[Finding] = []
        for part in rows(self._domain, _QUERIES["parts"], meter):
            if part["invoice_id"] is not None:
                continue
            where = (part["starts_at"], part["ends_at"])
            if part["reason"] is not None or part["billed"]:
                findings.append(Finding(part["reason"] or "overlaps", *where))
                continue
            try:
                with self._domain.transaction():
                    made, found = self._part(meter_id, part, settings)
            except psycopg.Error as error:
                refusal = domain_error(error)
                if refusal is None:
                    raise
                made, found = [], [_refused(refusal, *where)]
            bills += made
            findings += found
        state = "blocked" if findings else "drafted" if any(bill["status"] == "draft" for bill in bills) else "done"
        return Billed(code, state, bills, findings)

    def _correct(self, meter: dict[str, Any], settings: Row) -> list[Row]:
        """Looks at what was billed in the months before; the bills that stand in for such as had to go."""
        made = []
        for bill in rows(self._domain, _QUERIES["earlier"], meter):
            generated = rows(self._domain, _QUERIES["generators"], {"meter": meter["meter"], **bill})
            now = version(self._telemetry, meter["meter"], bill, generated)
            # What retention has dropped is no change, and what is not all there yet will be.
            if now["missing"] or now["version"] == bill["version"]:
                continue
            try:
                with self._domain.transaction():
                    made += self._correct_one(meter, bill, settings)
            except psycopg.Error as error:
                # The next run looks again.
                if domain_error(error) is None:
                    raise
        return made

    def _correct_one(self, meter: dict[str, Any], bill: Row, settings: Row) -> list[Row]:
        span = {"meter": meter["meter"], "first": bill["first_day"], "end": bill["end_day"], "now": meter["now"]}
        plan = rows(self._domain, _QUERIES["plan"], span)
        taken = self._energy(span, plan, settings)
        if taken.findings:
            return []
        known = {"invoice": bill["invoice_id"], "now": meter["now"], **taken.documents()}
        [corrected] = rows(self._domain, _QUERIES["correct"], known)
        if corrected["outcome"] != "replace":
            return []
        if settings["finalise"] == "auto":
            self._domain.execute(_QUERIES["finalise"], {"invoice": corrected["invoice_id"], "now": meter["now"]})
        return rows(self._domain, _QUERIES["made"], {"invoice": corrected["invoice_id"]})

    def _energy(self, span: dict[str, Any], plan: list[Row], settings: Row) -> Energy:
        days = rows(self._domain, _QUERIES["days"], span)
        return energy(self._telemetry, span["meter"], plan, days, now=span["now"], bill_failed=settings["bill_failed"])

    def _part(self, meter_id: int, part: Row, settings: Row) -> tuple[list[Row], list[Finding]]:
        span: dict[str, Any] = {
            "meter": meter_id,
            "first": part["first_day"],
            "end": part["end_day"],
            "now": self._clock(),
        }
        plan = rows(self._domain, _QUERIES["plan"], span)
        if unpriced := [segment for segment in plan if segment["tariff_id"] is None]:
            return [], [Finding("no_tariff", one["starts_at"], one["ends_at"]) for one in unpriced]
        if unpriced := [segment for segment in plan if not segment["priced"]]:
            return [], [Finding("no_prices", one["starts_at"], one["ends_at"]) for one in unpriced[:_MOST]]
        if unknown := [segment for segment in plan if segment["gross"] and segment["generator_id"] is None]:
            return [], [Finding("no_generation", one["starts_at"], one["ends_at"]) for one in unknown[:_MOST]]
        taken = self._energy(span, plan, settings)
        if taken.findings:
            return [], taken.findings
        [draft] = rows(self._domain, _QUERIES["draft"], {**span, **taken.documents()})
        findings = []
        if settings["finalise"] == "auto":
            try:
                with self._domain.transaction():
                    self._domain.execute(_QUERIES["finalise"], {"invoice": draft["invoice_id"], "now": span["now"]})
            except psycopg.Error as error:
                refusal = domain_error(error)
                if refusal is None:
                    raise
                findings = [_refused(refusal, part["starts_at"], part["ends_at"])]
        return rows(self._domain, _QUERIES["made"], {"invoice": draft["invoice_id"]}), findings


def _refused(refusal: DomainError, since: datetime, until: datetime) -> Finding:
    return Finding("refused", since, until, str(refusal))
