"""What rules would have raised in history, as they are or with other thresholds: to try them before anyone is woken."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from cloud.db.queries import Queries
from cloud.errors import InputError
from cloud.operator import rows

_QUERIES = Queries("replay")
_MOST_BUCKETS = 200_000
_STEPS = (1, 15)


class ReplayError(InputError):
    """A rule or a meter that is not there, or a rule that history cannot be asked for."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What is tried in place of what a rule says: thresholds in its metric's unit, times in seconds. None leaves it."""

    raise_at: float | None = None
    clear_at: float | None = None
    worse_at: float | None = None
    for_s: int | None = None
    keep_s: int | None = None


@dataclass(frozen=True, slots=True)
class Episode:
    """An alert that would have been. `resolved_at` is None for one that was not over when the span ended.

    `worst` is the value furthest out, in the unit of the rule's metric, `severity` the worst that it came to.
    """

    rule: str
    meter: str
    phase: int
    severity: str
    started_at: datetime
    fired_at: datetime
    resolved_at: datetime | None
    worst: float
    threshold: float
    unit: str


def replay(
    domain: psycopg.Connection,
    telemetry: psycopg.Connection,
    *,
    since: datetime,
    until: datetime,
    meters: Sequence[str] = (),
    trials: Mapping[str, Trial] | None = None,
    only: Sequence[str] = (),
) -> Iterator[Episode]:
    """Of all meters, or of those with these codes; of the rules `only`, or of all that look at minutes or quarters.

    Rules are those in force now, with `trials` by rule. Changes nothing in either database. Raises ReplayError.
    """
    now = datetime.now(UTC)
    rules = {row["alert_rule_id"]: row for row in rows(domain, _QUERIES["rules"], {"now": now})}
    _require({row["rule"] for row in rules.values()}, [*only, *(trials or {})])
    wanted = {str(row["rule"]) for row in rules.values() if not only or row["rule"] in only}
    chosen = _meters(domain, meters)
    for step_min in _STEPS:
        some = max(1, _MOST_BUCKETS // ((until - since) // timedelta(minutes=step_min) or 1))
        for first in range(0, len(chosen), some):
            part = list(chosen)[first : first + some]
            found = rows(domain, _QUERIES["terms"], {"meters": part, "step_min": step_min, "now": now})
            terms = _tried(found[0]["terms"], wanted, trials or {})
            if not terms["rules"]:
                # None of these is looked at any more.
                continue
            lasting = {
                str(number): _times(row, (trials or {}).get(row["rule"], Trial())) for number, row in rules.items()
            }
            asked = {"meters": part, "from": since, "to": until, "step_min": step_min}
            asked |= {"terms": json.dumps(terms), "rules": json.dumps(lasting)}
            # What is learnt of meters on the way is not kept either.
            with telemetry.transaction(force_rollback=True):
                found = rows(telemetry, _QUERIES["episodes"], asked)
            for row in found:
                yield _episode(row, rules[row["id"]], chosen[row["meter"]])


def unkept(
    domain: psycopg.Connection,
    telemetry: psycopg.Connection,
    *,
    since: datetime,
    until: datetime,
    meters: Sequence[str] = (),
    only: Sequence[str] = (),
) -> list[int]:
    """Steps, 1 or 15 minutes, that rules `only` look at and of which nothing is kept of these meters in the span."""
    rules = rows(domain, _QUERIES["rules"], {"now": datetime.now(UTC)})
    wanted = {row["step_min"] for row in rules if not only or row["rule"] in only}
    asked = {"meters": list(_meters(domain, meters)), "from": since, "to": until}
    [kept] = rows(telemetry, _QUERIES["kept"], asked)
    return [
        step_min
        for step_min, name in zip(_STEPS, ("minutes", "quarters"), strict=True)
        if step_min in wanted and not kept[name]
    ]


def _require(known: set[str], named: Sequence[str]) -> None:
    for name in named:
        if name not in known:
            raise ReplayError(
                f"there is no rule {name} of minutes or quarter-hours; there are {', '.join(sorted(known))}"
            )


def _meters(domain: psycopg.Connection, codes: Sequence[str]) -> dict[int, str]:
    found = {row["meter_id"]: row["meter_code"] for row in rows(domain, _QUERIES["meters"], {"codes": list(codes)})}
    if missing := sorted(set(codes) - set(found.values())):
        raise ReplayError(f"there is no meter {missing[0]}")
    return found


def _tried(terms: dict[str, Any], wanted: set[str], trials: Mapping[str, Trial]) -> dict[str, Any]:
    """Terms of the rules that are wanted. Where a threshold is tried, what single meters have in its place is not."""
    kept = [rule for rule in terms["rules"] if rule["rule"] in wanted]
    for rule in kept:
        trial = trials.get(rule["rule"], Trial())
        for name, value in (("raise", trial.raise_at), ("clear", trial.clear_at), ("worse", trial.worse_at)):
            if value is not None:
                rule[name] = value
        if trial.raise_at is not None and trial.clear_at is None:
            # Over where it begins, unless told otherwise: the old threshold may lie on the wrong side.
            rule["clear"] = trial.raise_at
        _require_order(rule, trial)
        if trial.raise_at is not None and trial.worse_at is None and _reached(rule["worse"], rule):
            # What is worse lies beyond it.
            rule["worse"] = None
        if trial != Trial():
            rule["enabled"] = True
    own = [one for one in terms["own"] if trials.get(one["rule"], Trial()).raise_at is None]
    return {**terms, "rules": kept, "own": own, "open": []}


def _require_order(rule: Mapping[str, Any], trial: Trial) -> None:
    """What is tried lies where it can be: over on the good side of the threshold, worse beyond it."""
    sign = 1 if rule["above"] else -1
    for option, value, side in (("--clear-at", trial.clear_at, 1), ("--worse-at", trial.worse_at, -1)):
        if value is not None and rule["raise"] is not None and sign * side * (rule["raise"] - value) < 0:
            raise ReplayError(
                f"{option} {value:g} is on the wrong side of {rule['raise']:g}, at which {rule['rule']} raises"
            )


def _reached(threshold: float | None, rule: Mapping[str, Any]) -> bool:
    """Whether that is passed before the rule raises."""
    if threshold is None:
        return False
    return bool(threshold <= rule["raise"] if rule["above"] else threshold >= rule["raise"])


def _times(rule: Mapping[str, Any], trial: Trial) -> dict[str, Any]:
    return {
        "above": rule["above"],
        "window": rule["window_min"],
        "for": rule["for_s"] if trial.for_s is None else trial.for_s,
        "keep": rule["keep_s"] if trial.keep_s is None else trial.keep_s,
    }


def _episode(row: Mapping[str, Any], rule: Mapping[str, Any], meter: str) -> Episode:
    told = Episode(
        rule=rule["rule"],
        meter=meter,
        phase=row["phase"],
        severity=rule["severity"],
        started_at=row["started_at"],
        fired_at=row["fired_at"],
        resolved_at=row["resolved_at"],
        worst=row["worst"],
        threshold=row["threshold"],
        unit=rule["unit"],
    )
    return replace(told, severity=rule["worse_severity"]) if row["worse"] and rule["worse_severity"] else told
