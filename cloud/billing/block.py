"""Meters that are billed together: one statement does for all of them what would cost most of its time for one."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any, TypeVar

import psycopg

from cloud.billing.earlier import changed, late
from cloud.billing.energy import document, energy
from cloud.billing.finding import Finding
from cloud.db.errors import DomainError, domain_error
from cloud.db.queries import Queries
from cloud.instant import written
from cloud.operator import Row, rows

_QUERIES = Queries("billing")
_MOST = 10
"""Of what lacks a price, so many spans are named."""
_Asked = TypeVar("_Asked")
_Done = TypeVar("_Done")


@dataclass(frozen=True, slots=True)
class Billed:
    """What became of a meter: `state` is done, drafted or blocked; `bills` are those that were made now.

    `findings` are why it is blocked, `notes` are of bills of months before that are as they were.
    """

    meter: str
    state: str
    bills: list[Row] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)


@dataclass(slots=True)
class _Part:
    """A bill that is to be made, or to be looked at again: `row` has its meter, days and plan."""

    row: Row
    bills: list[Row] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def span(self) -> tuple[datetime, datetime]:
        return self.row["starts_at"], self.row["ends_at"]


class Block:
    """The `month` of `meters` (rows of meter_id and meter_code), in the transaction that is open on `domain`."""

    def __init__(
        self,
        domain: psycopg.Connection,
        telemetry: psycopg.Connection,
        *,
        month: date,
        meters: Sequence[Row],
        now: datetime,
    ) -> None:
        self._domain, self._telemetry = domain, telemetry
        self._month, self._meters, self._now = month, meters, now
        [self._settings] = rows(domain, _QUERIES["settings"])

    def bill(self) -> list[Billed]:
        """Each meter, in order. Raises psycopg.Error where a database fails, and refuses no block for one meter."""
        asked: dict[str, Any] = {"meters": [meter["meter_id"] for meter in self._meters], "month": self._month}
        over = {row["meter_id"]: row["at"] for row in rows(self._domain, _QUERIES["over"], asked)}
        asked["meters"] = [meter for meter in asked["meters"] if over[meter] <= self._now]
        parts: dict[int, list[_Part]] = defaultdict(list)
        if asked["meters"]:
            for row in rows(self._domain, _QUERIES["parts"], asked):
                parts[row["meter_id"]].append(_Part(row))
        earlier = rows(self._domain, _QUERIES["earlier"], asked)
        again = self._correct(
            [bill for bill in earlier if not bill["beyond"]], [part for of_meter in parts.values() for part in of_meter]
        )
        beyond = [bill for bill in earlier if bill["beyond"]]
        looked = self._settings["recheck_months"] > 0
        notes = late(self._domain, self._telemetry, beyond, month=self._month, looked=looked)
        self._make(parts)
        self._strand(asked, again)
        self._tell_unpriced([part for of_meter in parts.values() for part in of_meter])
        return [
            self._billed(
                meter["meter_code"],
                over[meter["meter_id"]],
                [*again[meter["meter_id"]], *parts[meter["meter_id"]]],
                notes.get(meter["meter_id"], []),
            )
            for meter in self._meters
        ]

    def _billed(self, code: str, over: datetime, parts: Sequence[_Part], notes: list[Finding]) -> Billed:
        if over > self._now:
            return Billed(code, "blocked", findings=[Finding("not_over", text=f"it is billed from {written(over)} on")])
        bills = [bill for part in parts for bill in part.bills]
        findings = [finding for part in parts for finding in part.findings]
        state = "blocked" if findings else "drafted" if any(bill["status"] == "draft" for bill in bills) else "done"
        return Billed(code, state, bills, findings, notes)

    def _make(self, parts: dict[int, list[_Part]]) -> None:
        """The bills that are not there yet."""
        rounds: dict[int, list[_Part]] = defaultdict(list)
        for of_meter in parts.values():
            wanted = [part for part in of_meter if part.row["invoice_id"] is None]
            for part in wanted:
                if part.row["reason"] is not None or part.row["billed"]:
                    part.findings.append(Finding(part.row["reason"] or "overlaps", *part.span))
            # A meter's later bill may go on with what its earlier one has banked.
            for n, part in enumerate(part for part in wanted if not part.findings):
                rounds[n].append(part)
        if len(rounds) > 1:
            self._hold([part.row for of_round in rounds.values() for part in of_round])
        for _, of_round in sorted(rounds.items()):
            self._draft(of_round)

    def _draft(self, parts: Sequence[_Part]) -> None:
        drafted: list[tuple[_Part, int]] = []
        for part, invoice in self._apart(self._known(parts), self._drafts):
            if isinstance(invoice, DomainError):
                part.findings.append(_refused(invoice, *part.span))
            else:
                drafted.append((part, invoice))
        if self._settings["finalise"] == "auto":
            for (part, _), number in self._apart(drafted, lambda some: self._finalise([id for _, id in some])):
                if isinstance(number, DomainError):
                    part.findings.append(_refused(number, *part.span))
        made = self._made([invoice for _, invoice in drafted])
        for part, invoice in drafted:
            part.bills.append(made[invoice])

    def _known(self, parts: Sequence[_Part]) -> list[_Part]:
        """Those that have a plan and all of their energy; of the others it is found why not."""
        planned = []
        for part, plan in self._apart(parts, self._plans):
            if isinstance(plan, DomainError):
                part.findings.append(_refused(plan, *part.span))
                continue
            # Of the bill itself starts_at and ends_at are instants, of its plan they are columns.
            part.row = part.row | {"plan": plan}
            if plan["lacks"]:
                part.findings += self._lacking(part)
            else:
                planned.append(part)
        asked = [{**part.row["plan"], "meter_id": part.row["meter_id"]} for part in planned]
        found = (
            energy(self._telemetry, asked, now=self._now, bill_failed=self._settings["bill_failed"]) if asked else []
        )
        for part, one in zip(planned, found, strict=True):
            part.findings += one.findings
            part.row = part.row | {"energy": one}
        return [part for part in planned if not part.findings]

    def _lacking(self, part: _Part) -> list[Finding]:
        spans = rows(self._domain, _QUERIES["lacking"], _one(part))
        if unpriced := [span for span in spans if span["tariff_id"] is None]:
            return [Finding("no_tariff", span["starts_at"], span["ends_at"]) for span in unpriced]
        if unpriced := [span for span in spans if not span["priced"]]:
            return [Finding("no_prices", span["starts_at"], span["ends_at"]) for span in unpriced[:_MOST]]
        return [Finding("no_generation", span["starts_at"], span["ends_at"]) for span in spans[:_MOST]]

    def _correct(self, bills: Sequence[Row], parts: Sequence[_Part]) -> dict[int, list[_Part]]:
        """Looks at what was billed before the month; by meter, with bills that stand in for such as had to go."""
        again: dict[int, list[_Part]] = defaultdict(list)
        rounds: dict[int, list[_Part]] = defaultdict(list)
        for bill in changed(self._domain, self._telemetry, bills):
            part = _Part(bill)
            # Peaks and what is banked are those of the bills before, as they are by then.
            rounds[len(again[bill["meter_id"]])].append(part)
            again[bill["meter_id"]].append(part)
        looked_at = [part for of_meter in again.values() for part in of_meter]
        if len(rounds) > 1:
            # Whoever has customers' credit waits for no bill any more.
            self._domain.execute(_QUERIES["hold_bills"], {"invoices": [part.row["invoice_id"] for part in looked_at]})
        for _, of_round in sorted(rounds.items()):
            self._recheck(of_round, [*looked_at, *parts])
        for part in looked_at:
            part.findings = [finding.of(part.row["invoice_number"]) for finding in part.findings]
        return again

    def _recheck(self, parts: Sequence[_Part], held: Sequence[_Part]) -> None:
        """What is refused is looked at again by the next run; `held` is all that this one may make a bill of."""
        replaced = []
        for part, outcome in self._apart(self._known(parts), self._judge):
            if isinstance(outcome, DomainError):
                part.findings.append(_refused(outcome, *part.span))
            elif outcome == "credited":
                part.findings.append(Finding("credited", *part.span))
            elif outcome == "replace":
                replaced.append(part)
        if not replaced:
            return
        self._hold([part.row for part in held])
        standing = []
        for part, invoice in self._apart(replaced, self._replace):
            if isinstance(invoice, DomainError):
                part.findings.append(_refused(invoice, *part.span))
            else:
                standing.append((part, invoice))
        made = self._made([invoice for _, invoice in standing])
        for part, invoice in standing:
            part.bills.append(made[invoice])

    def _strand(self, asked: dict[str, Any], again: dict[int, list[_Part]]) -> None:
        """Names corrections that nobody will be billed, unless it is told of their bill already why."""
        for row in rows(self._domain, _QUERIES["stranded"], asked) if asked["meters"] else ():
            told = again[row["meter_id"]]
            if any(part.findings for part in told if part.row["invoice_id"] == row["invoice_id"]):
                continue
            text = (
                f"{row['amount']:f} {row['currency']} of corrections of {row['corrected']} wait for a bill that there"
                f" will not be; the next run makes {row['invoice_number']} anew if all of its quarter-hours are there,"
                f" else credit {row['invoice_number']} in whole and bill its month again"
            )
            told.append(_Part(row, findings=[Finding("stranded", row["starts_at"], row["ends_at"], text)]))

    def _tell_unpriced(self, parts: Sequence[_Part]) -> None:
        """To assign a tariff from a time on at which it has no prices would be refused."""
        lacking = [
            (part, n, finding)
            for part in parts
            for n, finding in enumerate(part.findings)
            if finding.reason == "no_tariff"
        ]
        if not lacking:
            return
        asked = {
            "meters": [part.row["meter_id"] for part, _, _ in lacking],
            "at": [finding.since for _, _, finding in lacking],
        }
        for row in rows(self._domain, _QUERIES["unpriced"], asked):
            part, n, finding = lacking[row["place"] - 1]
            text = (
                f"it has no tariff then; tariff {row['code']} has prices from {written(row['since'])} on:"
                " days before that cannot be billed by it"
            )
            part.findings[n] = replace(finding, text=text)

    def _apart(
        self, asked: Sequence[_Asked], act: Callable[[Sequence[_Asked]], Sequence[_Done]]
    ) -> Iterator[tuple[_Asked, _Done | DomainError]]:
        """Does `act` for all at once; where the database refuses that, for each half, until one is refused alone."""
        if not asked:
            return
        try:
            with self._domain.transaction():
                done = act(asked)
        except psycopg.Error as error:
            refusal = domain_error(error)
            if refusal is None:
                raise
            if len(asked) == 1:
                yield asked[0], refusal
                return
            half = len(asked) // 2
            yield from self._apart(asked[:half], act)
            yield from self._apart(asked[half:], act)
            return
        yield from zip(asked, done, strict=True)

    def _plans(self, parts: Sequence[_Part]) -> list[Row]:
        return rows(self._domain, _QUERIES["plan"], _many(parts))

    def _drafts(self, parts: Sequence[_Part]) -> list[int]:
        asked = {**_many(parts), "energy": document([part.row["energy"] for part in parts]), "now": self._now}
        return [row["invoice_id"] for row in rows(self._domain, _QUERIES["draft"], asked)]

    def _judge(self, parts: Sequence[_Part]) -> list[str]:
        return [row["outcome"] for row in rows(self._domain, _QUERIES["correct"], self._again(parts))]

    def _replace(self, parts: Sequence[_Part]) -> list[int]:
        invoices = [row["invoice_id"] for row in rows(self._domain, _QUERIES["replace"], self._again(parts))]
        if self._settings["finalise"] == "auto":
            self._finalise(invoices)
        return invoices

    def _again(self, parts: Sequence[_Part]) -> dict[str, Any]:
        return {
            "invoices": [part.row["invoice_id"] for part in parts],
            "energy": document([part.row["energy"] for part in parts]),
            "now": self._now,
        }

    def _finalise(self, invoices: Sequence[int]) -> list[str]:
        found = rows(self._domain, _QUERIES["finalise"], {"invoices": list(invoices), "now": self._now})
        return [row["invoice_number"] for row in found]

    def _hold(self, bills: Sequence[Row]) -> None:
        """Whoever has taken a number waits for no customer any more."""
        whose = [(bill["user_id"], bill["currency"]) for bill in bills if bill["user_id"] and bill["currency"]]
        self._domain.execute(
            _QUERIES["hold"], {"users": [user for user, _ in whose], "currencies": [currency for _, currency in whose]}
        )

    def _made(self, invoices: Sequence[int]) -> dict[int, Row]:
        if not invoices:
            return {}
        return {row["invoice_id"]: row for row in rows(self._domain, _QUERIES["made"], {"invoices": list(invoices)})}


def _one(part: _Part) -> dict[str, Any]:
    return {"meter": part.row["meter_id"], "first": part.row["first_day"], "end": part.row["end_day"]}


def _many(parts: Sequence[_Part]) -> dict[str, Any]:
    return {
        "meters": [part.row["meter_id"] for part in parts],
        "first": [part.row["first_day"] for part in parts],
        "end": [part.row["end_day"] for part in parts],
    }


def _refused(refusal: DomainError, since: datetime, until: datetime) -> Finding:
    return Finding("refused", since, until, str(refusal))
