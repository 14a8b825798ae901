"""One run: the stack comes up, the faults happen, everything heals and drains, and the books are compared."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta

import psycopg

from local.proof import stored
from local.proof.stored import Row
from tests.torture import journal
from tests.torture.comparison import Findings, compare
from tests.torture.faults.kind import Missed
from tests.torture.faults.table import KINDS
from tests.torture.history import Span, now_us
from tests.torture.schedule import Fault, plan
from tests.torture.stack import GATEWAY, Aborted, Stack

_BEFORE_S, _AFTER_S = 2.0, 2.0
_DRAIN_S = 150.0
_STEADY_S = 3.0
_REGISTERS = ("energy_import_wh", "energy_export_wh")
_TOGETHER = 24
_EXAMPLES = 5


class Undrained(Exception):
    """Readings or marks are still under way long after everything was healed."""


@dataclass(slots=True)
class Outcome:
    """`missed` are faults that could not be done when their time came, `ended` processes that ended unasked."""

    seed: int
    faults: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    skipped: dict[str, str] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)
    quarantined: Counter[str] = field(default_factory=Counter)
    energy_error_wh: int = 0
    findings: Findings = field(default_factory=Findings)
    set_aside: list[dict[str, object]] = field(default_factory=list)
    undrained: str | None = None
    seconds: float = 0.0

    @property
    def clean(self) -> bool:
        return self.findings.clean and not (self.undrained or self.quarantined or self.energy_error_wh)

    def as_dict(self) -> dict[str, object]:
        found = asdict(self.findings)
        examples = found.pop("examples")
        told: dict[str, object] = {"seed": self.seed, "seconds": round(self.seconds, 1), "faults": dict(self.faults)}
        told |= found | {"quarantined": dict(self.quarantined), "energy_error_wh": self.energy_error_wh}
        told |= {"missed": dict(self.missed), "skipped": self.skipped, "ended": self.ended}
        if self.undrained:
            told["undrained"] = self.undrained
        if not self.clean:
            told["examples"] = examples
        return told


def torture(
    *,
    faults: int,
    seed: int,
    say: Callable[[str], None],
    keep: bool = False,
    without: Iterable[str] = (),
    gap_s: float | None = None,
) -> Outcome:
    """A whole run; one that is not clean keeps its folder, and says where, whether `keep` is set or not.

    Raises ServerError, SchemaError or ServiceError when the stack does not come up, or stays down.
    """
    began = time.monotonic()
    outcome = Outcome(seed)
    with Stack(seed=seed, keep=keep, say=say) as stack:
        outcome.skipped = _skipped(stack, without)
        kinds = {name: kind for name, kind in KINDS.items() if name not in outcome.skipped}
        planned = plan(kinds, faults=faults, seed=seed, **({} if gap_s is None else {"gap_s": gap_s}))
        say(f"the stack came up in {time.monotonic() - began:.1f} s; {len(planned)} faults in {planned[-1].at_s:.0f} s")
        stack.wait(_BEFORE_S)
        say("seconds from here on count from the start of the faults")
        faults_began = time.monotonic()
        _inject(stack, planned, outcome, faults_began)
        say(f"{time.monotonic() - faults_began:6.1f} s  everything heals")
        stack.heal()
        stack.wait(_AFTER_S)
        try:
            _drain(stack)
        except Undrained as error:
            outcome.undrained = str(error)
        say(f"{time.monotonic() - faults_began:6.1f} s  comparing")
        _compare(stack, outcome)
        outcome.ended = dict(stack.supervisor.ended)
        stack.keep = keep or not outcome.clean
    outcome.seconds = time.monotonic() - began
    return outcome


def _skipped(stack: Stack, without: Iterable[str]) -> dict[str, str]:
    lacking = dict(stack.skipped)
    if stack.small_disk is None:
        lacking["small disk"] = "mounting a small disk needs root and the permission to mount"
    skipped = {
        name: f"{need}: {lacking[need]}" for name, kind in KINDS.items() for need in kind.needs if need in lacking
    }
    return skipped | dict.fromkeys(without, "left out by whoever asked")


def _inject(stack: Stack, planned: list[Fault], outcome: Outcome, began: float) -> None:
    pending: set[Future[None]] = set()
    with ThreadPoolExecutor(_TOGETHER, thread_name_prefix="fault") as pool:
        try:
            for fault in planned:
                stack.wait(max(0.0, began + fault.at_s - time.monotonic()))
                stack.turns.queue(fault.number, fault.subject, *KINDS[fault.kind].lanes)
                pending.add(pool.submit(_one, stack, fault, outcome, began))
                done, pending = wait(pending, timeout=0)
                for future in done:
                    future.result()
            done, pending = wait(pending, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
        except BaseException:
            stack.over.set()
            raise


def _one(stack: Stack, fault: Fault, outcome: Outcome, began: float) -> None:
    kind = KINDS[fault.kind]
    with stack.turns.alone(fault.number, fault.subject, *kind.lanes):
        stack.say(f"{time.monotonic() - began:6.1f} s  {fault.number:3} {fault}")
        from_us = now_us()
        try:
            kind.inject(stack, fault.subject, fault.settings)
        except Missed as reason:
            outcome.missed[fault.kind] += 1
            stack.say(f"{time.monotonic() - began:6.1f} s  {fault.number:3} missed: {reason}")
        except Aborted:
            return
        else:
            outcome.faults[fault.kind] += 1
        finally:
            stack.history.faults.append((Span(from_us, now_us()), f"{fault.number} {fault}"))


def _drain(stack: Stack) -> None:
    """Stop the meters and wait until all they told has arrived. Raises Undrained."""
    stack.stop("simulator")
    deadline_s = time.monotonic() + _DRAIN_S
    with psycopg.connect(stack.dsn(), autocommit=True) as connection:
        steady_s, before = time.monotonic(), None
        while time.monotonic() - steady_s < _STEADY_S:
            seen = stack.metrics()
            now = (
                seen["segs_edge_broker_connected"],
                seen["segs_edge_mqtt_messages_total"],
                seen["segs_edge_readings_waiting"],
                stack.backlog(),
                _one_number(connection, "SELECT count(*) FROM dirty_meters")
                + _one_number(connection, "SELECT count(*) FROM dirty_regions"),
            )
            idle = now[0] > 0 and now[2:] == (0, 0, 0)
            if not idle or now != before:
                steady_s, before = time.monotonic(), now
            if time.monotonic() > deadline_s:
                names = ("broker connected", "messages", "readings in memory", "backlog", "marks")
                state = ", ".join(f"{name} {value}" for name, value in zip(names, now, strict=True))
                raise Undrained(f"not drained within {_DRAIN_S:g} s: {state}")
            stack.wait(0.3)


def _compare(stack: Stack, outcome: Outcome) -> None:
    told = journal.read(stack.journal)
    status = stack.status() or {}
    losses = (status.get("stored") or {}).get("losses") or []
    given_up = sum(int(loss.get("readings", 0)) for loss in losses if loss.get("kind") in ("thinned", "overflowed"))
    until = datetime.now(UTC)
    with psycopg.connect(stack.dsn(), autocommit=True) as connection:
        connection.execute("SET timezone = 'UTC'")
        meters = stored.meter_ids(connection, [meter.name for meter in stack.fleet.meters], GATEWAY, until)
        rows: dict[str, list[Row]] = {}
        for meter, number in meters.items():
            rows[meter] = stored.rows(connection, number, until - timedelta(days=8), until + timedelta(days=1))
            for register in _REGISTERS:
                outcome.energy_error_wh += _energy_error_wh(connection, number, register, until)
        _look_into_the_quarantine(connection, outcome)
    outcome.findings = compare(told, rows, history=stack.history, given_up=given_up)
    outcome.findings.examples += outcome.set_aside


def _look_into_the_quarantine(connection: psycopg.Connection, outcome: Outcome) -> None:
    query = """
        SELECT reason, device, readings, first_time, created_at, block
        FROM quarantine WHERE released_at IS NULL ORDER BY quarantine_id
    """
    for reason, device, readings, first_time, created_at, block in connection.execute(query):
        outcome.quarantined[reason] += readings
        if len(outcome.set_aside) < _EXAMPLES:
            told: dict[str, object] = {"what": "quarantined", "reason": reason, "meter": device, "block": block}
            outcome.set_aside.append(told | {"time": first_time.isoformat(), "set_aside": created_at.isoformat()})


def _energy_error_wh(connection: psycopg.Connection, meter: int, register: str, until: datetime) -> int:
    """How far the sums of the intervals are from what the rows say that the register moved by."""
    moved = stored.register_span(connection, meter, register, until) or 0
    sums = (stored.energy_sum(connection, t, meter, register, until) for t in ("aggregates_1m", "aggregates_15m"))
    return max(abs(total - moved) for total in sums)


def _one_number(connection: psycopg.Connection, query: str) -> int:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])
