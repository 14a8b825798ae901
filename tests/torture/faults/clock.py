"""The gateway's clock: steps by seconds to hours, and a start in 1970 where there is no clock that runs on."""

import random
import time
import uuid
from typing import TYPE_CHECKING

from tests.torture import power_cut
from tests.torture.faults.kind import Kind, Settings

if TYPE_CHECKING:
    from tests.torture.stack import Stack

_KNOWN_S = 20.0


def _step(stack: "Stack", subject: str, settings: Settings) -> None:
    """A step, and after a while it is right again, which is another one."""
    shim = stack.shims[subject]
    shim.synchronize(False)
    shim.step_clock(float(settings["by_s"]))
    try:
        stack.wait(float(settings["for_s"]))
    finally:
        _right_again(stack, subject, settings)


def _without_time(stack: "Stack", subject: str, settings: Settings) -> None:
    """A board without a battery loses its power and starts in 1970; the time comes over the network later."""
    shim = stack.shims[subject]
    stack.kill(subject)
    power_cut.cut(shim, mode="all", chance=random.Random(int(settings["seed"])))
    uptime_s = float(settings["uptime_s"])
    shim.boot(str(uuid.UUID(int=random.Random(int(settings["seed"])).getrandbits(128))), uptime_s)
    shim.synchronize(False)
    shim.step_clock(uptime_s - time.time())
    try:
        stack.start(subject)
        stack.wait(float(settings["for_s"]))
    finally:
        _right_again(stack, subject, settings)


def _right_again(stack: "Stack", subject: str, settings: Settings) -> None:
    """By a time service, or by hand: then it is the receiver that vouches for it. No power cut before somebody does:
    what was read in a boot of which nobody ever knows the time stays without one."""
    shim = stack.shims[subject]
    shim.step_clock(0)
    shim.synchronize(bool(settings["by_service"]))
    stack.wait(2.5)
    stack.waited(stack.time_is_known, _KNOWN_S)


def _steps(sign: int, chance: random.Random) -> Settings:
    size_s = chance.choice((chance.uniform(0.5, 5), chance.uniform(30, 300), chance.uniform(600, 5 * 3600)))
    for_s = round(chance.uniform(0.5, 5), 3)
    return {"by_s": round(sign * size_s, 3), "for_s": for_s, "by_service": chance.random() < 0.7}


def _forward(chance: random.Random) -> Settings:
    return _steps(1, chance)


def _back(chance: random.Random) -> Settings:
    return _steps(-1, chance)


def _late(chance: random.Random) -> Settings:
    return {
        "uptime_s": round(chance.uniform(5, 60), 3),
        "for_s": round(chance.uniform(2, 6), 3),
        "seed": chance.randrange(2**32),
        "by_service": chance.random() < 0.7,
    }


KINDS = (
    Kind("clock forward", ("edge",), _step, _forward, takes_s=6, needs=("shim",)),
    Kind("clock back", ("edge",), _step, _back, takes_s=6, needs=("shim",)),
    Kind("clock of 1970", ("edge",), _without_time, _late, takes_s=8, needs=("shim",)),
)
