"""The demo: meters are polled, readings buffered, synced, stored and aggregated; at the end, the proof."""

import json
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from cloud.db.queries import Queries
from local import fleet
from local.display import Display
from local.progress import Progress, Watcher
from local.proof.report import Report, prove
from local.seeding import seed as seeding
from local.servers.home import locked
from local.stack import Stack

COMMIT_INTERVAL_S = 1.0
# Of the history, in each region: nobody likes to wait for a first look. `segs seed` makes more.
_METERS_OF_REGION = 3
_GATEWAYS = r"^demo-\d{8}-\d{6}$"
_SETTLE_S = 60.0
_ALERTS = 5
"""So many are named."""
_QUERIES = Queries("progress")


def start(*, home: Path, modbus: int, mqtt: int, history: int, display: Display) -> tuple[Stack, str]:
    """Start everything anew, in the background; what an earlier start left is stopped first.

    Days of `history` are seeded first, where there is none yet. Returns the stack and the name of its gateway. Raises
    ServerError, SchemaError, ServiceError, SeedingError.
    """
    with _alone(home):
        return _start(home=home, modbus=modbus, mqtt=mqtt, history=history, display=display)


def seed(*, home: Path, days: int, of_region: int, display: Display) -> None:
    """Seed the data folder, and say as one line of JSON how. Raises ServerError, SchemaError, SeedingError."""
    with _alone(home):
        databases = Stack(home=home).databases
        ran = databases.server.pid is not None
        try:
            databases.start()
            books = seeding.seed(home=home, databases=databases, days=days, of_region=of_region, say=display.say)
        finally:
            if not ran:
                databases.server.stop()
    print(json.dumps({"seeded": books is not None, **(books.as_dict() if books else {})}), flush=True)


def _start(*, home: Path, modbus: int, mqtt: int, history: int, display: Display) -> tuple[Stack, str]:
    meters = fleet.build(modbus=modbus, mqtt=mqtt)
    stack = Stack(home=home)
    name = f"demo-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    stack.stop_services()
    shutil.rmtree(stack.field, ignore_errors=True)
    display.say("step 1: databases and their schemas; step 2: broker, receiver, worker, API")
    stack.databases.start()
    # What an earlier start, or a demo that was killed, has left: or its meters would be missed from now on.
    seeding.end(stack.databases, _GATEWAYS)
    if history:
        # Before there are workers: theirs is another clock than the history's.
        seeding.seed(home=home, databases=stack.databases, days=history, of_region=_METERS_OF_REGION, say=display.say)
    stack.start_cloud(meters)
    display.say(f"the API is at {stack.api_url}")
    display.say(f"gateway {name} and its {len(meters.meters)} meters")
    stack.add_gateway(name, meters, COMMIT_INTERVAL_S)
    seeding.connect(stack.databases, name, meters)
    if history:
        seeding.hand_out(stack.databases, name)
    stack.start_field()
    return stack, name


def run(*, home: Path, seconds: float, modbus: int, mqtt: int, history: int, display: Display) -> bool:
    """Run for `seconds`, 0 for until interrupted; print the proof as one line of JSON. Whether it holds.

    Days of `history` are seeded first. Raises ServerError, SchemaError, ServiceError, SeedingError.
    """
    began = time.monotonic()
    with _alone(home), _as_before(home, display):
        # Until there is something to prove, SIGTERM ends the set-up at once, as Ctrl-C does.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        stack, name = _start(home=home, modbus=modbus, mqtt=mqtt, history=history, display=display)
        with _interrupt() as interrupted, Watcher(stack=stack, gateway=name, began=began) as watcher:
            until = time.monotonic() + seconds if seconds else None
            with display.live():
                while not interrupted.wait(1.0) and (until is None or time.monotonic() < until):
                    stack.expect_alive()
                    display.show(watcher.look())
            display.say("stopping meters and gateway; what is on its way arrives first")
            stack.stop_field()
            _settle(watcher)
            last = watcher.look()
            report = prove(journal=stack.journal, dsn=stack.databases.dsn("telemetry"), gateway=name)
            said = summary(report, last, stack.databases.server.edition)
            display.say(alerts(stack, name))
        # The meters of this demo leave their regions, and their people, so that the next one's sums are its own.
        seeding.end(stack.databases, f"^{name}$")
    proven = report.proven and not report.unregistered and report.meters == last.meters
    if not proven:
        heard = f"{report.meters} of {last.meters} meters were heard of"
        print(f"not proven: {heard}; {json.dumps(report.as_dict())}", file=sys.stderr, flush=True)
    if last.left_out:
        busy = (
            "polls were left out: a line was busy when they were due. Such readings are not lost, they were never taken"
        )
        display.say(f"{last.left_out} {busy}")
    print(json.dumps(said), flush=True)
    return proven


def _settle(watcher: Watcher) -> None:
    """Wait until the workers have nothing left to compute."""
    deadline = time.monotonic() + _SETTLE_S
    while watcher.unfinished() and time.monotonic() < deadline:
        time.sleep(0.2)


def summary(report: Report, last: Progress, edition: str) -> dict[str, object]:
    """The demo's last line: the proof, and how far all had come by `last`. It has polls left out if there are any."""
    keys = ("meters", "readings_polled", "readings_stored", "lost", "duplicated", "altered", "energy_error_wh")
    found = report.as_dict()
    return {key: found[key] for key in keys} | {
        "energy_wh": report.energy_wh,
        "aggregates_1m_rows": last.aggregates_1m_rows,
        "first_reading_s": last.first_reading_s,
        "edition": edition,
        **({"polls_left_out": last.left_out} if last.left_out else {}),
    }


def alerts(stack: Stack, gateway: str) -> str:
    """One line: the alerts that were raised at the demo's gateway, its meters and their regions while they ran."""
    with psycopg.connect(stack.databases.dsn("domain")) as domain:
        found = domain.execute(_QUERIES["alerts"], {"gateway": gateway}).fetchall()
    told = ", ".join(f"{rule} at {subject}" for rule, subject in found[:_ALERTS])
    more = f" and {len(found) - _ALERTS} more" if len(found) > _ALERTS else ""
    return f"alerts: {told}{more}" if found else "alerts: none"


def _alone(home: Path) -> AbstractContextManager[None]:
    """One demo in a data folder at a time: a second would stop the first one's services, and both its servers."""
    busy = f"a demo runs in {home} already; wait for it or end it, or set SEGS_HOME to another folder for this one"
    return locked(home / "run" / "demo.lock", busy=busy)


@contextmanager
def _interrupt() -> Iterator[threading.Event]:
    """From here on Ctrl-C and SIGTERM end the demo early, with its proof."""
    event = threading.Event()
    previous = {number: signal.signal(number, lambda *_: event.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def _as_before(home: Path, display: Display) -> Iterator[None]:
    """Stops everything in the end, but for a server that ran before: somebody else uses it."""
    stack = Stack(home=home)
    broker_ran, databases_ran = stack.broker.pid is not None, stack.databases.server.pid is not None
    try:
        yield
    finally:
        display.say("stopping the servers")
        # Looked at anew: what was started meanwhile is known by its files.
        stack = Stack(home=home)
        stack.stop_services()
        if not broker_ran:
            stack.broker.stop()
        if not databases_ran:
            stack.databases.server.stop()
