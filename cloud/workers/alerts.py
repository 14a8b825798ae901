"""Alerts: telemetry measures what rules are about, the domain decides what becomes of it, and who is told."""

import json
from datetime import datetime, timedelta
from typing import Any

import structlog
from psycopg import AsyncConnection, Error

from cloud.db.pool import Pool
from cloud.db.queries import Queries
from cloud.workers import metrics
from cloud.workers.loop import Work, lasts

_LOG = structlog.get_logger("segs.worker.alerts")
_QUERIES = Queries("alerts")
_AT_ONCE = 500
_MOST_BUCKETS = 500_000
"""So many minutes or quarter-hours of meters are looked at by one statement."""
_SILENCE_EVERY = timedelta(seconds=9)
_HEARD_EVERY = timedelta(seconds=25)


class Alerts:
    """`domain` are connections to the domain database. Marks are given back unless that has taken note of what was
    found, and taking note of it twice changes nothing: who dies in between has lost nothing, and told nobody twice."""

    def __init__(self, *, domain: Pool) -> None:
        self._domain = domain

    async def look(self, telemetry: AsyncConnection, now: datetime) -> bool:
        """The marks of one block; whether there may be more."""
        async with telemetry.transaction():
            spans = await _all(telemetry, "claim", {"limit": _AT_ONCE, "now": now})
            if not spans:
                return False
            async with self._domain.connection() as domain:
                for step_min, late, meters, since, until in spans:
                    step = timedelta(minutes=step_min)
                    some = max(1, _MOST_BUCKETS // ((until - since) // step or 1))
                    for first in range(0, len(meters), some):
                        asked = {"meters": meters[first : first + some], "from": since, "to": until}
                        await self._some(telemetry, domain, asked | {"step_min": step_min, "late": late, "now": now})
        return True

    async def _some(self, telemetry: AsyncConnection, domain: AsyncConnection, asked: dict[str, Any]) -> None:
        """Meters of one span; one that cannot be judged is told of, waits an hour, and holds up no other."""
        try:
            async with telemetry.transaction():
                await self._meters(telemetry, domain, asked)
        except Error as error:
            if not lasts(error):
                raise
            await domain.rollback()
            meters = asked["meters"]
            if len(meters) == 1:
                said = str(error).strip()
                await telemetry.execute(_QUERIES["postpone"], asked | {"meter": meters[0], "error": said})
                metrics.ALERTS.labels("not_judged").inc()
                span = {"since": asked["from"].isoformat(), "until": asked["to"].isoformat()}
                _LOG.error("meter_not_judged", meter_id=meters[0], **span, error=said)
                return
            for half in (meters[: len(meters) // 2], meters[len(meters) // 2 :]):
                await self._some(telemetry, domain, asked | {"meters": half})

    async def _meters(self, telemetry: AsyncConnection, domain: AsyncConnection, asked: dict[str, Any]) -> None:
        terms = await _one(domain, "terms", asked)
        # Telemetry is waited for without a transaction of the domain.
        await domain.commit()
        samples = await _one(telemetry, "samples", asked | {"terms": terms})
        if samples == "[]":
            return
        if asked["late"]:
            kept = await _one(domain, "remember", {"samples": samples, "now": asked["now"]})
            metrics.ALERTS.labels("late").inc(kept)
        else:
            _tell(await _row(domain, "advance", {"samples": samples, "now": asked["now"]}))
        await domain.commit()

    async def silence(self, telemetry: AsyncConnection, now: datetime) -> bool:
        """All meters that are not heard; by one worker at a time, and the clock."""
        if not await self._claim(telemetry, "alerts_silence", _SILENCE_EVERY, now):
            return False
        async with telemetry.transaction():
            silent = json.loads(await _one(telemetry, "silent", {"now": now}))
        async with self._domain.connection() as domain:
            try:
                _tell(await _silence(domain, silent, [], now))
            except Error as error:
                if not lasts(error):
                    raise
                await domain.rollback()
                faulty = await _faulty(domain, silent, now)
                _tell(await _silence(domain, [one for one in silent if one not in faulty], faulty, now))
                for one in faulty:
                    metrics.ALERTS.labels("not_judged").inc()
                    _LOG.error(
                        "silence_not_judged", meter_id=one["meter"], since=one["since"], error=str(error).strip()
                    )
        return False

    async def heard(self, telemetry: AsyncConnection, now: datetime) -> bool:
        """What gateways and regions told last, and of what nothing will be told any more."""
        if not await self._claim(telemetry, "alerts_heard", _HEARD_EVERY, now):
            return False
        async with self._domain.connection() as domain:
            for subject in ("gateway", "region"):
                terms = json.loads(await _one(domain, "terms_of", {"subject": subject, "now": now}))
                await domain.commit()
                await self._heard(telemetry, domain, subject, terms, now)
            _tell((0, await _one(domain, "unmeasured", {"now": now})))
        return False

    async def _heard(
        self, telemetry: AsyncConnection, domain: AsyncConnection, subject: str, terms: dict[str, Any], now: datetime
    ) -> None:
        """Gateways or regions, by `terms`; one that cannot be judged is told of, and holds up no other."""
        try:
            async with telemetry.transaction():
                asked = {"terms": json.dumps(terms), "now": now}
                samples = await _one(telemetry, f"samples_of_{subject}s", asked)
            found = await _row(domain, "advance", {"samples": samples, "now": now})
            await domain.commit()
        except Error as error:
            if not lasts(error):
                raise
            await domain.rollback()
            names = sorted({rule["of"] for rule in terms["rules"]})
            if len(names) <= 1:
                metrics.ALERTS.labels("not_judged").inc()
                _LOG.error(f"{subject}_not_judged", of=names, error=str(error).strip())
                return
            for half in (names[: len(names) // 2], names[len(names) // 2 :]):
                part = terms | {"rules": [rule for rule in terms["rules"] if rule["of"] in half]}
                await self._heard(telemetry, domain, subject, part, now)
        else:
            _tell(found)

    async def tell(self, _: AsyncConnection, now: datetime) -> bool:
        """Messages of alerts that are due; whether there may be more."""
        async with self._domain.connection() as domain:
            told, escalated = await _row(domain, "tell", {"limit": _AT_ONCE, "now": now})
        metrics.ALERTS.labels("told").inc(told)
        metrics.ALERTS.labels("escalated").inc(escalated)
        return bool(told == _AT_ONCE)

    @staticmethod
    async def _claim(telemetry: AsyncConnection, kind: str, every: timedelta, now: datetime) -> bool:
        async with telemetry.transaction():
            return bool(await _one(telemetry, "turn", {"kind": kind, "every": every, "now": now}))


async def _silence(
    domain: AsyncConnection, silent: list[dict[str, Any]], others: list[dict[str, Any]], now: datetime
) -> Any:
    """Takes note of `silent`; of `others` nothing is known."""
    known = [*silent, *({"meter": one["meter"]} for one in others)]
    return await _row(domain, "silence", {"silent": json.dumps(known), "now": now})


async def _faulty(domain: AsyncConnection, silent: list[dict[str, Any]], now: datetime) -> list[dict[str, Any]]:
    """Those that cannot be noted, found by trying without keeping anything; raises what is nobody's fault."""
    found, parts = [], [[], silent]
    while parts:
        part = parts.pop(0)
        tried = {one["meter"] for one in part}
        try:
            async with domain.transaction(force_rollback=True):
                await _silence(domain, part, [one for one in silent if one["meter"] not in tried], now)
        except Error as error:
            if not part or not lasts(error):
                raise
            if len(part) == 1:
                found += part
            else:
                parts += [part[: len(part) // 2], part[len(part) // 2 :]]
    return found


def _tell(found: tuple[int, int]) -> None:
    fired, resolved = found
    metrics.ALERTS.labels("fired").inc(fired)
    metrics.ALERTS.labels("resolved").inc(resolved)
    if fired or resolved:
        _LOG.info("alerts_changed", fired=fired, resolved=resolved)


async def _all(connection: AsyncConnection, name: str, values: dict[str, Any]) -> list[Any]:
    return await (await connection.execute(_QUERIES[name], values)).fetchall()


async def _row(connection: AsyncConnection, name: str, values: dict[str, Any]) -> Any:
    row = await (await connection.execute(_QUERIES[name], values)).fetchone()
    assert row is not None
    return row


async def _one(connection: AsyncConnection, name: str, values: dict[str, Any]) -> Any:
    return (await _row(connection, name, values))[0]


CONNECTIONS = 4
"""How many `works` need at most: one a loop."""


def works(*, domain: Pool, pause_s: float) -> list[Work]:
    """`pause_s` is the time that marks gather before they are looked for again."""
    alerts = Alerts(domain=domain)
    return [
        Work(name="alerts", step=alerts.look, pause_s=max(pause_s, 1)),
        Work(name="alerts_silence", step=alerts.silence, pause_s=5),
        Work(name="alerts_heard", step=alerts.heard, pause_s=10),
        Work(name="alerts_tell", step=alerts.tell, pause_s=max(pause_s, 1)),
    ]
