"""`make torture-alerts`: the alerts of quarter-hours, hours and days, in real time; see CONTRIBUTING.md.

A stack of its own, faults of its meters, and a history by which it is known what is usual. Rules are tuned to
windows of a quarter of an hour, and one whole quarter is waited for: at most 35 minutes. What happens is on standard
error, the last line, on standard output, is JSON. Exit status 1 unless exactly the expected alerts are there, and one
mail for each who is to hear of one.
"""

import json
import signal
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from tests.watch.outpost import Outpost, fleet_of
from tests.watch.stack import Raised, WatchStack, told_wrong

_QUARTER = timedelta(minutes=15)
_READY_WITHIN = timedelta(seconds=90)
_AFTER = timedelta(seconds=150)
_USUAL_WH = 400
_IDLE = ("none",)
_USUAL = ("spike", "drop", "healthy")
_EXPECTED = {
    Raised("high_consumption", "much", 0, "medium"): ("ada",),
    Raised("no_consumption", "none", 0, "medium"): ("ada",),
    Raised("consumption_spike", "spike", 0, "medium"): ("bob",),
    Raised("consumption_drop", "drop", 0, "low"): ("ada",),
    Raised("stuck_value", "stuck-power", 0, "warning"): ("ops",),
    Raised("stuck_register", "stuck-register", 0, "warning"): ("ops",),
    Raised("region_overload", "north", 0, "high"): ("ops",),
}


def main() -> int:
    # Whoever ends it, and from wherever: what it started ends with it.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="segs-alerts-") as folder, WatchStack(home=Path(folder)) as stack:
        _set_up(stack)
        quarter = _next_quarter(datetime.now(UTC) + _READY_WITHIN)
        _go_wrong(stack.outposts["attic"])
        # One that has a past and is not heard would be silent.
        stack.await_heard()
        _seed(stack, quarter)
        _say(f"all faults are there; the quarter-hour that counts begins at {quarter:%H:%M} UTC")
        until = quarter + _QUARTER + _AFTER
        stack.until(lambda: not told_wrong(stack, set(_EXPECTED)), by=until)
        stack.until(lambda: sum(_mails(stack).values()) >= sum(map(len, _EXPECTED.values())), by=until)
        wrong = told_wrong(stack, set(_EXPECTED)).splitlines()
        expected = Counter(f"{name}@example.org" for people in _EXPECTED.values() for name in people)
        mails = _mails(stack)
        if mails != expected:
            wrong.append(f"mails: {dict(mails)}, and {dict(expected)} were expected")
        raised = sorted(str(row["is"]) for row in stack.alerts())
    line = {"seconds": round(time.monotonic() - began), "raised": raised, "mails": mails.total(), "wrong": wrong}
    print(json.dumps(line))
    return 1 if wrong else 0


def _set_up(stack: WatchStack) -> None:
    stack.cloud("region", "set", "north")
    for name, role in (("ops", "OPERATOR"), ("ada", "USER"), ("bob", "USER")):
        stack.person(f"{name}@example.org", role, "north")
    attic = stack.outpost(
        "attic",
        fleet_of([["none", "spike"], ["drop", "healthy"], ["stuck-power", "stuck-register"]], ["much"], region="north"),
    )
    for owner, devices in {"ada": ("none", "drop", "much", "healthy"), "bob": ("spike",)}.items():
        for device in devices:
            stack.cloud("meter", "give", attic.codes[device], f"{owner}@example.org", "--from", "2026-01-01T00:00Z")
    # What is drawn below is several times as much.
    stack.cloud("region", "capacity", "north", "20000", "--from", "2026-01-01T00:00Z")
    for rule in ("no_consumption", "consumption_spike", "consumption_drop"):
        stack.set_rule(rule, "window_min=15")
    stack.set_rule("region_overload", "for_s=900")
    # Nobody falls silent here, and a machine that is busy is nobody's fault.
    stack.set_rule("no_data", "raise_at=30", "clear_at=30")
    with stack.caller("ada@example.org") as ada:
        ada.patch("/users/me/preferences", json={"consumption_threshold_wh": 1200}).raise_for_status()


def _seed(stack: WatchStack, quarter: datetime) -> None:
    """What is usual in this quarter-hour, by three weeks, and a day without consumption until shortly before it."""
    usual = [quarter - timedelta(days=day) for day in range(1, 22)]
    live = _next_quarter(datetime.now(UTC)) - _QUARTER
    idle = [live - step * _QUARTER for step in range(1, 96)]
    meters = {row["device"]: row["meter_id"] for row in stack.rows("SELECT device, meter_id FROM devices")}
    statement = (
        "INSERT INTO aggregates_15m (meter_id, bucket, samples, coverage, quality, energy_import_wh,"
        " voltage_l1_v_count, voltage_l1_v_min, voltage_l1_v_max, voltage_l1_v_sum)"
        " SELECT m, b, 450, 100, 14, %s, 450, 229, 231, 450 * 230 FROM unnest(%s) AS m, unnest(%s) AS b"
    )
    with psycopg.connect(stack.databases.dsn("telemetry")) as telemetry:
        telemetry.execute(statement, [_USUAL_WH, [meters[name] for name in _USUAL], usual])
        telemetry.execute(statement, [0, [meters[name] for name in _IDLE], idle])


def _go_wrong(attic: Outpost) -> None:
    """Before anything is read, so that the day of `none` begins with nothing. What is stuck is so from the start."""
    attic.start_meters()
    attic.fault("none", "no-load")
    attic.fault("drop", "no-load")
    attic.fault("healthy", "overload", w=_USUAL_WH * 4)
    attic.fault("much", "overload", w=6000)
    attic.fault("spike", "overload", w=20_000)
    attic.fault("stuck-power", "stuck", quantity="power_w")
    attic.fault("stuck-power", "overload", w=8000)
    attic.fault("stuck-register", "stuck", quantity="energy_import_wh")
    attic.fault("stuck-register", "overload", w=8000)
    attic.edge.start()


def _mails(stack: WatchStack) -> Counter[str]:
    """By whom they are for: accepted mails that say that something began."""
    return Counter(to for to, subject in stack.mails() if subject.startswith("Alert at "))


def _next_quarter(at: datetime) -> datetime:
    return datetime.fromtimestamp((at.timestamp() // 900 + 1) * 900, UTC)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
