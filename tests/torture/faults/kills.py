"""kill -9 at some instant or at some call, clean restarts, and processes that stop for a while."""

import os
import random
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

import psycopg

from tests.torture.faults.kind import Kind, Missed, Settings
from tests.torture.history import now_us
from tests.torture.shim import Call

if TYPE_CHECKING:
    from tests.torture.stack import Stack

RECEIVERS = ("receiver-1", "receiver-2")
_EVERYBODY = ("edge", *RECEIVERS, "worker", "postgresql", "mosquitto", "simulator")
_RARE = (Call.TRUNCATE, Call.NAME, Call.OPEN)
_FILE_CALLS = (Call.WRITE, Call.SYNC, *_RARE)
_REACHED_S = 15.0


def _kill(stack: "Stack", subject: str, settings: Settings) -> None:
    stack.let_live(subject, float(settings["lived_s"]))
    stack.kill(subject)
    stack.wait(float(settings["down_s"]))
    stack.start(subject)


def _restart(stack: "Stack", subject: str, settings: Settings) -> None:
    stack.let_live(subject, float(settings["lived_s"]))
    stack.stop(subject)
    stack.wait(float(settings["down_s"]))
    stack.start(subject)


def _kill_backend(stack: "Stack", subject: str, settings: Settings) -> None:
    """One process of PostgreSQL: the postmaster takes that for a crash and starts all of them again."""
    try:
        pids = stack.backends(str(settings["of"]))
    except psycopg.Error as error:
        raise Missed(f"PostgreSQL does not answer: {error}") from error
    if not pids:
        raise Missed(f"nobody serves {settings['of']}")
    with suppress(ProcessLookupError):
        os.kill(pids[int(settings["which"]) % len(pids)], signal.SIGKILL)
    stack.wait(1.0)


def _kill_at_call(stack: "Stack", subject: str, settings: Settings) -> None:
    """Armed at any time; the process dies at the n-th such call from then on, and the supervisor starts it again."""
    shim, part = stack.shims[subject], stack.parts[subject]
    if not stack.waited(lambda: part.pid is not None, _REACHED_S):
        raise Missed(f"{subject} does not run")
    port = {
        "": 0,
        "receivers": stack.link_port,
        "broker": stack.broker_port,
        "database": stack.database_port,
        "gateway": stack.receiver_ports.get(subject, 0),
    }[str(settings.get("with", ""))]
    call = Call[str(settings["call"])]
    before = shim.seen(call)
    shim.kill_at(call, int(settings["count"]), after=bool(settings["after"]), port=port)
    if call in _RARE:
        # Made on the way down and on the way up, and hardly in between.
        stack.stop(subject)
        if not shim.armed:
            stack.history.died(subject, shim.killed_us, now_us())
        stack.start(subject)
    reached = stack.waited(lambda: not shim.armed, _REACHED_S)
    shim.disarm()
    if not reached:
        raise Missed(f"{subject} made {shim.seen(call) - before} calls of {settings['call']} in {_REACHED_S:g} s")
    stack.waited(lambda: part.started_us > shim.killed_us, _REACHED_S)


def _freeze(stack: "Stack", subject: str, settings: Settings) -> None:
    with stack.frozen(subject):
        stack.wait(float(settings["for_s"]))


def _down(chance: random.Random) -> Settings:
    """It has lived for a while, perhaps not long enough to be there, and then it is down for a while."""
    down_s = chance.choice((0.0, chance.uniform(0, 1), chance.uniform(0, 4)))
    return {"lived_s": round(chance.uniform(0, 4), 3), "down_s": round(down_s, 3)}


def _backend(chance: random.Random) -> Settings:
    return {"of": chance.choice(("segs-receiver", "segs-worker")), "which": chance.randrange(8)}


def _stop(chance: random.Random) -> Settings:
    return {"for_s": round(chance.uniform(0.5, 8) if chance.random() < 0.3 else chance.uniform(0.5, 3), 3)}


def _file_call(chance: random.Random) -> Settings:
    call = chance.choices(_FILE_CALLS, (6, 6, 1, 2, 2))[0]
    most = 60 if call == Call.WRITE else 12 if call == Call.SYNC else 4
    return {"call": call.name or "", "after": chance.random() < 0.5, "count": chance.randint(1, most)}


def _gateway_call(chance: random.Random) -> Settings:
    call = chance.choice((Call.SEND, Call.RECEIVE))
    peer = chance.choices(("receivers", "broker", ""), (5, 3, 2))[0]
    most = {"receivers": 6, "broker": 12, "": 80}[peer]
    return {
        "call": call.name or "",
        "with": peer,
        "after": chance.random() < 0.5,
        "count": chance.randint(1, most),
    }


def _receiver_call(chance: random.Random) -> Settings:
    call = chance.choice((Call.SEND, Call.RECEIVE))
    peer = chance.choice(("gateway", "database"))
    most = {"gateway": 6, "database": 16}[peer]
    return {
        "call": call.name or "",
        "with": peer,
        "after": chance.random() < 0.5,
        "count": chance.randint(1, most),
    }


KINDS = (
    Kind("kill edge", ("edge",), _kill, _down, takes_s=3, weight=3),
    Kind("kill receiver", RECEIVERS, _kill, _down, takes_s=3, weight=2),
    Kind("kill worker", ("worker",), _kill, _down, takes_s=3),
    Kind("kill PostgreSQL", ("postgresql",), _kill, _down, takes_s=5),
    Kind("kill backend", ("postgresql",), _kill_backend, _backend, takes_s=2),
    Kind("kill broker", ("mosquitto",), _kill, _down, takes_s=3),
    Kind("kill meters", ("simulator",), _kill, _down, takes_s=3),
    Kind("kill edge at a file", ("edge",), _kill_at_call, _file_call, takes_s=4, weight=3, needs=("shim",)),
    Kind("kill edge at a socket", ("edge",), _kill_at_call, _gateway_call, takes_s=4, weight=3, needs=("shim",)),
    Kind("kill receiver at a socket", RECEIVERS, _kill_at_call, _receiver_call, takes_s=4, weight=3, needs=("shim",)),
    Kind("stop and go on", _EVERYBODY, _freeze, _stop, takes_s=3, weight=3),
    Kind("restart edge", ("edge",), _restart, _down, takes_s=4),
    Kind("restart receiver", RECEIVERS, _restart, _down, takes_s=3),
    Kind("restart broker", ("mosquitto",), _restart, _down, takes_s=3),
)
