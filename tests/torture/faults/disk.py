"""The gateway's disk: full, broken, read-only, without power, with other bytes than were written."""

import errno
import random
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from tests.torture import power_cut
from tests.torture.destruction import Buffer
from tests.torture.faults.kind import Kind, Missed, Settings
from tests.torture.history import METER_TIMEOUT_US, Damage, now_us
from tests.torture.power_cut import MODES, Mode
from tests.torture.proxy import FAIR, Weather
from tests.torture.shim import CHANGES, Call

if TYPE_CHECKING:
    from tests.torture.stack import Stack

_ERRORS = {"full": errno.ENOSPC, "broken": errno.EIO, "read-only": errno.EROFS}
_DRAINED_S, _STEADY_S = 12.0, 0.5
# What the gateway waited with goes to disk within its time of trying again.
_WRITTEN_AGAIN_S = 8.0


def _power_cut(stack: "Stack", subject: str, settings: Settings) -> None:
    shim = stack.shims[subject]
    stack.let_live(subject, float(settings["lived_s"]))
    stack.kill(subject)
    if shim.untracked:
        raise AssertionError("the gateway changes files in a way that the power cut does not know")
    outcome = power_cut.cut(shim, mode=_mode(settings), chance=random.Random(int(settings["seed"])))
    shim.boot(str(uuid.UUID(int=random.Random(int(settings["seed"])).getrandbits(128))), uptime_s=5.0)
    stack.say(f"    {outcome.undone} of {outcome.unsynced} unsynced changes undone")
    stack.wait(float(settings["down_s"]))
    stack.start(subject)


def _failing(stack: "Stack", subject: str, settings: Settings) -> None:
    shim = stack.shims[subject]
    calls = CHANGES | (Call.READ if settings["reads"] else Call(0))
    shim.fail(calls, _ERRORS[str(settings["disk"])])
    try:
        stack.wait(float(settings["for_s"]))
    finally:
        shim.fail(Call(0), 0)
    _until_written_again(stack)


def _full(stack: "Stack", subject: str, settings: Settings) -> None:
    """Really full: another file takes all the room on the gateway's small disk."""
    assert stack.small_disk is not None
    ballast = stack.small_disk / "ballast"
    try:
        _fill(ballast)
        stack.wait(float(settings["for_s"]))
    finally:
        ballast.unlink(missing_ok=True)
    _until_written_again(stack)


def _fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


def _until_written_again(stack: "Stack") -> None:
    """What is in memory only may not be lost to the next kill: that would be this fault's doing and not the kill's."""
    stack.waited(lambda: stack.metrics()["segs_edge_buffer_writable"] > 0, _WRITTEN_AGAIN_S)
    stack.wait(1.0)


def _damage(stack: "Stack", subject: str, settings: Settings) -> None:
    """While the gateway is down, and nothing is in the file alone: the meters are stopped until all has its receipt."""
    with stack.frozen("simulator"):
        drained_us = _drained(stack)
        _end(stack, subject, settings)
        try:
            if stack.backlog() != 0:
                raise Missed("the gateway has a backlog")
            _spoil(stack.data, settings)
            stack.history.damages.append(Damage(drained_us, now_us(), destroyed=0))
        finally:
            stack.start(subject)
    stack.wait(1.0)


def _drained(stack: "Stack") -> int:
    """Wait until everything has its receipt, the meters being stopped; since when, microseconds since 1970."""
    # What a poll has until its meter's time-out is a reading only then.
    stack.wait(METER_TIMEOUT_US / 1e6 + 0.5)
    if not stack.waited(lambda: _at_rest(stack), _DRAINED_S):
        raise Missed("the gateway has a backlog")
    return now_us()


def _at_rest(stack: "Stack") -> bool:
    """Whether nothing waits in the gateway's file or memory, nor at the broker, which hands over all at once."""
    before = _on_their_way(stack)
    stack.wait(_STEADY_S)
    return before is not None and before == _on_their_way(stack)


def _on_their_way(stack: "Stack") -> float | None:
    """The number of messages taken so far, None where anything waits."""
    seen = stack.metrics()
    able = seen["segs_edge_broker_connected"] > 0 and seen["segs_edge_buffer_writable"] > 0
    if not able or seen["segs_edge_readings_waiting"] or stack.backlog() != 0:
        return None
    return seen["segs_edge_mqtt_messages_total"]


def _damage_backlog(stack: "Stack", subject: str, settings: Settings) -> None:
    """With readings in the file that are nowhere else: all but those whose own bytes are overwritten have to arrive."""
    with stack.frozen("simulator"):
        drained_us = _drained(stack)
    stack.proxy.weather = Weather(refusing=True)
    try:
        stack.wait(float(settings["for_s"]))
        _end(stack, subject, settings)
        try:
            buffer = Buffer(stack.data / "buffer.sqlite")
            _spoil(stack.data, settings)
            stack.history.damages.append(Damage(drained_us, now_us(), buffer.destroyed()))
        finally:
            stack.start(subject)
    finally:
        stack.proxy.weather = FAIR
    stack.wait(1.0)


def _end(stack: "Stack", subject: str, settings: Settings) -> None:
    """A kill leaves a write-ahead log, a stop none."""
    if settings["by"] == "kill":
        stack.kill(subject)
    else:
        stack.stop(subject)


def _spoil(data: Path, settings: Settings) -> None:
    """Change the buffer's file, or its log, in one of the ways in which cards fail."""
    chance = random.Random(int(settings["seed"]))
    buffers = [path for path in sorted(data.glob("*.sqlite")) if path.stat().st_size]
    logs = [path for path in sorted(data.glob("*.sqlite-wal")) if path.stat().st_size]
    how = str(settings["how"])
    if how in ("torn tail", "garbage tail"):
        if not logs:
            raise Missed("there is no write-ahead log")
        log = chance.choice(logs)
        # A frame that never got whole: what a power cut leaves of the write under way.
        tail = log.read_bytes()[32 : 32 + 24 + chance.randrange(1000)] if how == "torn tail" else chance.randbytes(3000)
        with log.open("ab") as file:
            file.write(tail)
        return
    if not buffers:
        raise Missed("there is no buffer")
    file_ = chance.choice(buffers + (logs if how == "bytes" else []))
    size = file_.stat().st_size
    with file_.open("r+b") as file:
        if how == "truncated":
            file.truncate(chance.randrange(size))
        for _ in range(chance.randint(1, 6) if how == "bytes" else 0):
            file.seek(chance.randrange(size))
            file.write(chance.randbytes(chance.choice((1, 4, 64))))


def _mode(settings: Settings) -> Mode:
    return next(mode for mode in MODES if mode == settings["mode"])


def _cut(chance: random.Random) -> Settings:
    return {
        "mode": chance.choice(MODES),
        "seed": chance.randrange(2**32),
        "lived_s": round(chance.uniform(0, 4), 3),
        "down_s": round(chance.uniform(0, 2), 3),
    }


def _errors(chance: random.Random) -> Settings:
    disk = chance.choice(tuple(_ERRORS))
    return {
        "disk": disk,
        "reads": disk == "broken" and chance.random() < 0.5,
        "for_s": round(chance.uniform(0.5, 6), 3),
    }


def _while(chance: random.Random) -> Settings:
    return {"for_s": round(chance.uniform(0.5, 6), 3)}


def _ways(chance: random.Random) -> Settings:
    how = chance.choice(("bytes", "bytes", "truncated", "torn tail", "garbage tail"))
    by = "kill" if how.endswith("tail") else chance.choice(("kill", "stop"))
    return {"how": how, "by": by, "seed": chance.randrange(2**32)}


def _flips(chance: random.Random) -> Settings:
    return {
        "how": "bytes",
        "by": chance.choice(("kill", "stop")),
        "for_s": round(chance.uniform(2, 6), 3),
        "seed": chance.randrange(2**32),
    }


KINDS = (
    Kind("power cut", ("edge",), _power_cut, _cut, takes_s=4, weight=4, needs=("shim",)),
    Kind("disk fails", ("edge",), _failing, _errors, takes_s=6, weight=2, needs=("shim",)),
    Kind("disk full", ("edge",), _full, _while, takes_s=6, needs=("small disk",)),
    Kind("backlog damaged", ("edge",), _damage_backlog, _flips, lanes=("link", "simulator"), takes_s=10),
    Kind("buffer damaged", ("edge",), _damage, _ways, lanes=("link", "simulator"), takes_s=6),
)
